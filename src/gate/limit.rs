//! How often one address may join.

use std::net::IpAddr;
use std::time::Duration;

use pingora_limits::rate::Rate;

/// Joins per minute and address, counted in a sketch of fixed size: a hundred
/// thousand addresses take no more memory than one. Two addresses that share
/// all cells are counted together, which is rare and errs to the strict side.
pub(super) struct JoinLimit {
    rate: Rate,
    per_minute: Option<u32>,
}

impl JoinLimit {
    pub(super) fn new(per_minute: Option<u32>) -> Self {
        Self { rate: Rate::new(Duration::from_secs(60)), per_minute }
    }

    /// Counts a join; `false` = over the limit.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        let Some(limit) = self.per_minute else { return true };
        let seen = self.rate.observe(&crate::server::network(address), 1);
        u32::try_from(seen).is_ok_and(|seen| seen <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_capped_and_an_ipv6_visitor_owns_a_64() {
        let limit = JoinLimit::new(Some(20));
        let address = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let joined = (0..50).filter(|&n| limit.allows(address(n))).count();
        assert_eq!(joined, 20);
        assert!(limit.allows(IpAddr::from([192, 0, 2, 1])));
        assert!(JoinLimit::new(None).allows(address(1)));
    }
}
