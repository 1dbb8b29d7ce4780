use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use usher::booking::events::import::{ImportError, Imported};
use usher::booking::{Booking, SAMPLE_EVENT};

use super::on_each_database;
use crate::support::booking::TestBooking;
use crate::support::http::Client;

const DAY_MS: u64 = 86_400_000;

async fn add(office: &TestBooking, starts_in_days: u64, series: &str, sections: Value) -> String {
    let new = json!({"title": "Show", "venue": "Hall", "starts_at": office.now_ms() + starts_in_days * DAY_MS,
        "sale_opens_at": 0, "currency": "KRW", "series_id": series, "sections": sections});
    office.admin().await.post("/api/events", new).await.expect(201).text("id")
}

fn seated(rows: Value) -> Value {
    json!([{"name": "S", "kind": "seated", "price": 1_000, "rows": rows}])
}

async fn best(fan: &Client, event: &str, wish: Value) -> crate::support::http::Answer {
    fan.post(&format!("/api/events/{event}/holds"), wish).await
}

async fn import(booking: &Booking, text: &str) -> Result<Imported, ImportError> {
    booking.import(text).await
}

on_each_database! {
    async fn a_series_is_listed_by_date_and_page(office) {
        let mut dates = Vec::new();
        for day in [3, 1, 2] {
            dates.push(add(&office, day, "winter", seated(json!([{"row": 1, "seats": 2}]))).await);
        }
        add(&office, 1, "summer", seated(json!([{"row": 1, "seats": 2}]))).await;
        let ids = async |path: &str| -> Vec<String> {
            let list = office.client.get(path).await.expect(200);
            list.json["items"].as_array().expect("a list").iter().map(|e| e["id"].as_str().expect("an id").to_owned()).collect()
        };
        assert_eq!(ids("/api/events?series=winter").await, [dates[1].as_str(), &dates[2], &dates[0]]);
        let (from, to) = (office.now_ms() + 2 * DAY_MS, office.now_ms() + 3 * DAY_MS);
        assert_eq!(ids(&format!("/api/events?series=winter&from={from}&to={to}")).await, [dates[2].as_str()]);
        let first = office.client.get("/api/events?series=winter&limit=2").await.expect(200);
        let rest = format!("/api/events?series=winter&limit=2&cursor={}", first.text("next"));
        assert_eq!(ids(&rest).await, [dates[0].as_str()]);
        assert_eq!(ids("/api/events?series=nothing").await, Vec::<String>::new());
    }

    async fn an_expandable_section_makes_room_and_the_others_do_not(office) {
        let sections = json!([{"name": "Lawn", "kind": "expandable", "price": 500, "capacity": 3},
                              {"name": "Pit", "kind": "standing", "price": 900, "capacity": 2}]);
        let event = add(&office, 9, "fair", sections).await;
        let fan = office.fan(100_000).await;
        best(&fan, &event, json!({"best": {"count": 2, "section": "Pit"}})).await.expect(201);
        best(&fan, &event, json!({"best": {"count": 2, "section": "Pit"}})).await.refused(409, "none_left");
        let fans = join_all((0..12).map(async |_| office.fan(100_000).await.patient())).await;
        let asked = fans.iter().flat_map(|fan| {
            (0..4).map(|_| best(fan, &event, json!({"best": {"count": 2, "section": "Lawn"}})))
        });
        let mut seats = HashSet::new();
        for hold in join_all(asked).await {
            for seat in hold.expect(201).json["seats"].as_array().expect("a list") {
                assert!(seats.insert(seat.to_string()), "{seat} twice");
            }
        }
        assert_eq!(seats.len(), 96);
        let view = office.client.get(&format!("/api/events/{event}")).await.expect(200);
        let lawn = &view.json["sections"][0];
        let (capacity, available) = (lawn["capacity"].as_u64().expect("n"), lawn["available"].as_u64().expect("n"));
        assert_eq!(capacity - available, 96);
        assert!(available <= 10, "a tenth at a time, {available} free");
        assert_eq!(view.json["sections"][1]["capacity"], 2);
        let list = office.client.get(&format!("/api/events/{event}/seats")).await.expect(200);
        let shown: Vec<_> = list.json["seats"].as_array().expect("a list").iter()
            .filter(|seat| seat["section"] == "Lawn").map(|seat| seat["number"].as_u64().expect("n")).collect();
        assert_eq!(shown, (1..=capacity).collect::<Vec<_>>());

        let hold = best(&fan, &event, json!({"best": {"count": 1, "max_price": 500}})).await.expect(201);
        let order = fan.order(&hold).await.expect(201);
        let payment = fan.pay(&order).await.expect(202);
        assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
    }

    async fn accessible_places_go_to_those_who_ask(office) {
        let event = add(&office, 9, "care", seated(json!([{"row": 1, "seats": 4, "accessible": [2, 3]},
                                                          {"row": 2, "seats": 2}]))).await;
        let fan = office.fan(0).await;
        let refused = best(&fan, &event, json!({"seats": ["S-1-1", "S-1-2"]})).await.refused(409, "accessible_only");
        assert_eq!(refused.json["seats"], json!(["S-1-2"]));
        let hold = best(&fan, &event, json!({"best": {"count": 2}})).await.expect(201);
        assert_eq!(hold.json["seats"], json!(["S-2-1", "S-2-2"]));
        best(&fan, &event, json!({"best": {"count": 3}})).await.refused(409, "none_left");
        let asked = best(&fan, &event, json!({"best": {"count": 2}, "accessible": true})).await.expect(201);
        assert_eq!(asked.json["seats"], json!(["S-1-2", "S-1-3"]));
        best(&fan, &event, json!({"best": {"count": 1}, "accessible": true})).await.refused(409, "none_left");
        let path = format!("/api/holds/{}", asked.text("hold_id"));
        fan.delete(&path).await.expect(204);
        best(&fan, &event, json!({"seats": ["S-1-1", "S-1-2"], "accessible": true})).await.expect(201);
        let list = fan.get(&format!("/api/events/{event}/seats")).await.expect(200);
        assert_eq!((&list.json["seats"][1]["accessible"], &list.json["seats"][0]["accessible"]),
                   (&json!(true), &Value::Null));
        let bad = json!({"title": "T", "venue": "V", "starts_at": 1, "sale_opens_at": 1, "currency": "KRW",
                         "sections": seated(json!([{"row": 1, "seats": 2, "accessible": [3]}]))});
        office.admin().await.post("/api/events", bad).await.refused(422, "invalid");
    }

    async fn a_hall_from_a_file_is_there_once_however_often_it_is_imported(office) {
        let file = include_str!("../../../config/hall.toml");
        let done = import(&office.booking, file).await.expect("as documented");
        assert_eq!((done.added, done.known), (2, 0));
        let again = import(&office.booking, file).await.expect("as documented");
        assert_eq!((again.added, again.known), (0, 2));
        let list = office.client.get("/api/events?series=winter-night-live").await.expect(200);
        let events = list.json["items"].as_array().expect("a list");
        assert_eq!(events.len(), 2);
        assert_eq!(events[0]["starts_at"], 1_798_108_200_000_u64);
        let capacities: Vec<_> = events[0]["sections"].as_array().expect("a list").iter().map(|s| &s["capacity"]).collect();
        assert_eq!(capacities, [200, 50, 300, 100]);
        let bad = import(&office.booking, &file.replace("Winter", "Winters").replace("\"KRW\"", "\"won\"")).await;
        assert!(matches!(bad, Err(ImportError::File(why)) if why.contains("currency")));
    }

    async fn a_price_changes_for_orders_to_come_and_the_hall_does_not(office) {
        let event = add(&office, 9, "priced", seated(json!([{"row": 1, "seats": 4}]))).await;
        let (fan, admin) = (office.fan(10_000).await, office.admin().await);
        let path = format!("/api/events/{event}");
        let before = fan.order(&best(&fan, &event, json!({"seats": ["S-1-1"]})).await.expect(201)).await.expect(201);
        let change = json!({"series_id": "renamed", "title": " New ", "currency": "KRW",
                            "sections": [{"name": "S", "price": 2_000, "kind": "seated", "rows": [{"row": 1, "seats": 4}]}]});
        let changed = admin.patch(&path, change).await.expect(200);
        assert_eq!((&changed.json["series_id"], &changed.json["title"], &changed.json["sections"][0]["price"]),
                   (&json!("renamed"), &json!("New"), &json!(2_000)));
        let after = fan.order(&best(&fan, &event, json!({"seats": ["S-1-2"]})).await.expect(201)).await.expect(201);
        assert_eq!((&before.json["amount"], &after.json["amount"]), (&json!(1_000), &json!(2_000)));
        for refused in [json!({"currency": "USD"}), json!({"sections": [{"name": "T", "price": 1}]}),
                        json!({"sections": [{"id": "S", "price": -1}]}), json!({"sections": [{"id": "S", "capacity": 5}]}),
                        json!({"sections": [{"id": "S", "kind": "standing"}]}), json!({"title": ""})] {
            admin.patch(&path, refused).await.refused(422, "invalid");
        }
        let same = fan.get(&path).await.expect(200);
        assert_eq!((&same.json["title"], &same.json["sections"][0]["price"]), (&json!("New"), &json!(2_000)));
        fan.paid(&fan.pay(&before).await.expect(202)).await;
    }

    async fn who_orders_while_the_event_is_removed_is_told_so(office) {
        let event = add(&office, 9, "gone", seated(json!([{"row": 1, "seats": 8}]))).await;
        let (fan, admin) = (office.fan(0).await.patient(), office.admin().await.patient());
        let holds = join_all((1..=8).map(|n| best(&fan, &event, json!({"seats": [format!("S-1-{n}")]})))).await;
        let path = format!("/api/events/{event}");
        let orders = join_all(holds.iter().map(|hold| fan.order(hold)));
        let (orders, removed) = tokio::join!(orders, admin.delete(&path));
        let made = orders.iter().filter(|order| order.status == 201).count();
        assert!(orders.iter().all(|order| order.status == 201 || order.code() == "hold_expired"), "{orders:?}");
        match removed.status.as_u16() {
            204 => {
                assert_eq!(made, 0, "an order that was confirmed is not taken back");
                assert_eq!(fan.get("/api/orders").await.json["items"], json!([]));
            }
            _ => assert!(removed.code() == "has_sales" && made > 0, "{removed:?}"),
        }
    }

    async fn a_hundred_reservations_under_one_key_are_one(office) {
        let (fan, admin) = (office.fan(0).await, office.admin().await);
        let new = json!({"title": "Picnic", "quantity": 50, "event_time": 1_900_000_000_000_u64, "price": 1_000});
        let offer = admin.post("/api/tickets", new).await.expect(201);
        let path = format!("/api/tickets/{}/reservations", offer.text("id"));
        let keyed = fan.with("idempotency-key", "once").patient();
        let answers = join_all((0..100).map(|_| keyed.post(&path, json!({"quantity": 2})))).await;
        let bodies: HashSet<_> = answers.into_iter().map(|answer| answer.expect(201).bytes).collect();
        assert_eq!(bodies.len(), 1);
        let offer = fan.get(&format!("/api/tickets/{}", offer.text("id"))).await.expect(200);
        assert_eq!((&offer.json["issued"], &offer.json["reserved"]), (&json!(0), &json!(2)));
    }
}

