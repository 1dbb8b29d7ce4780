//! How often a waiting visitor is asked to come back.

use std::time::Duration;

/// The room's bounds on polling.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two polls near the front; zero = no pacing.
    pub min: Duration,
    /// Between two polls far back.
    pub max: Duration,
    /// The room's idle timeout: a visitor must be heard four times in it.
    pub idle_timeout: Duration,
    /// The room's claim window: a visitor must look twice in it.
    pub claim_window: Duration,
}

/// Shown when pacing is off: browsers still need a number.
const UNPACED: Duration = Duration::from_secs(1);

impl Pace {
    /// The longest time ever told.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        self.max.min(self.idle_timeout / 4).min(self.claim_window / 2)
    }

    /// When to poll next, with `wait` expected (`None` = unknown).
    ///
    /// A tenth of the wait, between `min` and the ceiling, then moved by up to
    /// ±20 % (`wide`: ±50 %, after an outage), where the ceiling leaves room for it:
    /// cut off there, half of a herd far back would be told one and the same
    /// instant, and come as a herd for ever. `chance` is uniform in 0..1.
    #[must_use]
    pub fn after(&self, wait: Option<Duration>, wide: bool, chance: f64) -> Duration {
        let ceiling = self.ceiling();
        if self.min.is_zero() {
            return UNPACED.min(ceiling);
        }
        let wanted = wait.map_or(self.min * 2, |wait| wait / 10).clamp(self.min.min(ceiling), ceiling);
        let spread = if wide { 0.5 } else { 0.2 };
        let (soonest, latest) = (wanted.mul_f64(1.0 - spread), wanted.mul_f64(1.0 + spread).min(ceiling));
        soonest + (latest - soonest).mul_f64(chance)
    }

    /// Whether a poll `since` the last accepted one, told to wait `told`, is too early.
    #[must_use]
    pub fn too_early(&self, since: Duration, told: Duration) -> bool {
        !self.min.is_zero() && since < told / 2
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACE: Pace = Pace {
        min: Duration::from_secs(2),
        max: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(180),
        claim_window: Duration::from_secs(120),
    };

    #[test]
    fn the_front_polls_often_and_the_back_seldom() {
        assert_eq!(PACE.after(Some(Duration::ZERO), false, 0.5), Duration::from_secs(2));
        assert_eq!(PACE.after(Some(Duration::from_secs(100)), false, 0.5), Duration::from_secs(10));
        assert_eq!(PACE.after(Some(Duration::from_secs(9_000)), false, 0.5), Duration::from_secs(27));
    }

    #[test]
    fn those_far_back_are_told_different_instants_too() {
        let told = |wide, chance| PACE.after(Some(Duration::from_secs(9_000)), wide, chance).as_secs_f64();
        for (wide, soonest) in [(false, 24.0), (true, 15.0)] {
            for tenths in 0..10 {
                let chance = f64::from(tenths) / 10.0;
                let expected = soonest + (30.0 - soonest) * chance;
                assert!((told(wide, chance) - expected).abs() < 0.001, "{wide} {chance}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_above_a_quarter_of_the_idle_timeout_nor_half_the_claim_window(
            idle in 1_u64..600, claim in 1_u64..600, wait in 0_u64..100_000, chance in 0.0..1.0, wide: bool,
        ) {
            let pace = Pace { idle_timeout: Duration::from_secs(idle), claim_window: Duration::from_secs(claim), ..PACE };
            let after = pace.after(Some(Duration::from_secs(wait)), wide, chance);
            prop_assert!(after <= Duration::from_secs(idle) / 4);
            prop_assert!(after <= Duration::from_secs(claim) / 2);
            prop_assert!(!after.is_zero());
        }
    }
}
