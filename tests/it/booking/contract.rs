//! The booking table of the contract, row by row: status, code and every field.

use serde_json::{Value, json};
use usher::booking::SAMPLE_EVENT;
use usher::booking::pass::key_id;

use super::on_each_database;
use crate::support::booking::{Database, TestBooking};
use crate::support::http::Client;

/// A field's kind, by a value of it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() || number.is_u64() => "int",
        Value::Number(_) => "float",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// That these fields are there and of these kinds; others may be there too.
#[track_caller]
fn assert_fields(body: &Value, fields: &[(&str, &str)]) {
    for (name, wanted) in fields {
        let is = body.get(*name).map_or("missing", kind);
        assert!(wanted.split('|').any(|wanted| wanted == is), "{name} is {is}, not {wanted}: {body}");
    }
}

/// The ids of a whole list, read `limit` items a page.
async fn pages(client: &Client, path: &str, id: &str, limit: usize) -> Vec<String> {
    let mark = if path.contains('?') { '&' } else { '?' };
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}{mark}limit={limit}{cursor}")).await.expect(200);
        let items = page.json["items"].as_array().expect("items");
        assert!(items.len() <= limit, "{path}: {}", page.json);
        ids.extend(items.iter().map(|item| item[id].as_str().expect("an id").to_owned()));
        match &page.json["next"] {
            Value::Null => return ids,
            Value::String(next) => cursor = format!("&cursor={next}"),
            other => panic!("{path}: next is {other}"),
        }
        assert_eq!(items.len(), limit, "{path}: a page before the last is full");
        assert!(ids.len() < 100, "{path}: no end");
    }
}

const PERSON: [(&str, &str); 3] = [("account_id", "text"), ("email", "text"), ("role", "text")];
const EVENT: [(&str, &str); 8] = [
    ("id", "text"),
    ("series_id", "text|null"),
    ("title", "text"),
    ("venue", "text"),
    ("starts_at", "int"),
    ("sale_opens_at", "int"),
    ("currency", "text"),
    ("sections", "list"),
];
const SECTION: [(&str, &str); 6] = [
    ("id", "text"),
    ("name", "text"),
    ("kind", "text"),
    ("price", "int"),
    ("capacity", "int"),
    ("available", "int"),
];
const SEAT: [(&str, &str); 6] = [
    ("id", "text"),
    ("section", "text"),
    ("row", "text"),
    ("number", "int"),
    ("status", "text"),
    ("price", "int"),
];
const HOLD: [(&str, &str); 5] =
    [("hold_id", "text"), ("seats", "list"), ("expires_at", "int"), ("epoch", "int"), ("together", "bool")];
const ORDER: [(&str, &str); 6] = [
    ("order_id", "text"),
    ("status", "text"),
    ("amount", "int"),
    ("currency", "text"),
    ("expires_at", "int"),
    ("items", "list"),
];
const PAYMENT: [(&str, &str); 4] =
    [("request_id", "text"), ("order_id", "text"), ("status", "text"), ("reason", "text|null")];
const TICKET: [(&str, &str); 5] =
    [("ticket_id", "text"), ("event", "text"), ("seat", "text"), ("code", "text"), ("status", "text")];

fn new_event(title: &str) -> Value {
    json!({
        "series_id": "paged", "title": title, "venue": "V", "starts_at": 1_900_000_000_000_u64,
        "sale_opens_at": 1, "currency": "KRW",
        "sections": [
            {"name": "A", "kind": "seated", "price": 10, "rows": [{"row": "1", "seats": 2}]},
            {"name": "B", "kind": "standing", "price": 5, "capacity": 3},
        ],
    })
}