on_each_database! {
    on shared

    async fn seats_added_by_one_office_are_sold_by_the_other(office) {
        let sections = json!([{"name": "Lawn", "kind": "expandable", "price": 500, "capacity": 1}]);
        let event = add(&office, 9, "fair", sections).await;
        let (_twin, client) = office.twin().await;
        let (here, there) = (office.fan(1_000).await, office.fan(1_000).await.at(&client));
        best(&there, &event, json!({"seats": ["Lawn-0-1"]})).await.expect(201);
        best(&here, &event, json!({"best": {"count": 1}})).await.expect(201);
        let grown = best(&here, &event, json!({"best": {"count": 1}})).await.expect(201);
        let order = here.order(&grown).await.expect(201);
        here.paid(&here.pay(&order).await.expect(202)).await;
        let taken = there.post(&format!("/api/events/{event}/holds"), json!({"seats": grown.json["seats"]})).await;
        taken.refused(409, "seats_taken");
        let more = best(&there, &event, json!({"best": {"count": 2}})).await.expect(201);
        assert!(!more.json["seats"].as_array().expect("a list").contains(&grown.json["seats"][0]));
        let named = best(&here, &event, json!({"seats": [more.json["seats"][1]]})).await;
        // Each office has holds of its own: the seat is known here, and free here.
        named.expect(201);
        office.client.get(&format!("/api/events/{SAMPLE_EVENT}")).await.expect(200);
    }
}
