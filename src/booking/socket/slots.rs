//! How many sockets there may be, of all and of one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts open sockets.
#[derive(Debug)]
pub(in crate::booking) struct Slots {
    most: usize,
    /// 0 = as many as there are.
    most_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One socket's; given back when dropped.
#[derive(Debug)]
pub(in crate::booking) struct Slot {
    slots: Arc<Slots>,
    address: Option<IpAddr>,
}

impl Slots {
    pub(in crate::booking) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self { most, most_per_address, taken: Mutex::default() })
    }

    /// A slot for a socket of `address`, while there are any.
    pub(in crate::booking) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Slot> {
        let address = address.filter(|_| self.most_per_address > 0);
        let mut taken = self.taken.lock();
        if taken.all >= self.most {
            return None;
        }
        if let Some(address) = address {
            let mine = taken.by_address.entry(address).or_default();
            if *mine >= self.most_per_address {
                return None;
            }
            *mine += 1;
        }
        taken.all += 1;
        drop(taken);
        Some(Slot { slots: Arc::clone(self), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.all -= 1;
        if let Some(address) = self.address
            && let Some(mine) = taken.by_address.get_mut(&address)
        {
            *mine -= 1;
            if *mine == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limits_and_what_ends_is_given_back() {
        let address = |last| Some(IpAddr::from([192, 0, 2, last]));
        let slots = Slots::new(3, 2);
        let first = slots.take(address(1)).expect("free");
        let _second = slots.take(address(1)).expect("free");
        assert!(slots.take(address(1)).is_none(), "two an address");
        let _third = slots.take(address(2)).expect("free");
        assert!(slots.take(address(3)).is_none(), "three of all");
        drop(first);
        assert!(slots.take(address(1)).is_some());
        let unlimited = Slots::new(9, 0);
        let all: Vec<_> = (0..9).map_while(|_| unlimited.take(address(1))).collect();
        assert_eq!((all.len(), unlimited.taken.lock().by_address.len()), (9, 0));
    }
}
