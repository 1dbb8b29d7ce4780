//! What a run comes to, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::check::{Fates, Rule, Verdict};
use super::history::{Asked, Credentials, Exchange, History, Record, State, Told, Track, kept_polling};
use super::tally::{Latency, Tally};
use crate::domain::time::{Timestamp, millis};

/// The outcome of a run.
///
/// Times are in milliseconds; `null` where nothing was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing is broken, and somebody got a place.
    pub ok: bool,
    /// Why the run ended.
    pub ended: Ended,
    /// Replays the same crowd.
    pub seed: u64,
    /// The gates.
    pub targets: Vec<String>,
    /// How many were to come.
    pub visitors: u32,
    /// From the first arrival to the end.
    pub duration_ms: u64,
    /// What became of the places.
    pub places: Fates,
    /// Of those, places whose holders surely kept polling until they came in or
    /// the end: only of them can rules 5, 6 and 8 speak throughout.
    pub steady: u64,
    /// From the first answer with a number to `admitted`, of those who kept polling.
    pub wait_ms: Quantiles,
    /// Answers to `POST /queue/join`.
    pub join_ms: Quantiles,
    /// Answers to `GET /queue/status`.
    pub status_ms: Quantiles,
    /// Between the first and the last admission.
    pub admitted_per_second: Option<f64>,
    /// Visitors surely inside at one instant, at most.
    pub most_active: u64,
    /// What it was checked against.
    pub capacity: Option<u64>,
    /// Requests that the app answered.
    pub forwarded: u64,
    /// Requests of admitted visitors that the gate held back.
    pub refused: u64,
    /// Requests sent again because the gate closed an idle connection meanwhile.
    pub resent: u64,
    /// Polls answered `too_early`.
    pub too_early: u64,
    /// Places that were overtaken.
    pub overtakings: u64,
    /// Places admitted more than once.
    pub double_admissions: u64,
    /// Places that were gone, or had another number.
    pub lost_places: u64,
    /// Places whose position grew.
    pub growing_positions: u64,
    /// Places evicted though their holders kept polling.
    pub wrong_evictions: u64,
    /// Requests that reached the app without a right to.
    pub unadmitted: u64,
    /// Answers that were somebody else's.
    pub wrong_answers: u64,
    /// Failed requests: `connect`, `broken`, `timeout`, or status and code.
    pub errors: BTreeMap<String, u64>,
    /// The broken rules.
    pub broken: Vec<Broken>,
    /// Only of a simulated run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsed: Option<Rehearsed>,
}

/// What a simulated run took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rehearsed {
    /// Of this machine's time, the check included.
    pub took_ms: u64,
    /// Simulated time by that.
    pub times_real: f64,
    /// Claimed and called passes at once, at most, by the store's own count.
    pub most_out: u64,
}

impl Rehearsed {
    pub(crate) fn new(took: Duration, simulated_ms: u64, most_out: u64) -> Self {
        let took_ms = millis(took).max(1);
        Self { took_ms, times_real: simulated_ms as f64 / took_ms as f64, most_out }
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Every visitor went its way.
    Finished,
    /// By the keyboard.
    Interrupted,
    /// `--max-time` was up.
    OutOfTime,
}

/// Shares of a measured time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half took no longer.
    pub p50: Option<f64>,
    /// 95 of 100 took no longer.
    pub p95: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99: Option<f64>,
}

/// A broken rule.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    /// Its name.
    pub rule: Rule,
    /// Its number in `DESIGN.md` 7.
    pub number: u8,
    /// How often.
    pub count: u64,
    /// The first few.
    pub examples: Vec<String>,
}

/// What was asked for, as far as the report repeats it.
pub(crate) struct Setting {
    pub seed: u64,
    pub targets: Vec<String>,
    pub visitors: u32,
    pub capacity: Option<u64>,
}

