use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use usher::booking::SAMPLE_EVENT;
use usher::booking::db::Db;

use super::on_each_database;
use crate::support::http::Client;

/// The same POST twice under one key: one answer, byte for byte.
async fn twice(caller: &Client, key: &str, path: &str, body: Value) -> crate::support::http::Answer {
    let keyed = caller.with("idempotency-key", key);
    let (first, again) = (keyed.post(path, body.clone()).await, keyed.post(path, body.clone()).await);
    assert!(first.status.is_success(), "{path}: {}", first.json);
    assert_eq!((first.status, &first.bytes), (again.status, &again.bytes), "{path}");
    assert_eq!(first.header("usher-command"), again.header("usher-command"), "{path}");
    keyed.post(path, json!({"other": body})).await.refused(422, "idempotency_key_reused");
    first
}

on_each_database! {
    async fn every_post_that_creates_or_pays_has_one_effect_under_one_key(office) {
        let (fan, admin) = (office.fan(0).await, office.admin().await);
        let account = json!({"email": "twice@example.org", "password": "long enough", "name": "Kim"});
        twice(&office.client, "account", "/api/accounts", account).await;
        twice(&fan, "charge", "/api/wallet/charges", json!({"amount": 1_000_000})).await;
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000);
        let event = json!({"title": "T", "venue": "V", "starts_at": 1, "sale_opens_at": 1, "currency": "KRW",
                           "sections": [{"name": "A", "kind": "standing", "price": 1, "capacity": 1}]});
        twice(&admin, "event", "/api/events", event).await;
        assert_eq!(fan.get("/api/events").await.json["items"].as_array().map(Vec::len), Some(2));
        let offer = json!({"title": "Picnic", "quantity": 5, "event_time": 1_900_000_000_000_u64, "price": 1_000});
        let offer = twice(&admin, "offer", "/api/tickets", offer).await.text("id");
        let reserve = format!("/api/tickets/{offer}/reservations");
        twice(&fan, "reserve", &reserve, json!({"quantity": 2})).await;
        assert_eq!(fan.get(&format!("/api/tickets/{offer}")).await.json["reserved"], 2);
        let holds = format!("/api/events/{SAMPLE_EVENT}/holds");
        let hold = twice(&fan, "hold", &holds, json!({"seats": ["A-1-1"]})).await;
        let extend = format!("/api/holds/{}/extend", hold.text("hold_id"));
        twice(&fan, "extend", &extend, json!({})).await;
        let order = twice(&fan, "order", "/api/orders", json!({"hold_id": hold.json["hold_id"]})).await;
        let pay = json!({"order_id": order.json["order_id"], "method": "points"});
        let payment = twice(&fan, "pay", "/api/payments", pay).await;
        let paid = fan.paid(&payment).await;
        let cancel = format!("/api/orders/{}/cancel", order.text("order_id"));
        let code = json!({"code": paid.json["tickets"][0]["code"]});
        twice(&fan, "cancel", &cancel, json!({"items": ["A-1-1"]})).await;
        admin.post("/api/checkins", code).await.refused(410, "void");
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000);
    }

    async fn a_refusal_that_lasts_is_kept_and_one_that_passes_is_not(office) {
        let keyed = office.fan(0).await.with("idempotency-key", "k1");
        let unknown = json!({"seats": ["Z-1-1"]});
        let holds = format!("/api/events/{SAMPLE_EVENT}/holds");
        let first = keyed.post(&holds, unknown.clone()).await.refused(422, "unknown_seat");
        assert_eq!(keyed.post(&holds, unknown).await.bytes, first.bytes);
        // Not signed in: nothing is kept, the same key works once the caller is.
        let anonymous = office.client.with("idempotency-key", "k2");
        anonymous.post("/api/wallet/charges", json!({"amount": 1})).await.refused(401, "unauthenticated");
        anonymous.post("/api/wallet/charges", json!({"amount": 1})).await.refused(401, "unauthenticated");
    }
}

