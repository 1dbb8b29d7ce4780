use futures_util::future::join_all;
use serde_json::json;
use usher::booking::SAMPLE_EVENT;
use usher::booking::accounts::{Attempts, Refused};
use usher::booking::db::Db;
use usher::domain::time::Timestamp;

use super::on_each_database;
use crate::support::booking::{Database, PASSWORD, TestBooking, sign_in};

on_each_database! {
    async fn an_email_has_one_account_whatever_its_case(office) {
        let new = |email: &str| json!({"email": email, "password": "long enough", "name": "Kim"});
        office.client.post("/api/accounts", new("Kim@Example.org")).await.expect(201);
        office.client.post("/api/accounts", new("kim@example.ORG")).await.refused(409, "email_taken");
        sign_in(&office.client, " KIM@example.org ", "long enough").await;
        let wrong = json!({"email": "kim@example.org", "password": "wrong enough"});
        office.client.post("/api/sessions", wrong).await.refused(401, "bad_credentials");
        for bad in ["kim", "@example.org", "kim@", "k im@example.org", "a@b@c"] {
            office.client.post("/api/accounts", new(bad)).await.refused(422, "invalid");
        }
    }

    async fn ten_wrong_passwords_close_the_door_for_a_while(office) {
        let fan = json!({"email": "fan0@example.org", "password": "a fan's pass phrase"});
        office.fan(0).await;
        for _ in 0..10 {
            let wrong = json!({"email": "fan0@example.org", "password": "guess"});
            office.client.post("/api/sessions", wrong).await.refused(401, "bad_credentials");
        }
        let closed = office.client.post("/api/sessions", fan.clone()).await.refused(429, "too_many_attempts");
        assert_eq!(closed.header("retry-after"), Some("300"));
        office.advance(300);
        office.client.post("/api/sessions", fan).await.expect(201);
    }

    async fn guesses_sent_at_once_count_each(office) {
        office.fan(0).await;
        let wrong = json!({"email": "fan0@example.org", "password": "guess"});
        let client = office.client.clone().patient();
        let answers = join_all((0..40).map(|_| client.post("/api/sessions", wrong.clone()))).await;
        assert_eq!(answers.iter().filter(|answer| answer.code() == "bad_credentials").count(), 10);
        assert_eq!(answers.iter().filter(|answer| answer.code() == "too_many_attempts").count(), 30);
    }

    async fn only_an_admin_changes_the_catalogue_and_roles(office) {
        let (fan, admin) = (office.fan(1_000_000).await, office.admin().await);
        let new = json!({"title": "Matinee", "venue": "Small Hall", "starts_at": 1_900_000_000_000_u64,
            "sale_opens_at": 0, "currency": "KRW", "series_id": "matinees",
            "sections": [{"name": "M", "kind": "seated", "price": 50_000,
                          "rows": [{"row": "AA", "seats": 3}, {"row": 2, "seats": 4}]},
                         {"name": "Pit", "kind": "standing", "price": 30_000, "capacity": 5}]});
        fan.post("/api/events", new.clone()).await.refused(403, "forbidden");
        let event = admin.post("/api/events", new).await.expect(201);
        let id = event.text("id");
        assert_eq!(event.json["sections"][0]["available"], 7);
        let seats = fan.get(&format!("/api/events/{id}/seats")).await.expect(200);
        let ids: Vec<_> = seats.json["seats"].as_array().expect("a list").iter().map(|s| &s["id"]).collect();
        assert_eq!(ids[..4], ["M-AA-1", "M-AA-2", "M-AA-3", "M-2-1"]);
        assert_eq!(ids.len(), 12);

        let series = fan.get("/api/events?series=matinees").await.expect(200);
        assert_eq!(series.json["items"].as_array().map(Vec::len), Some(1));
        let first = fan.get("/api/events?limit=1").await.expect(200);
        assert_eq!(first.json["items"][0]["id"], SAMPLE_EVENT);
        let next = format!("/api/events?limit=1&cursor={}", first.text("next"));
        assert_eq!(fan.get(&next).await.expect(200).json["items"][0]["id"], id);
        fan.get("/api/events?cursor=x").await.refused(400, "malformed");

        let change = json!({"title": "Late matinee"});
        fan.patch(&format!("/api/events/{id}"), change.clone()).await.refused(403, "forbidden");
        let changed = admin.patch(&format!("/api/events/{id}"), change).await.expect(200);
        assert_eq!(changed.json["title"], "Late matinee");
        fan.buy(&["A-1-1"]).await;
        admin.delete(&format!("/api/events/{SAMPLE_EVENT}")).await.refused(409, "has_sales");
        admin.delete(&format!("/api/events/{id}")).await.expect(204);
        fan.get(&format!("/api/events/{id}")).await.refused(404, "not_found");

        let me = fan.get("/api/me").await.text("account_id");
        fan.patch(&format!("/api/accounts/{me}"), json!({"role": "admin"})).await.refused(403, "forbidden");
        admin.patch(&format!("/api/accounts/{me}"), json!({"role": "counsellor"})).await.expect(200);
        assert_eq!(fan.get("/api/me").await.json["role"], "counsellor");
    }

    async fn an_event_that_cannot_be_is_refused(office) {
        let admin = office.admin().await;
        let event = |sections| json!({"title": "T", "venue": "V", "starts_at": 1, "sale_opens_at": 1,
                                      "currency": "KRW", "sections": sections});
        let section = |name: &str, price: i64| json!({"name": name, "kind": "seated", "price": price,
                                                      "rows": [{"row": "1", "seats": 2}]});
        let both = json!({"name": "A", "kind": "seated", "price": 1, "capacity": 1, "rows": [{"row": 1, "seats": 1}]});
        let twice = json!({"name": "A", "kind": "seated", "price": 1,
                           "rows": [{"row": 1, "seats": 1}, {"row": "1", "seats": 1}]});
        let vast = json!({"name": "A", "kind": "standing", "price": 1, "capacity": 100_001});
        for bad in [json!([]), json!([section("A", -1)]), json!([section("A", 1), section("A", 1)]),
                    json!([both]), json!([twice]), json!([vast]), json!([section("--", 1)])] {
            admin.post("/api/events", event(bad)).await.refused(422, "invalid");
        }
        admin.post("/api/events", json!({"title": "T"})).await.refused(422, "invalid");
    }

    async fn refusals_are_problems_in_the_callers_language(office) {
        let korean = office.client.with("accept-language", "ko-KR,ko;q=0.9");
        let refused = korean.get("/api/me").await.refused(401, "unauthenticated");
        assert_eq!(refused.json["title"], "로그인해 주세요.");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        korean.get("/api/nothing").await.refused(404, "not_found");
        korean.delete("/api/wallet").await.refused(405, "method_not_allowed");
        office.client.send(http::Method::POST, "/api/sessions", Some("{".into())).await.refused(400, "malformed");
        assert_eq!(office.client.get("/healthz").await.expect(200).bytes, "ok");
        office.client.get("/readyz").await.expect(200);
    }

    async fn the_description_covers_every_call(office) {
        let described = office.client.get("/api/openapi.json").await.expect(200);
        assert!(described.text("openapi").starts_with("3.1"));
        for (path, method) in [("/api/events/{id}/holds", "post"), ("/api/payments/{request_id}/status", "get"),
                               ("/api/sessions/current", "delete"), ("/api/accounts/{id}", "patch")] {
            assert!(described.json["paths"][path][method].is_object(), "{method} {path}");
        }
        let page = office.client.get("/api/docs/").await.expect(200);
        assert!(String::from_utf8_lossy(&page.bytes).contains("swagger-ui"));
    }
}

