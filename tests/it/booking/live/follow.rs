//! Whoever follows a map, through whatever happens and however often they come
//! back, at whichever office, ends with the list of seats.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use usher::booking::{Booking, SAMPLE_EVENT};

use super::{assert_same, assert_same_of, list_of, viewer, viewer_of};
use crate::support::booking::{Database, TestBooking, until};
use crate::support::http::{Answer, Client};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::viewer::Viewer;

const STEPS: usize = 60;
const LOOK_EVERY: usize = 12;

/// An event with rows and a section that grows.
async fn fair(office: &TestBooking) -> String {
    let (opens_at, starts_at) = (office.now_ms(), office.now_ms() + 9 * 86_400_000);
    let event = json!({"title": "Fair", "venue": "Green", "starts_at": starts_at, "sale_opens_at": opens_at,
    "currency": "KRW", "sections": [
        {"name": "Lawn", "kind": "expandable", "price": 5, "capacity": 3},
        {"name": "Seats", "kind": "seated", "price": 9, "rows": [{"row": 1, "seats": 11}, {"row": 2, "seats": 12}]},
    ]});
    office.admin().await.post("/api/events", event).await.expect(201).text("id")
}

/// What one fan does next with the event.
struct World<'a> {
    office: &'a TestBooking,
    event: &'a str,
    fans: Vec<Client>,
    holds: Vec<(usize, Answer)>,
    orders: Vec<(usize, String)>,
    random: StdRng,
}

impl World<'_> {
    async fn step(&mut self) {
        let who = self.random.random_range(0..self.fans.len());
        let fan = &self.fans[who];
        match self.random.random_range(0..10) {
            0..=4 => {
                let section = ["Lawn", "Seats"][self.random.random_range(0..2)];
                let count = self.random.random_range(1..4);
                let wish = json!({"best": {"count": count, "section": section}});
                let hold = fan.post(&format!("/api/events/{}/holds", self.event), wish).await;
                if hold.status == 201 {
                    self.holds.push((who, hold));
                }
            }
            5..=6 => {
                if let Some((who, hold)) = self.holds.pop() {
                    let path = format!("/api/holds/{}", hold.text("hold_id"));
                    // Over by now, perhaps.
                    self.fans[who].delete(&path).await;
                }
            }
            7..=8 => {
                if let Some((who, hold)) = self.holds.pop() {
                    let fan = &self.fans[who];
                    let order = fan.order(&hold).await;
                    if order.status == 201 {
                        let payment = fan.pay(&order).await.expect(202);
                        fan.paid(&payment).await;
                        self.orders.push((who, order.text("order_id")));
                    }
                }
            }
            _ if self.random.random() => self.office.advance(8 * 60),
            _ => {
                if let Some((who, order)) = self.orders.pop() {
                    self.fans[who].post(&format!("/api/orders/{order}/cancel"), json!({})).await;
                }
            }
        }
    }
}

/// A viewer, gone and back: from where they were, or as new.
async fn again(old: Viewer, list: &Value, client: &Client, event: &str, resumes: bool) -> Viewer {
    let version = old.version;
    drop(old);
    let Some(version) = version.filter(|_| resumes) else { return viewer_of(client, event).await };
    let mut viewer = Viewer::open(client.server(), event, &[]).await.expect("opens").knows(list);
    viewer.resume(version).await;
    viewer
}