on_each_database! {
    on shared

    async fn an_answer_that_was_lost_is_found_by_its_key_when_the_payment_is_done(office) {
        let fan = office.fan(1_000_000).await;
        let hold = fan.hold(&["A-1-1"]).await.expect(201);
        let order = fan.order(&hold).await.expect(201);
        let keyed = fan.with("idempotency-key", "lost");
        let first = keyed.pay(&order).await.expect(202);
        assert_eq!(fan.paid(&first).await.json["status"], "COMPLETED");
        // The connection was cut after the payment was written and before its answer was.
        let db = Db::open(&office.database).await.expect("the same database");
        let mut tx = db.begin().await.expect("a transaction");
        let gone = sqlx::query("DELETE FROM idempotency WHERE key = 'lost'").execute(&mut *tx).await;
        assert_eq!(gone.expect("deletes").rows_affected(), 1);
        tx.commit().await.expect("commits");
        let again = keyed.pay(&order).await.expect(202);
        assert_eq!(again.bytes, first.bytes);
        fan.with("idempotency-key", "another").pay(&order).await.refused(409, "already_paid");
        fan.pay(&order).await.refused(409, "already_paid");
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000 - 176_000);
    }

    async fn a_crash_locks_a_key_for_its_lease_and_not_for_a_day(office) {
        let fan = office.fan(0).await;
        let me = fan.get("/api/me").await.text("account_id");
        let (path, body) = ("/api/wallet/charges", json!({"amount": 500}));
        let digest = Sha256::new().chain_update(path).chain_update([0]).chain_update(body.to_string()).finalize();
        let fingerprint: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        // What a process that died behind its first step leaves.
        let db = Db::open(&office.database).await.expect("the same database");
        let mut tx = db.begin().await.expect("a transaction");
        sqlx::query(
            "INSERT INTO idempotency (scope, key, fingerprint, lease_until, created_at) VALUES ($1, 'crash', $2, $3, $4)",
        )
        .bind(me)
        .bind(fingerprint)
        .bind(i64::try_from(office.now_ms() + 35_000).expect("fits"))
        .bind(i64::try_from(office.now_ms()).expect("fits"))
        .execute(&mut *tx)
        .await
        .expect("inserts");
        tx.commit().await.expect("commits");

        let keyed = fan.with("idempotency-key", "crash");
        let running = keyed.post(path, body.clone()).await.refused(409, "still_running");
        assert_eq!(running.header("retry-after"), Some("1"));
        keyed.post(path, json!({"amount": 501})).await.refused(422, "idempotency_key_reused");
        office.advance(35);
        keyed.post(path, json!({"amount": 501})).await.refused(422, "idempotency_key_reused");
        let done = keyed.post(path, body.clone()).await.expect(201);
        assert_eq!(keyed.post(path, body).await.expect(201).bytes, done.bytes);
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 500);
        // After its day the key is anybody's again.
        office.advance(24 * 3_600);
        let fan = crate::support::booking::sign_in(&office.client, "fan0@example.org", crate::support::booking::PASSWORD).await;
        fan.with("idempotency-key", "crash").post(path, json!({"amount": 7})).await.expect(201);
    }

    async fn who_lost_a_key_to_a_repetition_has_no_answer_of_its_own(office) {
        // Stands for a request so slow that a repetition took its key: while it is
        // answered, its lease becomes another's.
        let lost = "UPDATE idempotency SET lease_until = lease_until + 1 WHERE key = 'late';";
        let steps = match office.database.starts_with("postgres") {
            true => vec![
                format!("CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {lost} RETURN NEW; END $$"),
                "CREATE TRIGGER lost AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION lost()".to_owned(),
            ],
            false => vec![format!("CREATE TRIGGER lost AFTER INSERT ON accounts BEGIN {lost} END")],
        };
        let db = Db::open(&office.database).await.expect("the same database");
        for step in steps {
            sqlx::query(sqlx::AssertSqlSafe(step)).execute(db.write()).await.expect("a trigger");
        }
        let account = |name: &str| json!({"email": format!("{name}@example.org"), "password": "very-secret-1", "name": name});
        let late = office.client.with("idempotency-key", "late").post("/api/accounts", account("late")).await;
        assert_eq!(late.refused(409, "still_running").header("retry-after"), Some("1"));
        office.client.with("idempotency-key", "early").post("/api/accounts", account("early")).await.expect(201);
    }
}
