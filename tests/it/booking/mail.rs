//! Mail to a server on real sockets, which takes it or misbehaves.

mod secure;

use std::collections::BTreeSet;

use serde_json::json;
use usher::booking::SAMPLE_EVENT;
use usher::booking::db::Db;

use crate::support::booking::{Database, TestBooking, until};
use crate::support::smtp::{Mishap, Received, Sink};

macro_rules! on_each {
    ($(async fn $name:ident($office:ident, $sink:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn case(database: Database) {
                let $sink = Sink::start().await;
                let mail = $sink.settings();
                let opened = TestBooking::with(database, |settings| settings.mail = Some(mail)).await;
                let Some($office) = opened else { return };
                $body
                $office.assert_sound().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite_memory() {
                case(Database::Memory).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite_file() {
                case(Database::File).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                case(Database::Postgres).await;
            }
        }
    )*};
}

/// Waits until so many mails came.
async fn mails(sink: &Sink, count: usize) -> Vec<Received> {
    let mails = until(async || Some(sink.mails()).filter(|mails| mails.len() >= count)).await;
    assert_eq!(mails.len(), count);
    mails
}

/// Lets the pauses pass, one look of the mailer at a time, until so many mails
/// came; never so fast that a lease ends while its mail is under way.
async fn after_pauses(office: &TestBooking, sink: &Sink, count: usize) {
    until(async || {
        office.advance(5);
        let look = tokio::time::Duration::from_secs(1);
        let came = async {
            while sink.mails().len() < count {
                tokio::time::sleep(tokio::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(look, came).await.ok()
    })
    .await;
}

fn ids(mails: &[Received]) -> BTreeSet<String> {
    mails.iter().map(|mail| mail.header("message-id").expect("an id")).collect()
}

async fn count(db: &Db, sql: &'static str) -> i64 {
    let row = sqlx::query(sql).fetch_one(db.read()).await.expect("a row");
    sqlx::Row::get(&row, 0)
}

/// Waits until the office has nothing more to relay or send.
async fn settled(office: &TestBooking) {
    until(async || {
        let relayed = office.booking.relay_once().await.expect("a step").is_none();
        // Also what the office's own mailer has under way.
        (relayed && office.booking.mails_waiting().await.expect("a count") == 0).then_some(())
    })
    .await;
}

on_each! {
    async fn a_purchase_is_told_of_once_in_the_buyers_language(office, sink) {
        let (fan, email) = office.fan_called("김하늘", "ko-KR,ko;q=0.9", 1_000_000).await;
        assert_eq!(fan.get("/api/me").await.json["language"], "ko");
        let paid = fan.buy(&["A-1-10", "A-1-11"]).await;
        let mail = mails(&sink, 1).await.remove(0);
        assert_eq!((mail.from.as_str(), &mail.to), ("tickets@usher.test", &email));
        let subject = mail.header("subject").expect("a subject");
        assert!(subject.contains("예매 완료") && subject.contains("HAEDAL"), "{subject}");
        assert!(mail.header("to").expect("to").contains("김하늘"));
        assert_eq!(mail.header("auto-submitted").as_deref(), Some("auto-generated"));
        for body in [mail.text(), mail.html()] {
            for part in [&paid.text("order_id"), "A-1-10, A-1-11 (2)", "352,000원", "Hangang Hall"] {
                assert!(body.contains(part), "{part}: {body}");
            }
        }
        settled(&office).await;
        mails(&sink, 1).await;
    }

    async fn returns_and_cancellations_are_told_of(office, sink) {
        let (fan, _) = office.fan_called("Fan", "es", 1_000_000).await;
        let paid = fan.buy(&["A-1-1", "A-1-2", "A-1-3"]).await;
        let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
        fan.post(&cancel, json!({"items": ["A-1-2"]})).await.expect(200);
        fan.post(&cancel, json!({})).await.expect(200);
        let came = mails(&sink, 3).await;
        let about = |word: &str| came.iter().filter(|mail| {
            mail.header("subject").is_some_and(|subject| subject.starts_with(word))
        }).map(Received::text).collect::<Vec<_>>();
        assert_eq!(about("Tus entradas").len(), 1);
        let mut refunds = about("Reembolso");
        refunds.sort_by_key(String::len);
        assert!(refunds[0].contains("A-1-2 (1)") && refunds[0].contains("176.000 KRW"), "{refunds:?}");
        assert!(refunds[1].contains("A-1-1, A-1-3 (2)") && refunds[1].contains("352.000 KRW"), "{refunds:?}");

        let order = fan.order(&fan.hold(&["A-4-1"]).await.expect(201)).await.expect(201);
        fan.post(&format!("/api/orders/{}/cancel", order.text("order_id")), json!({})).await.expect(200);
        let given_up = mails(&sink, 4).await.remove(3);
        assert!(given_up.header("subject").expect("a subject").starts_with("Pedido cancelado"));
        assert!(given_up.text().contains(&order.text("order_id")) && given_up.text().contains("A-4-1"));

        let poor = office.fan(1_000).await;
        assert_eq!(poor.buy(&["F-1-1"]).await.json["reason"], "insufficient_funds");
        let failed = mails(&sink, 5).await.remove(4);
        assert!(failed.header("subject").expect("a subject").starts_with("Order cancelled"));
    }

    async fn a_server_that_cannot_just_now_is_asked_again(office, sink) {
        sink.plan(&[Mishap::NotNow, Mishap::HangUp]);
        let fan = office.fan(1_000_000).await;
        fan.buy(&["A-1-1"]).await;
        after_pauses(&office, &sink, 1).await;
        settled(&office).await;
        mails(&sink, 1).await;
    }

    async fn a_refused_recipient_is_given_up_and_holds_up_nobody(office, sink) {
        let (gone, address) = office.fan_called("Gone", "en", 1_000_000).await;
        sink.bar(&address);
        gone.buy(&["A-1-1"]).await;
        office.fan(1_000_000).await.buy(&["A-1-2"]).await;
        mails(&sink, 1).await;
        settled(&office).await;
        office.advance(4 * 24 * 3_600);
        settled(&office).await;
        mails(&sink, 1).await;
        sink.plan(&[Mishap::Never]);
        office.fan(1_000_000).await.buy(&["A-1-3"]).await;
        until(async || (sink.planned() == 0).then_some(())).await;
        settled(&office).await;
        mails(&sink, 1).await;
    }

    async fn silence_after_the_text_brings_the_same_mail_again(office, sink) {
        sink.plan(&[Mishap::SilentAfterData]);
        office.fan(1_000_000).await.buy(&["A-1-1"]).await;
        until(async || (sink.mails().len() == 1).then_some(())).await;
        after_pauses(&office, &sink, 2).await;
        settled(&office).await;
        assert_eq!(ids(&mails(&sink, 2).await).len(), 1, "an inbox can tell that they are one");
    }

    async fn what_people_typed_stays_text(office, sink) {
        let admin = office.admin().await;
        let title = json!({"title": "<script>alert(1)</script> & more"});
        admin.patch(&format!("/api/events/{SAMPLE_EVENT}"), title).await.expect(200);
        let (fan, email) = office.fan_called("Fan\r\nBcc: everybody@example.org", "en", 1_000_000).await;
        fan.buy(&["A-1-1"]).await;
        let mail = mails(&sink, 1).await.remove(0);
        assert_eq!((mail.header("bcc"), &mail.to), (None, &email));
        assert!(mail.html().contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"), "{}", mail.html());
        assert!(!mail.html().contains("<script"));
    }
}

/// Many sales through two offices, and the outbox relayed all over again.
async fn each_sale_is_told_of_once(database: Database) {
    let sink = Sink::start().await;
    let mail = sink.settings();
    let Some(office) = TestBooking::with(database, |settings| settings.mail = Some(mail.clone())).await
    else {
        return;
    };
    let (_twin, there) = office.twin_with(|settings| settings.mail = Some(mail)).await;
    for n in 1..=20 {
        let fan = office.fan(1_000_000).await;
        let fan = if n % 2 == 0 { fan.at(&there) } else { fan };
        assert_eq!(fan.buy(&[&format!("D-1-{n}")]).await.json["status"], "COMPLETED");
    }
    assert_eq!(ids(&mails(&sink, 20).await).len(), 20);

    let db = Db::open(&office.database).await.expect("the same database");
    let run = async |sql: &'static str| {
        let mut tx = db.begin().await.expect("a transaction");
        sqlx::query(sql).execute(&mut *tx).await.expect("runs");
        tx.commit().await.expect("commits");
    };
    run("UPDATE outbox SET relayed_at = NULL").await;
    until(async || {
        let left = count(&db, "SELECT COUNT(*) FROM outbox WHERE relayed_at IS NULL").await;
        (left == 0).then_some(())
    })
    .await;
    settled(&office).await;
    mails(&sink, 20).await;

    // The count can fail: without the row that says it was sent, it is sent twice.
    run("DELETE FROM mails").await;
    run("UPDATE outbox SET relayed_at = NULL WHERE id = (SELECT MIN(id) FROM outbox WHERE kind = 'payment.completed')").await;
    mails(&sink, 21).await;
    office.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sale_is_told_of_once_on_sqlite() {
    each_sale_is_told_of_once(Database::File).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sale_is_told_of_once_on_postgres() {
    each_sale_is_told_of_once(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_waits_for_tls_unless_tls_is_off() {
    let sink = Sink::start().await;
    let mail = sink.settings_as("user:s3cret@", "");
    let office =
        TestBooking::with(Database::File, |settings| settings.mail = Some(mail)).await.expect("SQLite");
    office.fan(1_000_000).await.buy(&["A-1-1"]).await;
    let db = Db::open(&office.database).await.expect("the same database");
    until(async || {
        (count(&db, "SELECT COUNT(*) FROM mails WHERE reason IS NOT NULL").await == 1).then_some(())
    })
    .await;
    assert!(sink.logins().is_empty() && sink.mails().is_empty());

    let mail = sink.settings_as("user:s3cret@", "?tls=off");
    assert!(!format!("{mail:?}").contains("s3cret"));
    let office =
        TestBooking::with(Database::File, |settings| settings.mail = Some(mail)).await.expect("SQLite");
    office.fan(1_000_000).await.buy(&["A-1-1"]).await;
    mails(&sink, 1).await;
    assert_eq!(sink.logins().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_waits_for_a_server_that_is_away() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a port");
    let mail =
        usher::config::Mail { smtp: format!("smtp://{port}?tls=off"), from: "tickets@usher.test".into() };
    let office =
        TestBooking::with(Database::File, |settings| settings.mail = Some(mail)).await.expect("SQLite");
    office.fan(1_000_000).await.buy(&["A-1-1"]).await;
    let db = Db::open(&office.database).await.expect("the same database");
    until(async || {
        (count(&db, "SELECT COUNT(*) FROM mails WHERE reason IS NOT NULL").await == 1).then_some(())
    })
    .await;
    let sink = Sink::at(port).await;
    after_pauses(&office, &sink, 1).await;
    mails(&sink, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_language_is_the_one_asked_for() {
    let office = TestBooking::open(Database::Memory).await.expect("SQLite");
    let new = |email: &str, language: serde_json::Value| json!({"email": email, "password": "a long pass phrase", "name": "A", "language": language});
    let asked = office.client.with("accept-language", "ko");
    asked.post("/api/accounts", new("a@example.org", json!("ja"))).await.expect(201);
    let fan = crate::support::booking::sign_in(&office.client, "a@example.org", "a long pass phrase").await;
    assert_eq!(fan.get("/api/me").await.json["language"], "ja");
    asked.post("/api/accounts", new("b@example.org", json!("de"))).await.refused(422, "invalid");
    asked.post("/api/accounts", new("b@example.org", json!(null))).await.expect(201);
}
