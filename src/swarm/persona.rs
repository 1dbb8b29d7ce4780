//! Who a visitor is: all that it will want, drawn before it comes.
//!
//! Owns the dice of a visitor's character. Persona `i` of a seed is the same
//! whatever the gate does and however many others come.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::options::{IdentityKind, Options};

/// Share of visitors that also knock at the app without a pass.
const KNOCKS: f64 = 0.1;
/// Share of browsers that load their page again while they wait.
const RELOADS: f64 = 0.1;
/// Share that asks again when told `admitted`.
const CLAIMS_TWICE: f64 = 0.2;
/// Share that tries its pass once more after it left.
const TRIES_OLD_PASS: f64 = 0.1;

/// One visitor's character.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Persona {
    /// When it comes, after the start.
    pub arrives_after: Duration,
    /// Loads pages like a browser, or calls the queue's API like a program.
    pub is_browser: bool,
    /// How it waits.
    pub patience: Patience,
    /// Polls before it was told to.
    pub is_impatient: bool,
    /// How long it uses the app.
    pub visit: Duration,
    /// Says so when it goes.
    pub leaves: bool,
    /// Knocks at the app without a pass.
    pub knocks: bool,
    /// Loads its page again while it waits.
    pub reloads: bool,
    /// Asks again when admitted.
    pub claims_twice: bool,
    /// Tries its pass after it left.
    pub tries_old_pass: bool,
    /// Joins again when its place is gone.
    pub rejoins: bool,
}

/// How a visitor waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// To the end.
    Stays,
    /// Leaves after so many waiting answers.
    GivesUp {
        /// At least 1.
        after: u32,
    },
    /// Says nothing more after so many waiting answers.
    FallsSilent {
        /// At least 1.
        after: u32,
        /// Comes back then, if at all.
        back_after: Option<Duration>,
    },
    /// Says nothing more when its turn is near.
    NoShow {
        /// Comes back then, if at all.
        back_after: Option<Duration>,
    },
}

impl Persona {
    /// Visitor `index` of the crowd.
    pub(super) fn draw(options: &Options, seed: u64, index: u32) -> Self {
        let rng = &mut dice(seed, index, Dice::Character);
        let arrives = (f64::from(index) + rng.random::<f64>()) / options.rate();
        let may_load_pages = options.identity != IdentityKind::Token;
        Self {
            arrives_after: Duration::try_from_secs_f64(arrives).unwrap_or(Duration::MAX),
            is_browser: may_load_pages && rng.random_bool(0.5),
            patience: Patience::draw(options, rng),
            is_impatient: rng.random_bool(options.impatient),
            visit: about(options.visit, rng),
            leaves: rng.random_bool(options.leave),
            knocks: rng.random_bool(KNOCKS),
            reloads: rng.random_bool(RELOADS),
            claims_twice: rng.random_bool(CLAIMS_TWICE),
            tries_old_pass: rng.random_bool(TRIES_OLD_PASS),
            rejoins: rng.random_bool(0.5),
        }
    }
}

impl Patience {
    fn draw(options: &Options, rng: &mut SmallRng) -> Self {
        let lot: f64 = rng.random();
        let after = rng.random_range(1..=5);
        let away = about(options.away, rng);
        let back_after = rng.random_bool(0.5).then_some(away);
        if lot < options.give_up {
            Self::GivesUp { after }
        } else if lot < options.give_up + options.silent {
            Self::FallsSilent { after, back_after }
        } else if lot < options.give_up + options.silent + options.no_show {
            Self::NoShow { back_after }
        } else {
            Self::Stays
        }
    }
}

/// Half to one and a half times `mean`.
pub(super) fn about(mean: Duration, rng: &mut SmallRng) -> Duration {
    mean.mul_f64(rng.random_range(0.5..1.5))
}

/// What a visitor's dice are for: how often the second are rolled depends on
/// the gate, and must not move the first.
#[derive(Clone, Copy)]
pub(super) enum Dice {
    Character,
    Conduct,
}

/// The dice of one visitor.
pub(super) fn dice(seed: u64, index: u32, kind: Dice) -> SmallRng {
    // An odd constant (the golden ratio) spreads neighbours; the generator mixes the rest.
    let lane = (u64::from(index) << 1) | kind as u64;
    SmallRng::seed_from_u64(seed ^ (lane + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Cli::parse_from([&["swarm", "--target", "http://127.0.0.1:1"], arguments].concat()).options
    }

    #[test]
    fn depends_on_seed_and_index_alone() {
        let (few, many) = (options(&["--visitors", "10"]), options(&["--visitors", "5000"]));
        assert_eq!(Persona::draw(&few, 7, 3), Persona::draw(&many, 7, 3));
        assert_ne!(Persona::draw(&few, 7, 3), Persona::draw(&few, 8, 3));
        assert_ne!(Persona::draw(&few, 7, 3).visit, Persona::draw(&few, 7, 4).visit);
    }

    #[test]
    fn the_shares_are_what_was_asked_for() {
        let options = options(&["--give-up", "0.3", "--silent", "0.2", "--no-show", "0.1", "--rate", "100"]);
        let crowd: Vec<_> = (0..10_000).map(|i| Persona::draw(&options, 1, i)).collect();
        let share = |is: fn(&Patience) -> bool| {
            crowd.iter().filter(|persona| is(&persona.patience)).count() as f64 / crowd.len() as f64
        };
        assert!((share(|p| matches!(p, Patience::GivesUp { .. })) - 0.3).abs() < 0.02);
        assert!((share(|p| matches!(p, Patience::FallsSilent { .. })) - 0.2).abs() < 0.02);
        assert!((share(|p| matches!(p, Patience::NoShow { .. })) - 0.1).abs() < 0.02);
        let last = crowd.last().expect("a crowd").arrives_after.as_secs_f64();
        assert!((99.9..=100.0).contains(&last), "{last}");
    }
}