on_each_database! {
    async fn accounts_sessions_and_wallet_answer_to_the_letter(office) {
        let new = json!({"email": "c@example.org", "password": "long enough", "name": "C"});
        let made = office.client.post("/api/accounts", new.clone()).await.expect(201);
        assert_fields(&made.json, &[("account_id", "text")]);
        office.client.post("/api/accounts", new).await.refused(409, "email_taken");
        let account = format!("/api/accounts/{}", made.text("account_id"));
        let admin = office.admin().await;
        let promoted = admin.patch(&account, json!({"role": "counsellor"})).await;
        assert!(promoted.status.is_success(), "{}", promoted.json);
        let sign_in = json!({"email": "c@example.org", "password": "long enough"});
        let session = office.client.post("/api/sessions", sign_in).await.expect(201);
        assert_fields(&session.json, &[("access_token", "text"), ("expires_at", "int"), ("account", "object")]);
        assert_fields(&session.json["account"], &PERSON);
        assert_eq!(session.json["account"]["role"], "counsellor");
        let caller = office.client.with("authorization", &format!("Bearer {}", session.text("access_token")));
        caller.patch(&account, json!({"role": "admin"})).await.refused(403, "forbidden");
        assert_fields(&caller.get("/api/me").await.expect(200).json, &PERSON);
        assert_eq!(caller.get("/api/wallet").await.expect(200).json, json!({"balance": 0, "currency": "KRW"}));
        let charged = caller.post("/api/wallet/charges", json!({"amount": 700})).await.expect(201);
        assert_eq!(charged.json["balance"], 700);
        assert!(caller.delete("/api/sessions/current").await.expect(204).bytes.is_empty());
        caller.get("/api/me").await.refused(401, "unauthenticated");
    }

    async fn the_catalogue_and_seats_answer_to_the_letter(office) {
        let (admin, fan) = (office.admin().await, office.fan(1_000).await);
        fan.post("/api/events", new_event("no")).await.refused(403, "forbidden");
        let made = admin.post("/api/events", new_event("One")).await.expect(201);
        assert_fields(&made.json, &[("id", "text")]);
        let path = format!("/api/events/{}", made.text("id"));
        let event = fan.get(&path).await.expect(200).json;
        assert_fields(&event, &EVENT);
        for section in event["sections"].as_array().expect("a list") {
            assert_fields(section, &SECTION);
        }
        let list = fan.get("/api/events?series=paged&from=1900000000000&to=1900000000001").await.expect(200).json;
        assert_fields(&list, &[("items", "list"), ("next", "text|null")]);
        assert_eq!(list["items"][0]["id"], event["id"]);
        let changed = admin.patch(&path, json!({"title": "Two"})).await;
        assert!(changed.status.is_success(), "{}", changed.json);
        assert_eq!(fan.get(&path).await.json["title"], "Two");
        let seats = fan.get(&format!("{path}/seats")).await.expect(200);
        assert!(seats.header("etag").is_some());
        assert_fields(&seats.json, &[("version", "int"), ("seats", "list")]);
        let all = seats.json["seats"].as_array().expect("a list");
        assert_eq!(all.len(), 5);
        all.iter().for_each(|seat| assert_fields(seat, &SEAT));
        fan.post(&format!("{path}/holds"), json!({"seats": [all[0]["id"]]})).await.expect(201);
        let left = fan.get(&format!("{path}/seats?available=true")).await.expect(200);
        assert_eq!(left.json["seats"].as_array().map(Vec::len), Some(4));
        let gone = admin.post("/api/events", new_event("Gone")).await.expect(201);
        let gone = format!("/api/events/{}", gone.text("id"));
        assert!(admin.delete(&gone).await.status.is_success());
        fan.get(&gone).await.refused(404, "not_found");
        let bought = fan.post(&format!("{path}/holds"), json!({"best": {"count": 1, "section": "B"}})).await;
        let order = fan.order(&bought.expect(201)).await.expect(201);
        let paid = fan.pay(&order).await.expect(202);
        fan.paid(&paid).await;
        admin.delete(&path).await.refused(409, "has_sales");
    }

    async fn holds_orders_and_payments_answer_to_the_letter(office) {
        let (fan, other) = (office.fan(1_000_000).await, office.fan(0).await);
        let hold = fan.hold(&["A-1-1", "A-1-2"]).await.expect(201);
        assert_fields(&hold.json, &HOLD);
        assert_eq!((&hold.json["seats"], &hold.json["together"]), (&json!(["A-1-1", "A-1-2"]), &json!(true)));
        for caller in [&fan, &other] {
            let taken = caller.hold(&["A-1-2", "A-1-3"]).await.refused(409, "seats_taken");
            assert_eq!(taken.json["seats"], json!(["A-1-2"]));
        }
        fan.hold(&["Z-1-1"]).await.refused(422, "unknown_seat");
        let nine: Vec<_> = (1..=9).map(|n| format!("A-2-{n}")).collect();
        fan.hold(&nine.iter().map(String::as_str).collect::<Vec<_>>()).await.refused(422, "too_many_seats");
        other.hold_best(json!({"count": 2, "max_price": 1})).await.refused(409, "none_left");
        let path = format!("/api/holds/{}", hold.text("hold_id"));
        other.post(&format!("{path}/extend"), json!({})).await.refused(404, "not_found");
        other.delete(&path).await.refused(404, "not_found");
        let extended = fan.post(&format!("{path}/extend"), json!({})).await.expect(200);
        assert_fields(&extended.json, &[("expires_at", "int")]);

        let order = fan.order(&hold).await.expect(201);
        assert_fields(&order.json, &ORDER);
        assert_eq!(order.json["status"], "PENDING");
        other.order(&hold).await.refused(409, "hold_expired");
        let at = format!("/api/orders/{}", order.text("order_id"));
        assert_fields(&fan.get(&at).await.expect(200).json, &ORDER);
        other.get(&at).await.refused(404, "not_found");
        other.post(&format!("{at}/cancel"), json!({})).await.refused(404, "not_found");
        other.pay(&order).await.refused(403, "not_owner");
        let accepted = fan.pay(&order).await.expect(202);
        assert_eq!(accepted.json["status"], "PENDING");
        let status = fan.paid(&accepted).await;
        assert_fields(&status.json, &PAYMENT);
        assert_eq!((&status.json["status"], &status.json["reason"]), (&json!("COMPLETED"), &json!(null)));
        fan.pay(&order).await.refused(409, "already_paid");
        other.get(&format!("/api/payments/{}/status", accepted.text("request_id"))).await.refused(404, "not_found");

        let poor = other.order(&other.hold(&["A-3-1"]).await.expect(201)).await.expect(201);
        let failed = other.paid(&other.pay(&poor).await.expect(202)).await;
        assert_eq!(
            (&failed.json["status"], &failed.json["reason"]),
            (&json!("FAILED"), &json!("insufficient_funds"))
        );
        let late = fan.hold(&["A-4-1"]).await.expect(201);
        let late_order = fan.order(&late).await.expect(201);
        office.advance(8 * 60);
        fan.pay(&late_order).await.refused(409, "hold_expired");
        fan.order(&late).await.refused(409, "hold_expired");
        fan.delete(&format!("/api/holds/{}", late.text("hold_id"))).await.refused(404, "not_found");
        let given_back = fan.hold(&["A-4-2"]).await.expect(201);
        assert!(fan.delete(&format!("/api/holds/{}", given_back.text("hold_id"))).await.expect(204).bytes.is_empty());

        let tickets = fan.get("/api/me/tickets").await.expect(200).json;
        let tickets = tickets["items"].as_array().expect("a list").clone();
        tickets.iter().for_each(|ticket| assert_fields(ticket, &TICKET));
        let admin = office.admin().await;
        let code = json!({"code": tickets[0]["code"]});
        fan.post("/api/checkins", code.clone()).await.refused(403, "forbidden");
        admin.post("/api/checkins", code.clone()).await.expect(200);
        admin.post("/api/checkins", code).await.refused(409, "already_used");
        fan.post(&format!("{at}/cancel"), json!({"items": [tickets[1]["seat"]]})).await.expect(200);
        admin.post("/api/checkins", json!({"code": tickets[1]["code"]})).await.refused(410, "void");
        office.client.post("/api/payments/webhooks/toss", json!({"no": 1})).await.expect(400);
    }

    async fn general_admission_answers_to_the_letter(office) {
        let (admin, fan) = (office.admin().await, office.fan(1_000).await);
        let offer = json!({"title": "P", "quantity": 3, "event_time": 1_900_000_000_000_u64, "price": 10});
        fan.post("/api/tickets", offer.clone()).await.refused(403, "forbidden");
        let made = admin.post("/api/tickets", offer).await.expect(201);
        let path = format!("/api/tickets/{}", made.text("id"));
        let shown = fan.get(&path).await.expect(200).json;
        assert_eq!((&shown["quantity"], &shown["issued"]), (&json!(3), &json!(0)));
        let kept = fan.post(&format!("{path}/reservations"), json!({"quantity": 2})).await.expect(201);
        assert_fields(&kept.json, &[("reservation_id", "text"), ("order_id", "text"), ("expires_at", "int")]);
        fan.post(&format!("{path}/reservations"), json!({"quantity": 2})).await.refused(409, "sold_out");
        fan.paid(&fan.pay(&kept).await.expect(202)).await;
        assert_eq!(fan.get(&path).await.json["issued"], 2);
        let free = json!({"title": "F", "quantity": 1, "event_time": 1_900_000_000_000_u64, "price": 0});
        let free = admin.post("/api/tickets", free).await.expect(201).text("id");
        let kept = fan.post(&format!("/api/tickets/{free}/reservations"), json!({"quantity": 1})).await.expect(201);
        let order = fan.get(&format!("/api/orders/{}", kept.text("order_id"))).await.expect(200);
        assert_eq!(order.json["status"], "PAID");
        admin.delete(&path).await.refused(409, "has_sales");
    }

    async fn every_list_is_read_page_by_page_without_gap_or_repetition(office) {
        let (admin, fan) = (office.admin().await, office.fan(10_000_000).await);
        for n in 0..4 {
            // All at one instant: the id has to tell them apart.
            admin.post("/api/events", new_event(&format!("E{n}"))).await.expect(201);
            let offer = json!({"title": "P", "quantity": 9, "event_time": 1_900_000_000_000_u64, "price": 0});
            admin.post("/api/tickets", offer).await.expect(201);
            fan.buy(&[&format!("A-1-{}", 2 * n + 1), &format!("A-1-{}", 2 * n + 2)]).await;
        }
        let lists =
            [("/api/events?series=paged", "id", 4), ("/api/orders", "order_id", 4), ("/api/tickets", "id", 4),
             ("/api/me/tickets", "ticket_id", 8)];
        for (path, id, count) in lists {
            let whole = pages(&fan, path, id, 100).await;
            assert_eq!(whole.len(), count, "{path}");
            for limit in [1, 3] {
                assert_eq!(pages(&fan, path, id, limit).await, whole, "{path} by {limit}");
            }
            let mark = if path.contains('?') { '&' } else { '?' };
            fan.get(&format!("{path}{mark}cursor=nonsense")).await.refused(400, "malformed");
        }
    }
}