on_each_database! {
    on shared

    async fn who_signs_out_at_one_office_is_out_at_every_other_at_once(office) {
        let (_twin, there) = office.twin().await;
        let fan = office.fan(0).await;
        let other = fan.at(&there);
        other.get("/api/me").await.expect(200);
        fan.delete("/api/sessions/current").await.expect(204);
        other.get("/api/me").await.refused(401, "unauthenticated");
        other.post("/api/wallet/charges", json!({"amount": 1})).await.refused(401, "unauthenticated");
    }

    async fn wrong_passwords_count_whichever_office_is_asked(office) {
        let (_twin, there) = office.twin().await;
        let (here, there) = (office.client.clone().patient(), there.patient());
        office.fan(0).await;
        let guess = json!({"email": "fan0@example.org", "password": "guess"});
        for at in [&here, &there] {
            let guesses = join_all((0..5).map(|_| at.post("/api/sessions", guess.clone()))).await;
            assert!(guesses.iter().all(|guess| guess.code() == "bad_credentials"));
        }
        let right = json!({"email": "fan0@example.org", "password": PASSWORD});
        for at in [&here, &there] {
            at.post("/api/sessions", right.clone()).await.refused(429, "too_many_attempts");
        }
        office.advance(300);
        there.post("/api/sessions", right).await.expect(201);
    }

    async fn strangers_close_their_own_door_never_the_owners(office) {
        let (_twin, there) = office.twin().await;
        let right = json!({"email": "fan0@example.org", "password": PASSWORD});
        office.fan(0).await;
        let home = office.client.with("x-forwarded-for", "192.0.2.7");
        home.post("/api/sessions", right.clone()).await.expect(201);
        // From ever new addresses, window after window.
        for round in 0..3 {
            for n in 0..12 {
                let from = there.with("x-forwarded-for", &format!("198.51.{round}.{n}"));
                let guess = json!({"email": "fan0@example.org", "password": "guess"});
                let code = if n < 10 { (401, "bad_credentials") } else { (429, "too_many_attempts") };
                from.post("/api/sessions", guess).await.refused(code.0, code.1);
            }
            home.post("/api/sessions", right.clone()).await.expect(201);
            there.with("x-forwarded-for", "203.0.113.1").post("/api/sessions", right.clone()).await.refused(429, "too_many_attempts");
            office.advance(300);
        }
        // Nor does the owner's address open the door to guessing.
        for _ in 0..10 {
            let guess = json!({"email": "fan0@example.org", "password": "guess"});
            home.post("/api/sessions", guess).await.refused(401, "bad_credentials");
        }
        home.post("/api/sessions", right.clone()).await.refused(429, "too_many_attempts");
        office.advance(90 * 24 * 3_600);
        office.booking.tidy_once().await.expect("tidies");
        let db = Db::open(&office.database).await.expect("the same database");
        for sql in ["SELECT COUNT(*) FROM sign_in_tries", "SELECT COUNT(*) FROM sign_in_addresses"] {
            let row = sqlx::query(sql).fetch_one(db.read()).await.expect("a row");
            assert_eq!(sqlx::Row::get::<i64, _>(&row, 0), 0, "{sql}");
        }
    }

    async fn right_passwords_close_no_door_nor_do_those_not_looked_at(office) {
        let me = office.fan(0).await.get("/api/me").await.expect(200).text("account_id");
        let attempts = Attempts::new(Db::open(&office.database).await.expect("the same database"));
        let (now, house) = (Timestamp::from_millis(office.now_ms()), Some([192, 0, 2, 1].into()));
        for _ in 0..101 {
            let attempt = attempts.begin("fan0@example.org", house, now).await.expect("open");
            attempts.succeeded(&attempt, &me, now).await.expect("counts");
        }
        for _ in 0..101 {
            let attempt = attempts.begin("fan0@example.org", house, now).await.expect("open");
            attempts.undecided(&attempt).await.expect("counts");
        }
    }

    async fn an_account_knows_its_last_twenty_addresses(office) {
        let me = office.fan(0).await.get("/api/me").await.expect(200).text("account_id");
        let attempts = Attempts::new(Db::open(&office.database).await.expect("the same database"));
        let at = |n: u8| (Timestamp::from_millis(office.now_ms() + u64::from(n)), Some([192, 0, 2, n].into()));
        for (now, address) in (0..21).map(at) {
            let attempt = attempts.begin("fan0@example.org", address, now).await.expect("open");
            attempts.succeeded(&attempt, &me, now).await.expect("counts");
        }
        let (now, stranger) = at(200);
        for _ in 0..10 {
            attempts.begin("fan0@example.org", stranger, now).await.expect("open");
        }
        let begin = async |n| attempts.begin("fan0@example.org", at(n).1, now).await;
        assert!(matches!(begin(0).await, Err(Refused::Closed(_))), "known too long");
        begin(1).await.expect("its own door");
        begin(20).await.expect("its own door");
    }

    async fn a_role_holds_at_once_in_every_process(office) {
        let (fan, admin) = (office.fan(0).await, office.admin().await);
        let me = fan.get("/api/me").await.expect(200).text("account_id");
        let (_twin, client) = office.twin().await;
        let there = fan.at(&client);
        there.post("/api/checkins", json!({"code": "x.y"})).await.refused(403, "forbidden");
        admin.patch(&format!("/api/accounts/{me}"), json!({"role": "admin"})).await.expect(200);
        there.post("/api/checkins", json!({"code": "x.y"})).await.refused(404, "not_found");
        admin.patch(&format!("/api/accounts/{me}"), json!({"role": "customer"})).await.expect(200);
        there.post("/api/checkins", json!({"code": "x.y"})).await.refused(403, "forbidden");
        admin.patch(&format!("/api/accounts/{me}"), json!({"role": "king"})).await.refused(422, "invalid");
    }

    async fn signing_out_kills_the_token_at_once_in_every_process(office) {
        let fan = office.fan(0).await;
        let me = fan.get("/api/me").await.expect(200);
        assert_eq!((&me.json["email"], &me.json["role"]), (&json!("fan0@example.org"), &json!("customer")));
        let (_twin, client) = office.twin().await;
        let there = fan.at(&client);
        there.get("/api/me").await.expect(200);
        fan.delete("/api/sessions/current").await.expect(204);
        fan.get("/api/me").await.refused(401, "unauthenticated");
        there.get("/api/me").await.refused(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_stopped_whatever_account_it_guesses_and_its_neighbours_are_not() {
    let office = TestBooking::open(Database::Memory).await.expect("SQLite is always there");
    office.fan(0).await;
    let here = office.client.with("x-forwarded-for", "192.0.2.1").patient();
    let guesses = (0..100).map(|n| {
        let wrong = json!({"email": format!("nobody{n}@example.org"), "password": "guess"});
        let here = &here;
        async move { here.post("/api/sessions", wrong).await.refused(401, "bad_credentials") }
    });
    join_all(guesses).await;
    let right = json!({"email": "fan0@example.org", "password": PASSWORD});
    let closed = here.post("/api/sessions", right.clone()).await.refused(429, "too_many_attempts");
    assert_eq!(closed.header("retry-after"), Some("300"));
    let elsewhere = office.client.with("x-forwarded-for", "192.0.2.1, 192.0.2.2");
    elsewhere.post("/api/sessions", right.clone()).await.expect(201);
    office.advance(300);
    here.post("/api/sessions", right).await.expect(201);
}
