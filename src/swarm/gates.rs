//! A visitor's way to the gates, whatever it is made of.
//!
//! Owns what a visitor can ask of a gate and what can come of it. Over sockets
//! it is HTTP ([`super::sockets`]); a simulation asks the queue itself. What a
//! visitor does, and its record, are the same either way.

use std::future::Future;
use std::time::Duration;

pub use super::answer::{Page, Reply, Standing, Tokens};
use super::history::{Asked, Exchange};
pub use super::packed::Calm;
pub use super::wire::Failure;
use crate::domain::time::Timestamp;

/// Who opens a path of the app.
#[derive(Debug)]
pub enum Who<'a, I> {
    /// Somebody unknown.
    Nobody,
    /// Somebody with a pass that no gate gave.
    Forger,
    /// The visitor as it is now.
    Own,
    /// The visitor with what it had before.
    Before(&'a I),
}

impl<I> Clone for Who<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Who<'_, I> {}

/// What came of the polls that were made for a visitor who dozed.
#[derive(Debug, Default)]
pub struct Dozed {
    /// Those that a record must have.
    pub polls: Vec<Exchange>,
    /// The answer to the last of them, if it is one to act on.
    pub reply: Option<Reply>,
}

/// One visitor's way to the gates. Each call is one try at one gate.
pub trait Gates: Send {
    /// What the visitor shows to be known again, as it is at one moment.
    type Identity: Clone + Send + Sync;

    /// How many gates there are; at least 1.
    fn count(&self) -> usize;

    /// The time, as the record has it.
    fn now(&self) -> Timestamp;

    /// The same, finer, since some start.
    fn elapsed(&self) -> Duration;

    /// Ready after so long.
    fn sleep(&self, pause: Duration) -> impl Future<Output = ()> + Send;

    /// As [`Gates::sleep`], of a visitor who only waits: a way may make its polls
    /// too, at gates that follow from `lot`, for as long as nothing is new.
    fn doze(&mut self, pause: Duration, lot: u64) -> impl Future<Output = Dozed> + Send {
        let _ = lot;
        async move {
            self.sleep(pause).await;
            Dozed::default()
        }
    }

    /// What the visitor has now.
    fn identity(&self) -> Self::Identity;

    /// Joins, polls or leaves, and keeps what the answer gives.
    fn queue(&mut self, gate: usize, asked: Asked) -> impl Future<Output = Result<Reply, Failure>> + Send;

    /// Opens a path of the app; the visitor keeps what the answer gives to it,
    /// and a browser also what it is given as nobody.
    fn page(
        &mut self,
        gate: usize,
        path: &str,
        who: Who<'_, Self::Identity>,
        as_browser: bool,
    ) -> impl Future<Output = Result<Page, Failure>> + Send;

    /// Digests of the tokens given since the last call.
    fn take_keys(&mut self) -> Vec<u64> {
        Vec::new()
    }
}