async fn follows(office: &TestBooking, clients: &[Client], seed: u64) {
    eprintln!("seed {seed}");
    let event = fair(office).await;
    let mut fans = Vec::new();
    for i in 0..4 {
        fans.push(office.fan(1_000).await.patient().at(&clients[i % clients.len()]));
    }
    let random = StdRng::seed_from_u64(seed);
    let mut world = World { office, event: &event, fans, holds: Vec::new(), orders: Vec::new(), random };
    let mut viewers = Vec::new();
    for i in 0..4 {
        viewers.push(viewer_of(&clients[i % clients.len()], &event).await);
    }
    for step in 1..=STEPS {
        world.step().await;
        if step % LOOK_EVERY != 0 {
            continue;
        }
        for viewer in &mut viewers {
            assert_same_of(viewer, &clients[0], &event).await;
        }
        // Two leave, miss something, and come back at some office, resuming or not.
        let list = list_of(&clients[0], &event).await;
        let mut gone: Vec<_> = viewers.drain(..2).collect();
        for _ in 0..3 {
            world.step().await;
        }
        for resumes in [true, false] {
            let client = &clients[world.random.random_range(0..clients.len())];
            viewers.push(again(gone.remove(0), &list, client, &event, resumes).await);
        }
    }
    for viewer in &mut viewers {
        assert_same_of(viewer, &clients[0], &event).await;
    }
    office.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maps_end_with_the_list_of_seats_over_memory() {
    let office = TestBooking::open(Database::Memory).await.expect("in memory");
    follows(&office, std::slice::from_ref(&office.client), rand::random()).await;
}

/// Two offices over one database and one Redis.
struct Two {
    office: TestBooking,
    there: Client,
    redis: RedisServer,
    _twin: Arc<Booking>,
}

impl Two {
    /// `None` when Redis may be skipped.
    async fn open() -> Option<Self> {
        if skipped() {
            return None;
        }
        let redis = RedisServer::start();
        let (url, again) = (redis.url(), redis.url());
        let office =
            TestBooking::with(Database::File, move |settings| settings.redis_url = Some(url)).await?;
        let (twin, there) = office.twin_with(move |settings| settings.redis_url = Some(again)).await;
        Some(Self { office, there, redis, _twin: twin })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maps_end_with_the_list_of_seats_at_two_offices_over_redis() {
    let Some(two) = Two::open().await else { return };
    let Two { office, there, .. } = &two;
    follows(office, &[office.client.clone(), there.clone()], rand::random()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_held_at_one_office_shows_at_the_other_and_people_are_counted_at_both() {
    let Some(two) = Two::open().await else { return };
    let Two { office, there, redis, .. } = &two;
    let (mut here, mut far) = (viewer(&office.client).await, viewer(there).await);
    for viewer in [&mut here, &mut far] {
        viewer.until(|viewer| viewer.active == Some(2)).await;
    }
    let fan = office.fan(1_000_000).await;
    fan.hold(&["A-1-1"]).await.expect(201);
    fan.at(there).buy(&["A-1-2"]).await;
    for viewer in [&mut here, &mut far] {
        viewer.until_seat("A-1-1", "HELD").await;
        viewer.until_seat("A-1-2", "SOLD").await;
        assert_same(viewer, there).await;
    }
    // What a store without memory of the event tells is all seats, of a later life.
    redis.command(&["FLUSHALL"]);
    fan.hold(&["A-1-3"]).await.expect(201);
    for viewer in [&mut here, &mut far] {
        viewer.until_seat("A-1-3", "HELD").await;
        viewer.until_seat("A-1-2", "SOLD").await;
        assert_same(viewer, &office.client).await;
    }
    drop(far);
    let path = format!("/api/events/{SAMPLE_EVENT}/presence");
    until(async || (there.get(&path).await.expect(200).json["active"] == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_of_an_event_that_is_removed_is_closed_at_both_offices() {
    let Some(two) = Two::open().await else { return };
    let Two { office, there, .. } = &two;
    let event = fair(office).await;
    let (mut here, mut far) = (viewer_of(&office.client, &event).await, viewer_of(there, &event).await);
    for viewer in [&mut here, &mut far] {
        viewer.until(|viewer| viewer.version.is_some()).await;
    }
    let mut other = viewer(there).await;
    office.admin().await.delete(&format!("/api/events/{event}")).await.expect(204);
    for viewer in [&mut here, &mut far] {
        assert_eq!(viewer.closed().await, (4404, "the event is gone".to_owned()));
    }
    there.get(&format!("/api/events/{event}/presence")).await.refused(404, "not_found");
    office.fan(0).await.hold(&["A-1-1"]).await.expect(201);
    other.until_seat("A-1-1", "HELD").await;
}