/// What the gate says of somebody with a pass.
fn assertion(key: &[u8; 32], now: u64) -> String {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let header = Header { kid: Some(key_id(key)), ..Header::new(Algorithm::HS256) };
    let claims = json!({"room": "main", "sub": "somebody", "iat": now, "exp": now + 60});
    encode(&header, &claims, &EncodingKey::from_secret(key)).expect("signs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_pass_each_guarded_call_is_refused_and_no_other() {
    const KEY: [u8; 32] = [42; 32];
    for database in [Database::Memory, Database::Postgres] {
        let opened = TestBooking::with(database, |settings| {
            settings.require_pass = true;
            settings.assertion_keys = vec![KEY];
        });
        let Some(office) = opened.await else { continue };
        let fan = office.fan(1_000).await;
        let event = format!("/api/events/{SAMPLE_EVENT}");
        let guarded = [
            ("GET", format!("{event}/seats")),
            ("POST", format!("{event}/holds")),
            ("POST", "/api/holds/0/extend".to_owned()),
            ("DELETE", "/api/holds/0".to_owned()),
            ("POST", "/api/orders".to_owned()),
            ("POST", "/api/payments".to_owned()),
            ("POST", "/api/payments/confirm".to_owned()),
            ("POST", "/api/tickets/0/reservations".to_owned()),
        ];
        let guest = fan.with("usher-assertion", &assertion(&KEY, office.now_ms() / 1_000));
        for (method, path) in &guarded {
            let body = (*method == "POST").then(|| "{}".to_owned());
            let method: http::Method = method.parse().expect("a method");
            fan.send(method.clone(), path, body.clone()).await.refused(403, "pass_required");
            let with_pass = guest.send(method, path, body).await;
            assert_ne!(with_pass.code(), "pass_required", "{path}");
        }
        let open = [
            "/api/me",
            "/api/wallet",
            "/api/events",
            &event,
            "/api/orders",
            "/api/tickets",
            "/api/me/tickets",
        ];
        for path in open {
            fan.get(path).await.expect(200);
        }
    }
}
