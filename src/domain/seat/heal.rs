//! What is to be done about a seat of which hold store and database tell differently.
//!
//! The store is looked at first and the database after it, so what the database
//! says is the newer. Owns one seat's comparison; never looks at either of them.

use super::{HoldEpoch, HoldId, Outcome, Seat};

/// What brings the store in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Tell it what the database says, under this epoch.
    Settle(HoldEpoch, Outcome),
    /// End this hold: the seat is another's, and it is the newer in the store only.
    End(HoldId),
    /// Stop the clock of the order's hold: it is being paid for.
    Stop,
}

/// What to do about a seat that the store has as `kept`, by `hold` if that is
/// still there, and the database as `truth`, which is never [`Seat::Held`].
///
/// A hold whose clock is stopped without a payment is left alone: a request is
/// about to write one, or the reaper asks after it.
#[must_use]
pub fn remedy(kept: Seat, hold: Option<HoldId>, truth: Seat) -> Option<Remedy> {
    match truth {
        Seat::Free | Seat::Held(_) => match kept {
            Seat::Held(_) | Seat::Paying(_) if hold.is_some() => None,
            kept => kept.epoch().map(|epoch| Remedy::Settle(epoch, Outcome::Free)),
        },
        Seat::Sold(epoch) => taken(kept, hold, epoch, Outcome::Sold),
        Seat::Paying(epoch) => taken(kept, hold, epoch, Outcome::Paying),
    }
}

/// The same for a seat that an order has.
fn taken(kept: Seat, hold: Option<HoldId>, epoch: HoldEpoch, outcome: Outcome) -> Option<Remedy> {
    let newer = kept.epoch().is_some_and(|of| of > epoch);
    match (kept, hold) {
        // An order that is paid is never being paid for again.
        (Seat::Sold(of), _) if of >= epoch => None,
        (Seat::Paying(of), _) if of >= epoch && outcome == Outcome::Paying => None,
        (Seat::Held(_), Some(hold)) if newer => Some(Remedy::End(hold)),
        (Seat::Paying(_), Some(_)) if newer => None,
        (Seat::Held(of), Some(_)) if of == epoch && outcome == Outcome::Paying => Some(Remedy::Stop),
        _ => Some(Remedy::Settle(kept.epoch().map_or(epoch, |of| of.max(epoch)), outcome)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Option<HoldId> = Some(HoldId::from_bits(7));

    fn at(epoch: u64) -> HoldEpoch {
        HoldEpoch::from_u64(epoch)
    }

    #[test]
    fn what_agrees_is_left_alone() {
        assert_eq!(remedy(Seat::Free, None, Seat::Free), None);
        assert_eq!(remedy(Seat::Sold(at(3)), None, Seat::Sold(at(3))), None);
        assert_eq!(remedy(Seat::Paying(at(3)), HOLD, Seat::Paying(at(3))), None);
        assert_eq!(remedy(Seat::Paying(at(3)), None, Seat::Paying(at(3))), None);
        assert_eq!(remedy(Seat::Held(at(3)), HOLD, Seat::Free), None, "the database knows of no holds");
        assert_eq!(remedy(Seat::Paying(at(3)), HOLD, Seat::Free), None, "its payment is about to be written");
    }

    #[test]
    fn what_the_store_missed_is_told() {
        let told = |kept, hold, truth| remedy(kept, hold, truth);
        let settle = |epoch, outcome| Some(Remedy::Settle(at(epoch), outcome));
        assert_eq!(told(Seat::Free, None, Seat::Sold(at(3))), settle(3, Outcome::Sold));
        assert_eq!(told(Seat::Free, None, Seat::Paying(at(3))), settle(3, Outcome::Paying));
        assert_eq!(told(Seat::Held(at(3)), HOLD, Seat::Sold(at(3))), settle(3, Outcome::Sold));
        assert_eq!(told(Seat::Paying(at(3)), HOLD, Seat::Sold(at(3))), settle(3, Outcome::Sold));
        assert_eq!(told(Seat::Held(at(2)), HOLD, Seat::Sold(at(3))), settle(3, Outcome::Sold), "an old hold");
        assert_eq!(told(Seat::Held(at(2)), HOLD, Seat::Paying(at(3))), settle(3, Outcome::Paying));
        assert_eq!(told(Seat::Sold(at(3)), None, Seat::Free), settle(3, Outcome::Free), "given back");
        assert_eq!(told(Seat::Paying(at(3)), None, Seat::Free), settle(3, Outcome::Free), "not paid");
        assert_eq!(told(Seat::Held(at(3)), None, Seat::Free), settle(3, Outcome::Free), "held by nobody");
        assert_eq!(
            told(Seat::Sold(at(2)), None, Seat::Paying(at(3))),
            settle(3, Outcome::Paying),
            "sold anew"
        );
    }

    #[test]
    fn a_newer_hold_on_a_taken_seat_ends_first() {
        assert_eq!(remedy(Seat::Held(at(9)), HOLD, Seat::Sold(at(3))), HOLD.map(Remedy::End));
        assert_eq!(remedy(Seat::Held(at(9)), HOLD, Seat::Paying(at(3))), HOLD.map(Remedy::End));
        assert_eq!(remedy(Seat::Paying(at(9)), HOLD, Seat::Sold(at(3))), None, "its request is refused");
        let orphan = Some(Remedy::Settle(at(9), Outcome::Sold));
        assert_eq!(remedy(Seat::Held(at(9)), None, Seat::Sold(at(3))), orphan, "nobody's mark gives way");
    }

    #[test]
    fn a_hold_that_is_paid_for_has_no_deadline() {
        assert_eq!(remedy(Seat::Held(at(3)), HOLD, Seat::Paying(at(3))), Some(Remedy::Stop));
    }
}
