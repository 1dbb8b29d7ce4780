//! A visitor's line to the gates: one request at a time, each on record.
//!
//! Owns falling over to another gate, trying again, and the visitor's record.
//! Never decides what to ask.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::gates::{Failure, Gates, Page, Reply, Who};
use super::history::{Asked, Credentials, Recorder, Told};
use super::persona::about;
use super::tally::Tally;
use crate::domain::time::Timestamp;

/// First pause when no gate answered; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Short enough to be back soon after a restarted gate.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// One visitor's line to the gates.
pub(super) struct Link<G, R> {
    tally: Arc<Tally>,
    gates: G,
    record: R,
    rng: SmallRng,
    has_come: bool,
}

impl<G: Gates, R: Recorder> Link<G, R> {
    pub(super) fn new(tally: Arc<Tally>, gates: G, record: R, rng: SmallRng) -> Self {
        Self { tally, gates, record, rng, has_come: false }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn now(&self) -> Timestamp {
        self.gates.now()
    }

    pub(super) async fn sleep(&self, pause: Duration) {
        self.gates.sleep(pause).await;
    }

    /// Sleeps, or waits on for as long as nothing is new; the answer, if there is
    /// one already.
    pub(super) async fn doze(&mut self, pause: Duration) -> Option<Reply> {
        let lot = self.rng.random();
        let dozed = self.gates.doze(pause, lot).await;
        dozed.polls.into_iter().for_each(|exchange| self.record.put(exchange));
        dozed.reply
    }

    pub(super) fn identity(&self) -> G::Identity {
        self.gates.identity()
    }

    /// Whether it asked anything yet.
    pub(super) const fn has_come(&self) -> bool {
        self.has_come
    }

    pub(super) fn into_record(self) -> R {
        self.record
    }

    /// Asks the queue until a gate gives an answer of the contract.
    pub(super) async fn queue(&mut self, asked: Asked) -> Reply {
        let mut pause = FIRST_PAUSE;
        loop {
            for gate in self.order() {
                let sent = self.begin(asked);
                match self.gates.queue(gate, asked).await {
                    Ok(Reply::Trouble(kind)) => {
                        self.end(Told::Trouble);
                        self.tally.error(&kind);
                    }
                    Ok(Reply::TooEarly(retry_after)) => {
                        self.end(Told::TooEarly);
                        return Reply::TooEarly(retry_after);
                    }
                    Ok(Reply::Status(standing)) => {
                        self.end(Told::Status(standing.status));
                        self.note_latency(asked, sent);
                        return Reply::Status(standing);
                    }
                    Err(failure) => self.fail(failure),
                }
            }
            let pause_now = about(pause, &mut self.rng);
            self.sleep(pause_now).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Opens a path of the app. One try at each gate: a page that does not come
    /// is loaded again by whoever cares.
    pub(super) async fn page(&mut self, path: &str, who: Who<'_, G::Identity>, as_browser: bool) -> Page {
        let credentials = match who {
            Who::Nobody | Who::Forger => Credentials::Nothing,
            Who::Own => Credentials::Own,
            Who::Before(_) => Credentials::Old,
        };
        let mut page = Page::Trouble("none".into());
        for gate in self.order() {
            self.begin(Asked::Page(credentials));
            match self.gates.page(gate, path, who, as_browser).await {
                Ok(answer) => page = answer,
                Err(failure) => {
                    self.fail(failure);
                    continue;
                }
            }
            match &page {
                Page::App => self.end(Told::App),
                Page::Held => self.end(Told::Held),
                Page::Trouble(kind) => {
                    self.tally.error(kind);
                    self.end(Told::Trouble);
                    continue;
                }
            }
            break;
        }
        page
    }

    /// The gates in the order in which this request tries them.
    fn order(&mut self) -> impl Iterator<Item = usize> + use<G, R> {
        let count = self.gates.count();
        let first = self.rng.random_range(0..count);
        (0..count).map(move |i| (first + i) % count)
    }

    /// Puts the exchange on record before it is sent, as one without an answer:
    /// a run that is cut short leaves it so.
    fn begin(&mut self, asked: Asked) -> Sent {
        self.has_come = true;
        self.record.begin(self.gates.now(), asked);
        Sent(self.gates.elapsed())
    }

    fn end(&mut self, told: Told) {
        self.record.end(self.gates.now(), told);
        for key in self.gates.take_keys() {
            self.record.key(key);
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.end(Told::Nothing);
        self.tally.error(failure.kind());
    }

    /// In a simulation an answer may take no time at all, which says nothing.
    fn note_latency(&self, asked: Asked, sent: Sent) {
        let took = self.gates.elapsed().saturating_sub(sent.0);
        match asked {
            _ if took.is_zero() => {}
            Asked::Join => self.tally.join.lock().note(took),
            Asked::Poll => self.tally.status.lock().note(took),
            Asked::Leave | Asked::Page(_) => {}
        }
    }
}

/// When a request went out, finer than the record.
struct Sent(Duration);
