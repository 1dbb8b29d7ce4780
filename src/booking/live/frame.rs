//! What the server says, as whole WebSocket frames: encoded once, sent to many.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use crate::booking::socket;
use crate::domain::seat::SeatStatus;

/// Messages of the live map (`CONTRACT.md` 6).
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Said<'a> {
    /// Every seat, two bits each in the order of the list of seats.
    Snapshot { version: u64, seats: String },
    /// Seats that changed after `from`, each once, as they are at `to`.
    Delta { from: u64, to: u64, seats: &'a [(&'a str, &'static str)] },
    /// People who look at the event.
    Presence { active: u64 },
}

impl Said<'_> {
    /// The message as one text frame.
    pub(super) fn frame(&self) -> Bytes {
        socket::text(self)
    }
}

/// Two bits a seat, low first in each byte: 0 AVAILABLE, 1 HELD, 2 SOLD; base64.
pub(super) fn seats(statuses: impl ExactSizeIterator<Item = SeatStatus>) -> String {
    let mut bits = vec![0_u8; statuses.len().div_ceil(4)];
    for (i, status) in statuses.enumerate() {
        let value = match status {
            SeatStatus::Available => 0,
            SeatStatus::Held => 1,
            SeatStatus::Sold => 2,
        };
        bits[i / 4] |= value << (2 * (i % 4));
    }
    STANDARD.encode(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_seats_are_a_byte_low_bits_first() {
        use SeatStatus::{Available, Held, Sold};
        let bits = |statuses: &[SeatStatus]| STANDARD.decode(seats(statuses.iter().copied())).expect("ours");
        assert_eq!(bits(&[]), [0; 0]);
        assert_eq!(bits(&[Held, Sold, Available, Sold, Sold]), [0b10_00_10_01, 0b10]);
    }

    #[test]
    fn frames_are_unmasked_texts() {
        let said = Said::Delta { from: 1, to: 3, seats: &[("A-1-1", "HELD")] }.frame();
        let text = br#"{"type":"delta","from":1,"to":3,"seats":[["A-1-1","HELD"]]}"#;
        assert_eq!((said[0], usize::from(said[1]), &said[2..]), (0x81, text.len(), &text[..]));
    }
}