impl Report {
    pub(crate) fn new<T: Record>(
        setting: Setting,
        ended: Ended,
        history: &History<T>,
        verdict: &Verdict,
        tally: &Tally,
    ) -> Self {
        let Verdict { findings, fates, most_active } = verdict;
        let counts = Counts::of(history);
        Self {
            ok: findings.is_empty() && fates.joined > 0,
            ended,
            seed: setting.seed,
            targets: setting.targets,
            visitors: setting.visitors,
            duration_ms: millis(history.ended_at.since(history.started_at)),
            places: *fates,
            steady: counts.steady,
            wait_ms: (&counts.waits).into(),
            join_ms: (&*tally.join.lock()).into(),
            status_ms: (&*tally.status.lock()).into(),
            admitted_per_second: counts.admitted_per_second(),
            most_active: *most_active,
            capacity: setting.capacity,
            forwarded: counts.forwarded,
            refused: counts.refused,
            resent: tally.resent.load(Ordering::Relaxed),
            too_early: counts.too_early,
            overtakings: findings.count(Rule::InOrder),
            double_admissions: findings.count(Rule::AdmittedOnce),
            lost_places: findings.count(Rule::PlacesKept),
            growing_positions: findings.count(Rule::PositionsFall),
            wrong_evictions: findings.count(Rule::NoWrongEviction),
            unadmitted: findings.count(Rule::AdmittedFirst),
            wrong_answers: findings.count(Rule::OwnAnswers),
            errors: tally.errors(),
            broken: findings
                .iter()
                .map(|(rule, count, examples)| Broken {
                    rule,
                    number: rule.number(),
                    count,
                    examples: examples.to_vec(),
                })
                .collect(),
            rehearsed: None,
        }
    }
}

/// What the report counts of all tracks.
struct Counts {
    steady: u64,
    forwarded: u64,
    refused: u64,
    too_early: u64,
    waits: Latency,
    came_in: Vec<Timestamp>,
}

impl Counts {
    fn of<T: Record>(history: &History<T>) -> Self {
        let (waits, came_in) = (Latency::new(), Vec::new());
        let mut counts = Self { steady: 0, forwarded: 0, refused: 0, too_early: 0, waits, came_in };
        history.each(|_, track| counts.note(track));
        counts.came_in.sort_unstable();
        counts
    }

    fn note(&mut self, track: &Track) {
        let told =
            |told: Told| track.exchanges.iter().filter(|exchange| exchange.told == told).count() as u64;
        self.forwarded += told(Told::App);
        self.too_early += told(Told::TooEarly);
        self.refused += refused(track);
        for stay in track.stays() {
            let kept = &stay[..kept_polling(stay)];
            self.steady += u64::from(kept.len() == stay.len() && has_number(stay));
            note_wait(kept, &mut self.waits);
            let mut shown = stay.iter().filter_map(Exchange::shown);
            let first = shown.find(|shown| shown.status.state == State::Admitted);
            self.came_in.extend(first.map(|shown| shown.answered_at));
        }
    }

    fn admitted_per_second(&self) -> Option<f64> {
        let span = self.came_in.last()?.since(*self.came_in.first()?);
        (span >= Duration::from_secs(1)).then(|| (self.came_in.len() - 1) as f64 / span.as_secs_f64())
    }
}

fn has_number(stay: &[Exchange]) -> bool {
    stay.iter().filter_map(Exchange::shown).any(|shown| shown.status.number.is_some())
}

/// Page requests held back though the last status answer was `admitted`.
fn refused(track: &Track) -> u64 {
    let mut is_admitted = false;
    let mut refused = 0;
    for exchange in &track.exchanges {
        match (exchange.asked, exchange.told) {
            (_, Told::Status(status)) => is_admitted = status.state == State::Admitted,
            (Asked::Page(Credentials::Own), Told::Held) if is_admitted => refused += 1,
            _ => {}
        }
    }
    refused
}

