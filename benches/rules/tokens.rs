//! What every request pays: tokens, the decision, and the waiting page.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use usher::gate::bench::Desk;
use usher::gate::page::{Language, Pages, Shown, View};

pub(crate) fn tokens(c: &mut Criterion) {
    let desk = Desk::new();
    let pass = desk.pass();
    assert!(desk.verifies(&pass));
    c.bench_function("token/sign a place", |b| b.iter(|| desk.place()));
    c.bench_function("token/verify a pass", |b| b.iter(|| desk.verifies(black_box(&pass))));
    c.bench_function("decide", |b| b.iter(|| desk.lets_in(black_box(true))));
}

pub(crate) fn page(c: &mut Criterion) {
    let pages = Pages::new();
    let shown = Shown {
        room: "main",
        view: View::Waiting,
        position: Some(1_203),
        waiting: Some(50_211),
        eta_seconds: Some((240, 320)),
        first_position: Some(48_000),
        poll_after: Duration::from_secs(5),
        kept_for: Duration::from_secs(180),
        claim_window: Duration::from_secs(120),
        paused: false,
        degraded: false,
        message: Some("Doors open at noon."),
        return_to: "/events/1/seats",
        can_move: true,
        stock: None,
        opens_in: None,
        draw_ahead: false,
    };
    c.bench_function("page/waiting", |b| b.iter(|| pages.waiting(black_box(Language::Ko), &shown)));
}
