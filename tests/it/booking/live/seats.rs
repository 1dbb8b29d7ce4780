//! What happens to seats shows on every open map.

use serde_json::json;
use usher::booking::SAMPLE_EVENT;

use super::slow::wide;
use super::{assert_same, list, presence, viewer, viewer_of};
use crate::booking::on_each_database;
use crate::support::booking::{TestBooking, until};
use crate::support::viewer::{Heard, Viewer};

on_each_database! {
    async fn held_released_expired_sold_and_refunded_seats_show(office) {
        let fan = office.fan(1_000_000).await;
        let mut first = viewer(&office.client).await;
        assert!(matches!(first.next().await, Heard::Snapshot { .. }));
        let hold = fan.hold(&["A-1-1", "A-1-2"]).await.expect(201);
        first.until_seat("A-1-1", "HELD").await;
        let mut second = viewer(&office.client).await;
        second.until_seat("A-1-2", "HELD").await;
        fan.delete(&format!("/api/holds/{}", hold.text("hold_id"))).await.expect(204);
        for viewer in [&mut first, &mut second] {
            viewer.until_seat("A-1-1", "AVAILABLE").await;
        }
        fan.hold(&["A-1-3"]).await.expect(201);
        first.until_seat("A-1-3", "HELD").await;
        office.advance(8 * 60);
        first.until_seat("A-1-3", "AVAILABLE").await;
        let paid = fan.buy(&["A-1-4"]).await;
        first.until_seat("A-1-4", "SOLD").await;
        fan.post(&format!("/api/orders/{}/cancel", paid.text("order_id")), json!({})).await.expect(200);
        first.until_seat("A-1-4", "AVAILABLE").await;
        fan.buy(&["A-1-5"]).await;
        for viewer in [&mut first, &mut second] {
            assert_same(viewer, &office.client).await;
        }
    }

    async fn the_map_of_an_event_that_is_removed_is_closed(office) {
        let event = office.admin().await.post("/api/events", wide(office.now_ms())).await.expect(201).text("id");
        let mut looks = viewer_of(&office.client, &event).await;
        let mut elsewhere = viewer(&office.client).await;
        looks.until(|looks| looks.version.is_some() && looks.active == Some(1)).await;
        office.admin().await.delete(&format!("/api/events/{event}")).await.expect(204);
        assert_eq!(looks.closed().await, (4404, "the event is gone".to_owned()));
        office.fan(0).await.hold(&["A-1-1"]).await.expect(201);
        elsewhere.until_seat("A-1-1", "HELD").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_is_told_only_what_was_missed() {
    let office = TestBooking::open(crate::support::booking::Database::Memory).await.expect("in memory");
    let fan = office.fan(0).await;
    let mut first = viewer(&office.client).await;
    let Heard::Snapshot { version } = first.next().await else { panic!("no snapshot first") };
    let known = list(&office.client).await;
    first.leave().await;
    let hold = fan.hold(&["A-1-1", "A-1-2"]).await.expect(201);
    fan.delete(&format!("/api/holds/{}", hold.text("hold_id"))).await.expect(204);
    fan.hold(&["A-1-2"]).await.expect(201);
    // With a map that went on, from every version in between.
    for seen in [version, version + 1, version + 4] {
        let mut again =
            Viewer::open(office.client.server(), SAMPLE_EVENT, &[]).await.expect("opens").knows(&known);
        again.resume(seen).await;
        let told = loop {
            match again.next().await {
                Heard::Presence(_) => {}
                other => break other,
            }
        };
        let Heard::Delta { from, to, seats } = told else { panic!("{told:?}") };
        assert_eq!((from, to), (seen, version + 5));
        assert!(seats.contains(&("A-1-2".to_owned(), "HELD".to_owned())), "{seats:?}");
        again.leave().await;
    }
    // What never was is answered with all seats.
    for unknown in [0, version - 1, version + 99, u64::MAX] {
        let mut again = viewer(&office.client).await;
        again.resume(unknown).await;
        let told = loop {
            match again.next().await {
                Heard::Presence(_) => {}
                other => break other,
            }
        };
        assert_eq!(told, Heard::Snapshot { version: version + 5 }, "{unknown}");
        again.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_is_counted_until_they_leave() {
    let office = TestBooking::open(crate::support::booking::Database::Memory).await.expect("in memory");
    assert_eq!(presence(&office).await, 0);
    let mut first = viewer(&office.client).await;
    first.until(|viewer| viewer.active == Some(1)).await;
    let mut second = viewer(&office.client).await;
    first.until(|viewer| viewer.active == Some(2)).await;
    second.until(|viewer| viewer.active == Some(2)).await;
    assert_eq!(presence(&office).await, 2);
    second.leave().await;
    first.until(|viewer| viewer.active == Some(1)).await;
    // One whose connection breaks.
    drop(first);
    until(async || (presence(&office).await == 0).then_some(())).await;
    office.client.get("/api/events/nothing/presence").await.refused(404, "not_found");
}