fn note_wait(kept: &[Exchange], waits: &mut Latency) {
    let shown = kept.iter().filter_map(Exchange::shown);
    let mut numbered = shown.filter(|shown| shown.status.number.is_some()).peekable();
    let Some(joined_at) = numbered.peek().map(|shown| shown.answered_at) else { return };
    if let Some(admitted) = numbered.find(|shown| shown.status.state == State::Admitted) {
        waits.note(admitted.answered_at.since(joined_at));
    }
}

impl From<&Latency> for Quantiles {
    fn from(latency: &Latency) -> Self {
        Self { p50: latency.quantile_ms(0.5), p95: latency.quantile_ms(0.95), p99: latency.quantile_ms(0.99) }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(p50), Some(p95), Some(p99)) = (self.p50, self.p95, self.p99) else {
            return f.write_str("–");
        };
        let unit =
            |ms: f64| if ms >= 1_000.0 { format!("{:.1} s", ms / 1_000.0) } else { format!("{ms:.1} ms") };
        write!(f, "p50 {}, p95 {}, p99 {}", unit(p50), unit(p95), unit(p99))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = match self.ended {
            Ended::Finished => "finished",
            Ended::Interrupted => "interrupted",
            Ended::OutOfTime => "out of time",
        };
        let seconds = self.duration_ms as f64 / 1_000.0;
        writeln!(f, "{} visitors to {}, seed {}", self.visitors, self.targets.join(", "), self.seed)?;
        writeln!(f, "  ended        {ended} after {seconds:.1} s")?;
        if let Some(Rehearsed { took_ms, times_real, most_out }) = self.rehearsed {
            let took = took_ms as f64 / 1_000.0;
            writeln!(
                f,
                "  simulated    in {took:.1} s, {times_real:.1} times as fast; {most_out} passes out at once, at most"
            )?;
        }
        let Fates { joined, admitted, evicted, left, waiting, lost } = self.places;
        writeln!(
            f,
            "  places       {joined} joined: {admitted} admitted, {evicted} evicted, {left} left, \
             {waiting} waiting, {lost} lost"
        )?;
        writeln!(f, "  steady       {} places whose holders surely kept polling", self.steady)?;
        writeln!(f, "  wait         {}", self.wait_ms)?;
        writeln!(f, "  join         {}", self.join_ms)?;
        writeln!(f, "  status       {}", self.status_ms)?;
        let rate = self.admitted_per_second.map_or_else(|| "–".into(), |rate| format!("{rate:.1}"));
        let capacity = self.capacity.map_or_else(|| "unknown".into(), |capacity| capacity.to_string());
        writeln!(f, "  admitted/s   {rate}")?;
        writeln!(f, "  most active  {} at once, capacity {capacity}", self.most_active)?;
        writeln!(
            f,
            "  requests     {} forwarded, {} refused, {} too early, {} resent",
            self.forwarded, self.refused, self.too_early, self.resent
        )?;
        writeln!(
            f,
            "  fairness     {} overtakings, {} double admissions, {} lost places, {} growing positions, \
             {} wrong evictions",
            self.overtakings,
            self.double_admissions,
            self.lost_places,
            self.growing_positions,
            self.wrong_evictions
        )?;
        let errors: Vec<_> = self.errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        writeln!(f, "  errors       {}", if errors.is_empty() { "none".into() } else { errors.join(", ") })?;
        self.broken.iter().try_for_each(|broken| write!(f, "{broken}"))?;
        writeln!(f, "{}", self.sentence())
    }
}

impl Report {
    fn sentence(&self) -> &'static str {
        match (self.ok, self.broken.is_empty()) {
            (true, _) => "nothing is broken",
            (false, true) => "nobody got a place",
            (false, false) => "BROKEN",
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  broken       rule {} ({:?}), {} times", self.number, self.rule, self.count)?;
        self.examples.iter().try_for_each(|example| writeln!(f, "               - {example}"))
    }
}
