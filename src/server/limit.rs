//! How many connections there may be, in all and from one address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

/// Open connections of a listener.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    max: Option<usize>,
    max_per_address: Option<usize>,
    /// Kept only while `max_per_address` is set; an entry goes with its last connection.
    by_address: DashMap<IpAddr, usize>,
}

/// One open connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

impl Connections {
    /// Counts connections up to these bounds.
    #[must_use]
    pub fn new(max: Option<usize>, max_per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, ..Self::default() })
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Room for one more; `None` over a bound.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let mut slot = Slot { connections: Arc::clone(self), address: None };
        if self.max.is_some_and(|max| before >= max) {
            return None;
        }
        if let Some(max) = self.max_per_address {
            let address = network(address);
            let mut count = self.by_address.entry(address).or_insert(0);
            *count += 1;
            slot.address = Some(address);
            if *count > max {
                drop(count);
                return None;
            }
        }
        Some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            self.connections.by_address.remove_if_mut(&address, |_, count| {
                *count -= 1;
                *count == 0
            });
        }
    }
}

/// The address that counts: an IPv6 visitor owns a whole /64.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_makes_room() {
        let connections = Connections::new(Some(3), Some(2));
        let address = |n| IpAddr::from([127, 0, 0, n]);
        let first = connections.take(address(1)).expect("room");
        let _second = connections.take(address(1)).expect("room");
        assert!(connections.take(address(1)).is_none(), "two from one address");
        let _third = connections.take(address(2)).expect("room");
        assert!(connections.take(address(3)).is_none(), "three in all");
        drop(first);
        assert!(connections.take(address(1)).is_some());
        assert_eq!(connections.open(), 2);
    }
}
