//! A gate, an app, innocents beside, and the checks that follow every case.

use crate::support::app::{FakeApp, Seen};
use crate::support::client::Client;
use crate::support::gate::TestGate;
use crate::support::raw::{DEADLINE, Heard, Raw, exchange};
use crate::support::wait::until;

/// Rounds of the innocents during one case.
const ROUNDS: usize = 2;

/// Who sends a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Nobody,
    PassHolder,
}

pub(super) const BOTH: [Sender; 2] = [Sender::Nobody, Sender::PassHolder];

/// What a case may lead to, for a pass holder.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// 400 and closed; the app sees nothing in full.
    Refused,
    /// The app sees one request with exactly this body.
    Body(&'static str),
    /// Either.
    RefusedOrBody(&'static str),
}

/// What came of a case.
pub(super) struct Outcome {
    pub(super) heard: Heard,
    /// What the app parsed because of it, cut ones included.
    pub(super) seen: Vec<Seen>,
}

pub(super) struct World {
    pub(super) gate: TestGate,
    pub(super) app: FakeApp,
    pub(super) holder: Client,
    innocents: Vec<Raw>,
    /// Requests of the checks themselves; makes each one's path its own.
    asked: usize,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// A gate with more settings.
    pub(super) async fn with(more: &str) -> Self {
        let app = FakeApp::start().await;
        let gate = TestGate::before(&app, more).await;
        let holder = gate.admitted().await;
        let mut innocents = Vec::new();
        for _ in 0..3 {
            innocents.push(Raw::connect(gate.address()).await);
        }
        Self { gate, app, holder, innocents, asked: 0 }
    }

    /// Puts in `{H}` a good Host, in `{P}` the sender's cookies, and in `{S}` a
    /// second request that a pass would carry to the app if anybody read it as one.
    pub(super) fn fill(&self, text: &str, sender: Sender) -> Vec<u8> {
        let pass = format!("Cookie: {}", self.holder.cookie());
        let smuggled = format!("GET /smuggled HTTP/1.1\r\n{{H}}\r\n{pass}\r\n\r\n");
        let own = if sender == Sender::PassHolder { pass.as_str() } else { "Cookie: basket=7" };
        let text = text.replace("{S}", &smuggled).replace("{P}", own).replace("{H}", "Host: t.test");
        text.into_bytes()
    }

    /// Sends bytes while innocents go about their business; then the standing checks.
    pub(super) async fn case(&mut self, id: &str, bytes: &[u8]) -> Outcome {
        let (forwarded, parsed) = (self.gate.forwarded().await, self.app.count());
        let from = self.asked;
        let own = innocent_rounds(&self.holder, &mut self.innocents, &mut self.asked);
        let (heard, ()) = tokio::join!(exchange(self.gate.address(), bytes), own);
        self.check_good(id).await;
        let aborted = self.settle(id, forwarded, parsed).await;
        assert!(self.gate.is_well(), "{id}: {}", self.gate.log());
        let mine = |seen: &Seen| seen.target().strip_prefix("/mine/").map(|n| n.parse::<usize>());
        let mut seen = self.app.seen().split_off(parsed);
        let beside = seen.iter().filter(|s| mine(s).is_some_and(|n| n.is_ok_and(|n| n >= from))).count();
        assert_eq!(beside, self.asked - from, "{id}: each innocent request reaches the app once");
        seen.retain(|seen| mine(seen).is_none());
        assert!(!seen.iter().any(|s| s.target().contains("smuggled")), "{id}: a second request got through");
        assert!(aborted <= 1 && (aborted == 0 || seen.is_empty()), "{id}: forwarded more than was parsed");
        Outcome { heard, seen }
    }

    /// As [`World::case`]; what the app must see and the sender must hear.
    pub(super) async fn expect(&mut self, id: &str, text: &str, sender: Sender, expect: Expect) {
        let bytes = self.fill(text, sender);
        let Outcome { mut heard, seen } = self.case(id, &bytes).await;
        let id = format!("{id} by {sender:?}");
        let whole: Vec<_> = seen.iter().filter(|seen| seen.whole).collect();
        if sender == Sender::Nobody {
            assert!(seen.is_empty(), "{id}: the app saw {seen:?}");
            assert!(!heard.answers.is_empty(), "{id}: no answer");
            assert!(heard.statuses().iter().all(|status| matches!(status, 400 | 429)), "{id}: {heard:?}");
            let kept = heard.statuses() == [429] || heard.closes().await;
            assert!(kept, "{id}: open after a framing error: {heard:?}");
            return;
        }
        let refused = heard.statuses() == [400] && whole.is_empty();
        match (expect, whole.as_slice()) {
            (Expect::Refused | Expect::RefusedOrBody(_), _) if refused => readable(&id, &mut heard).await,
            (Expect::Body(body) | Expect::RefusedOrBody(body), [seen]) => {
                assert_eq!(seen.body, body.as_bytes(), "{id}");
                assert_eq!(seen.trailers, b"", "{id}: trailers end at the gate");
                assert!(matches!(heard.statuses().as_slice(), [200] | [200, 400]), "{id}: {heard:?}");
            }
            _ => panic!("{id}: heard {heard:?}, the app saw {seen:?}"),
        }
    }

    /// A known-good request on a new connection.
    pub(super) async fn check_good(&mut self, id: &str) {
        let target = format!("/mine/{}", self.asked);
        self.asked += 1;
        let answer = self.holder.get(&target).await;
        let own = answer.status == 200 && answer.text().contains(&format!("{target} "));
        assert!(own, "{id}: a good request was answered {answer:?}");
    }

    /// Waits until gate and app agree on what was forwarded; how many requests
    /// the gate gave up before the app had their head.
    async fn settle(&self, id: &str, forwarded: usize, parsed: usize) -> usize {
        let what = format!("{id}: forwarded = parsed");
        until(&what, DEADLINE, || async {
            // In this order: what the app has seen by now was forwarded before.
            let seen = self.app.count() - parsed;
            let said = self.gate.forwarded().await - forwarded;
            assert!(seen <= said, "{id}: the app parsed {seen}, the gate forwarded {said}");
            let cut = self.app.seen()[parsed..].iter().all(|seen| !seen.target().starts_with("/case"));
            (said == seen || (said == seen + 1 && cut)).then_some(said - seen)
        })
        .await
    }
}

/// Keep-alive clients with a pass: each sees its own answers and no other.
async fn innocent_rounds(holder: &Client, innocents: &mut [Raw], asked: &mut usize) {
    for _ in 0..ROUNDS {
        for innocent in &mut *innocents {
            let target = format!("/mine/{asked}");
            *asked += 1;
            let request =
                format!("GET {target} HTTP/1.1\r\nHost: t.test\r\nCookie: {}\r\n\r\n", holder.cookie());
            innocent.send(request.as_bytes()).await;
            let answer = innocent.answer().await;
            assert!(answer.text().contains(&format!("{target} ")), "not its own answer: {answer:?}");
        }
    }
}

/// A 400 that says what was wrong, then the end. hyper's own has no body.
async fn readable(id: &str, heard: &mut Heard) {
    assert!(heard.closes().await, "{id}: open after a framing error");
    let answer = &heard.answers[0];
    if !answer.body.is_empty() {
        assert_eq!(answer.problem(), "bad_request", "{id}");
    }
}
