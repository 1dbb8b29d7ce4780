//! How often somebody may get a password wrong, per account and per address.
//!
//! A try counts from its start, before the password is looked at, so that a
//! hundred guesses sent at once are a hundred; a right password takes its own
//! count back, so a fan who signs in on five devices, or a house full of them,
//! is not stopped. Counted in this process's memory. The tables are bounded:
//! when one is full, what is over is dropped, then everything.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::time::Timestamp;

/// Wrong passwords for one account within [`WINDOW`] before the door closes.
const PER_ACCOUNT: u32 = 10;
/// The same for one address, whatever the account: one address may be a whole
/// mobile network's.
const PER_ADDRESS: u32 = 100;
/// How long a wrong password counts, from the first of them.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Accounts, and addresses, remembered at once.
const REMEMBERED: usize = 100_000;

/// Tries under way and wrong passwords.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    accounts: Table<String>,
    addresses: Table<IpAddr>,
}

#[derive(Debug)]
struct Table<K>(HashMap<K, (Timestamp, u32)>);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Table<K> {
    /// How long to wait, when `most` are counted.
    fn wait(&self, key: &K, most: u32, now: Timestamp) -> Option<Duration> {
        let &(since, count) = self.0.get(key)?;
        (count >= most && now < since + WINDOW).then(|| (since + WINDOW).since(now))
    }

    fn count(&mut self, key: &K, now: Timestamp) {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (since, _)| now < *since + WINDOW);
        }
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        let entry = self.0.entry(key.clone()).or_insert((now, 0));
        if now >= entry.0 + WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }

    fn take_back(&mut self, key: &K) {
        if let Some(entry) = self.0.get_mut(key) {
            entry.1 = entry.1.saturating_sub(1);
            if entry.1 == 0 {
                self.0.remove(key);
            }
        }
    }
}

impl Attempts {
    /// Counts a try that begins now.
    ///
    /// # Errors
    /// How long to wait; nothing is counted then.
    pub fn begin(&self, email: &str, address: Option<IpAddr>, now: Timestamp) -> Result<(), Duration> {
        let mut tables = self.0.lock();
        let (email, address) = (email.to_owned(), address.map(network));
        let of_address = address.and_then(|address| tables.addresses.wait(&address, PER_ADDRESS, now));
        if let Some(wait) = tables.accounts.wait(&email, PER_ACCOUNT, now).max(of_address) {
            return Err(wait);
        }
        tables.accounts.count(&email, now);
        if let Some(address) = address {
            tables.addresses.count(&address, now);
        }
        Ok(())
    }

    /// The password was right: the account's failures are forgotten, the
    /// address loses this try.
    pub fn succeeded(&self, email: &str, address: Option<IpAddr>) {
        let mut tables = self.0.lock();
        tables.accounts.0.remove(email);
        if let Some(address) = address {
            tables.addresses.take_back(&network(address));
        }
    }

    /// The password was not looked at after all.
    pub fn undecided(&self, email: &str, address: Option<IpAddr>) {
        let mut tables = self.0.lock();
        tables.accounts.take_back(&email.to_owned());
        if let Some(address) = address {
            tables.addresses.take_back(&network(address));
        }
    }
}

/// What one customer of a provider has: an IPv4 address, or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(0);

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn the_door_closes_after_ten_failures_and_opens_again() {
        let attempts = Attempts::default();
        for _ in 0..PER_ACCOUNT {
            assert_eq!(attempts.begin("a", None, START), Ok(()));
        }
        assert_eq!(attempts.begin("a", None, START), Err(WINDOW));
        assert_eq!(attempts.begin("b", None, START), Ok(()));
        assert_eq!(attempts.begin("a", None, START + WINDOW), Ok(()));
        assert_eq!(attempts.begin("a", None, START + WINDOW), Ok(()));
    }

    #[test]
    fn an_address_is_stopped_whatever_account_it_tries() {
        let attempts = Attempts::default();
        for n in 0..PER_ADDRESS {
            assert_eq!(attempts.begin(&n.to_string(), address("192.0.2.1"), START), Ok(()));
        }
        assert_eq!(attempts.begin("new", address("::ffff:192.0.2.1"), START), Err(WINDOW));
        assert_eq!(attempts.begin("new", address("192.0.2.2"), START), Ok(()));
        for n in 0..PER_ADDRESS {
            let one = format!("2001:db8::{n:x}");
            assert_eq!(attempts.begin(&format!("v6 {n}"), address(&one), START), Ok(()));
        }
        assert_eq!(attempts.begin("new", address("2001:db8::ffff"), START), Err(WINDOW));
        assert_eq!(attempts.begin("new", address("2001:db8:0:1::1"), START), Ok(()));
    }

    #[test]
    fn right_passwords_never_close_a_door() {
        let attempts = Attempts::default();
        for n in 0..3 * PER_ADDRESS {
            let email = (n % 7).to_string();
            assert_eq!(attempts.begin(&email, address("192.0.2.1"), START), Ok(()));
            attempts.succeeded(&email, address("192.0.2.1"));
        }
        assert!(attempts.0.lock().addresses.0.is_empty());
    }
}
