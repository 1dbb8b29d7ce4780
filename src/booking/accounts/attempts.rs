//! How often somebody may get a password wrong, per account and per address,
//! whichever office is asked.
//!
//! A try counts from its start, before the password is looked at, so that a
//! hundred guesses sent at once are a hundred; a right password takes its own
//! count back, so a fan who signs in on five devices, or a house full of them,
//! is not stopped. An address that the right password came from has a door of
//! its own to the account: strangers who guess close theirs, never the owner's.
//! The rows are in the database, of a fixed size, and swept with the window.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::booking::db::{Db, DbError, RowExt as _, Tx, millis};
use crate::domain::time::Timestamp;

/// Wrong passwords for one account within [`WINDOW`] before a door closes.
const PER_ACCOUNT: i64 = 10;
/// The same for one address, whatever the account: one address may be a whole
/// mobile network's.
const PER_ADDRESS: i64 = 100;
/// How long a wrong password counts, from the first of them.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// An address is the owner's for so long after the last right password.
const KNOWN: Duration = Duration::from_secs(90 * 24 * 3_600);
/// Addresses remembered for one account, the latest.
const KNOWN_MOST: i64 = 20;

/// Why a try does not begin.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Too many were wrong; how long to wait. Nothing is counted.
    #[error("too many attempts")]
    Closed(Duration),
    /// Not counted, so not begun.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Counts tries, in the database that every office shares.
#[derive(Clone, Debug)]
pub struct Attempts {
    db: Db,
}

/// A try that is counted; it came to nothing unless said otherwise.
#[derive(Debug)]
pub struct Attempt {
    account: String,
    network: Option<String>,
}

impl Attempts {
    /// Counts over this database.
    #[must_use]
    pub const fn new(db: Db) -> Self {
        Self { db }
    }

    /// Counts a try that begins now.
    ///
    /// # Errors
    /// [`Refused`]
    pub async fn begin(
        &self,
        email: &str,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Attempt, Refused> {
        let network = address.map(network);
        let known = match &network {
            Some(network) => self.is_known(email, network, now).await?,
            None => false,
        };
        let account = door(email, network.as_deref().filter(|_| known));
        let mut tx = self.db.begin().await?;
        // Always in this order, so that two never wait for each other.
        count(&mut tx, &account, PER_ACCOUNT, now).await?;
        if let Some(network) = &network {
            count(&mut tx, network, PER_ADDRESS, now).await?;
        }
        tx.commit().await?;
        Ok(Attempt { account, network })
    }

    /// Whether the account's password came from there lately.
    async fn is_known(&self, email: &str, network: &str, now: Timestamp) -> Result<bool, DbError> {
        let row = sqlx::query(
            "SELECT 1 FROM sign_in_addresses k JOIN accounts a ON a.id = k.account_id
             WHERE a.email = $1 AND k.network = $2 AND k.seen_at > $3",
        )
        .bind(email)
        .bind(network)
        .bind(millis(now - KNOWN))
        .fetch_optional(self.db.read())
        .await?;
        Ok(row.is_some())
    }

    /// The password was right: the failures at the door it came through are
    /// forgotten, the address loses this try and is known from now on.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn succeeded(&self, attempt: &Attempt, account: &str, now: Timestamp) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query("DELETE FROM sign_in_tries WHERE door = $1")
            .bind(attempt.account.as_str())
            .execute(&mut *tx)
            .await?;
        if let Some(network) = &attempt.network {
            take_back(&mut tx, network).await?;
            remember(&mut tx, account, network, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The password was not looked at after all.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn undecided(&self, attempt: &Attempt) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        take_back(&mut tx, &attempt.account).await?;
        if let Some(network) = &attempt.network {
            take_back(&mut tx, network).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Drops what no longer counts.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn sweep(&self, now: Timestamp) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        for (sql, kept) in [
            ("DELETE FROM sign_in_tries WHERE since <= $1", WINDOW),
            ("DELETE FROM sign_in_addresses WHERE seen_at <= $1", KNOWN),
        ] {
            sqlx::query(sql).bind(millis(now - kept)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Counts at a door, or finds it closed.
async fn count(tx: &mut Tx, door: &str, most: i64, now: Timestamp) -> Result<(), Refused> {
    let over = millis(now - WINDOW);
    let counted = sqlx::query(
        "INSERT INTO sign_in_tries (door, since, tries) VALUES ($1, $2, 1)
         ON CONFLICT (door) DO UPDATE
         SET since = CASE WHEN sign_in_tries.since <= $3 THEN excluded.since ELSE sign_in_tries.since END,
             tries = CASE WHEN sign_in_tries.since <= $3 THEN 1 ELSE sign_in_tries.tries + 1 END
         WHERE sign_in_tries.since <= $3 OR sign_in_tries.tries < $4",
    )
    .bind(door)
    .bind(millis(now))
    .bind(over)
    .bind(most)
    .execute(&mut **tx)
    .await?;
    if counted.rows_affected() == 1 {
        return Ok(());
    }
    let row = sqlx::query("SELECT since FROM sign_in_tries WHERE door = $1")
        .bind(door)
        .fetch_one(&mut **tx)
        .await?;
    Err(Refused::Closed((row.instant("since")? + WINDOW).since(now)))
}

async fn take_back(tx: &mut Tx, door: &str) -> Result<(), DbError> {
    sqlx::query("UPDATE sign_in_tries SET tries = tries - 1 WHERE door = $1 AND tries > 0")
        .bind(door)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn remember(tx: &mut Tx, account: &str, network: &str, now: Timestamp) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO sign_in_addresses (account_id, network, seen_at) VALUES ($1, $2, $3)
         ON CONFLICT (account_id, network) DO UPDATE SET seen_at = excluded.seen_at",
    )
    .bind(account)
    .bind(network)
    .bind(millis(now))
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "DELETE FROM sign_in_addresses WHERE account_id = $1 AND network NOT IN
           (SELECT network FROM sign_in_addresses WHERE account_id = $1
            ORDER BY seen_at DESC, network LIMIT $2)",
    )
    .bind(account)
    .bind(KNOWN_MOST)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// An account's door: for an address that is known there, or for strangers. A digest,
/// because what is typed as an email may be anything, a password too.
fn door(email: &str, known: Option<&str>) -> String {
    let digest = Sha256::new().chain_update(email).chain_update([0]).chain_update(known.unwrap_or_default());
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What one customer of a provider has: an IPv4 address, or an IPv6 /64.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).to_string(),
        IpAddr::V4(v4) => v4.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_one_customer_has() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[test]
    fn doors_are_of_one_size_and_apart() {
        let long = "x".repeat(1_000_000);
        let doors =
            [door("a", None), door("a", Some("192.0.2.1")), door("a", Some("192.0.2.2")), door(&long, None)];
        for (at, one) in doors.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(doors[at + 1..].iter().all(|other| one != other));
        }
    }
}
