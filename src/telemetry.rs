//! What operators can see: log lines and metric families, all of them here.
//!
//! Labels come from closed sets or configured rooms, never from a visitor.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};
use crate::queue::Room;

/// Lines that could not be written, counted from the start of logging.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

/// Standard error, or whatever it is in a test; never fails, so that a full disk
/// costs the line and not the request.
#[derive(Debug)]
struct Lines<W> {
    to: W,
    dropped: Dropped,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if self.to.write_all(line).is_err() {
            self.dropped.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Begins logging to standard error; a second call changes nothing.
pub fn start_logging(log: &Log) -> Dropped {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    // Pingora tells its own life story at info; warnings are what an operator needs.
    let filter = ["pingora_core=warn", "pingora_load_balancing=warn", "hyper=error"]
        .iter()
        .fold(filter, |filter, quiet| filter.add_directive(quiet.parse().expect("a fixed directive")));
    let dropped = Dropped::default();
    let counted = dropped.clone();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Lines { to: std::io::stderr(), dropped: counted.clone() });
    let _ = match log.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    dropped
}

/// What a gate counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests sent to the app.
    pub forwarded: IntCounter,
    /// Requests to the app that failed.
    pub upstream_failures: IntCounter,
    /// Visitors of a line that is only counted, by what would have become of them.
    pub shadows: IntCounterVec,
    rooms: IntGaugeVec,
    totals: IntGaugeVec,
    degraded: IntGaugeVec,
    over: IntGaugeVec,
    capacity: IntGaugeVec,
    losses: IntGaugeVec,
    view_bytes: IntGaugeVec,
    shared: IntGaugeVec,
    skew: IntGaugeVec,
    slow_calls: IntGauge,
    dropped: Dropped,
    dropped_lines: IntGauge,
}

impl Metrics {
    /// Families registered once; `dropped` is what logging counts.
    #[must_use]
    pub fn new(dropped: Dropped) -> Self {
        let registry = Registry::new();
        let forwarded = IntCounter::new("usher_gate_forwarded_total", "Requests sent to the app.");
        let failures =
            IntCounter::new("usher_gate_upstream_failures_total", "Requests the app did not answer.");
        let shadows = Opts::new(
            "usher_shadow_visitors_total",
            "Visitors of a room in shadow mode, by what the line would have made them do.",
        );
        let shadows = IntCounterVec::new(shadows, &["room", "would"]).expect("a fixed family");
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels).expect("a fixed family");
            add(&registry, gauge)
        };
        Self {
            rooms: gauge("usher_room_visitors", "Visitors of a room, by what they are.", &["room", "state"]),
            totals: gauge("usher_room_visitors_total", "Visitors since the line began.", &["room", "event"]),
            degraded: gauge("usher_room_degraded", "1 while the store cannot be reached.", &["room"]),
            over: gauge(
                "usher_room_over_capacity",
                "Visitors inside beyond the capacity: it was lowered, or a store lost the latest admissions.",
                &["room"],
            ),
            capacity: gauge(
                "usher_room_capacity",
                "Visitors inside at once: as set, and as in force where the app is unwell.",
                &["room", "which"],
            ),
            losses: gauge(
                "usher_room_losses_total",
                "How often the store had lost the line or its end.",
                &["room"],
            ),
            shared: gauge(
                "usher_room_shared_passes_total",
                "Passes that this gate ended because copies of them were used in turns.",
                &["room"],
            ),
            skew: gauge(
                "usher_room_clock_skew_seconds",
                "By how much the store's clock was set while the line stood; its time is behind by that.",
                &["room"],
            ),
            slow_calls: add(
                &registry,
                IntGauge::new("usher_store_slow_calls_total", "Calls to Redis that took longer than 50 ms.")
                    .expect("a fixed family"),
            ),
            dropped_lines: add(
                &registry,
                IntGauge::new("usher_log_lines_dropped_total", "Log lines that could not be written.")
                    .expect("a fixed family"),
            ),
            dropped,
            view_bytes: gauge("usher_room_view_bytes", "Memory of the line's bitmap.", &["room"]),
            forwarded: add(&registry, forwarded.expect("a fixed family")),
            upstream_failures: add(&registry, failures.expect("a fixed family")),
            shadows: add(&registry, shadows),
            registry,
        }
    }

    /// Prometheus text, with the rooms as they are now.
    #[must_use]
    pub fn render<'a>(&self, rooms: impl Iterator<Item = &'a Room>) -> String {
        for room in rooms {
            self.read(room);
        }
        let dropped = self.dropped.0.load(Ordering::Relaxed);
        self.dropped_lines.set(i64::try_from(dropped).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.ok().and_then(|()| String::from_utf8(text).ok()).unwrap_or_default()
    }

    fn read(&self, room: &Room) {
        let view = room.view();
        let config = room.config();
        let name = config.name.as_str();
        let as_i64 = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.degraded.with_label_values(&[name]).set(i64::from(view.degraded));
        self.view_bytes.with_label_values(&[name]).set(as_i64(view.rank.memory() as u64));
        self.shared.with_label_values(&[name]).set(as_i64(room.shared_passes()));
        self.slow_calls.set(as_i64(room.slow_calls()));
        let Some(standing) = &view.standing else { return };
        let inside = standing.called + standing.active;
        self.capacity.with_label_values(&[name, "set"]).set(as_i64(view.settings.capacity));
        self.capacity.with_label_values(&[name, "in_force"]).set(as_i64(view.capacity()));
        self.over.with_label_values(&[name]).set(as_i64(inside.saturating_sub(view.capacity())));
        self.losses.with_label_values(&[name]).set(as_i64(standing.recoveries));
        self.skew.with_label_values(&[name]).set(standing.skew_ms / 1_000);
        let states = [
            ("waiting", standing.waiting),
            ("returning", standing.returning),
            ("called", standing.called),
            ("active", standing.active),
        ];
        for (state, count) in states {
            self.rooms.with_label_values(&[name, state]).set(as_i64(count));
        }
        let totals = &standing.totals;
        let events = [
            ("joined", totals.joined),
            ("admitted", totals.admitted),
            ("claimed", totals.claimed),
            ("evicted", totals.evicted),
            ("expired", totals.expired),
            ("left", totals.left),
        ];
        for (event, count) in events {
            self.totals.with_label_values(&[name, event]).set(as_i64(count));
        }
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> C {
    registry.register(Box::new(family.clone())).expect("each family once");
    family
}
