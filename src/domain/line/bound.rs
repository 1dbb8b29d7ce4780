//! The generations of the passes inside, where passes rotate.

use super::{Line, Place};
use crate::domain::binding::{Binding, Claim, Heard, Rotation};
use crate::domain::id::VisitorId;
use crate::domain::pass::Pass;
use crate::domain::time::Timestamp;

impl Line {
    /// A visitor showed this generation of the pass it was issued at `issued_at`.
    /// `None` when that is not its pass (any more). Shown again it changes
    /// nothing, but that a generation which is due is made once only.
    pub fn show(
        &mut self,
        visitor: VisitorId,
        issued_at: Timestamp,
        generation: u64,
        rotation: Rotation,
        now: Timestamp,
    ) -> Option<Heard> {
        let now = self.clock(now);
        let pass = self.live_pass(visitor, now).filter(|pass| pass.issued_at == issued_at)?;
        let heard = self.binding(pass, || Binding::new(generation, now)).show(generation, now, rotation);
        self.debug_check();
        Some(heard)
    }

    /// A visitor claims its pass once more; `shown` = the generation it has, if
    /// any. `None` when it has no pass (any more).
    pub fn claim_again(
        &mut self,
        visitor: VisitorId,
        shown: Option<u64>,
        rotation: Rotation,
        now: Timestamp,
    ) -> Option<Claim> {
        let now = self.clock(now);
        let pass = self.live_pass(visitor, now)?;
        let first = || shown.map_or_else(|| Binding::claimed(now), |shown| Binding::new(shown, now));
        let claim = self.binding(pass, first).claim(shown, now, rotation);
        self.debug_check();
        Some(claim)
    }

    fn live_pass(&self, visitor: VisitorId, now: Timestamp) -> Option<Pass> {
        match self.places.get(&visitor) {
            Some(&Place::Inside(pass)) if pass.is_live(now) => Some(pass),
            _ => None,
        }
    }

    /// What is known of this very pass.
    fn binding(&mut self, pass: Pass, first: impl FnOnce() -> Binding) -> &mut Binding {
        if self.bound.get(&pass.number).is_some_and(|bound| bound.0 != pass.issued_at) {
            self.bound.remove(&pass.number);
        }
        &mut self.bound.entry(pass.number).or_insert_with(|| (pass.issued_at, first())).1
    }
}
