//! What a crowd was told, held against what is there: seats, tickets, wallets, the
//! bank's books and the mail. Each of its findings has a planted fault that it finds.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use usher::booking::SAMPLE_EVENT;
use usher::booking::db::Db;
use usher::domain::order::AccountId;

use super::{PATIENCE, Purchase, Story, points};
use crate::support::booking::TestBooking;
use crate::support::smtp::Sink;
use crate::support::toss::Bank;

/// What is there in the end.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Status by seat.
    seats: BTreeMap<String, String>,
    tickets: i64,
    /// Balance by account.
    balances: BTreeMap<String, i64>,
    bank: Vec<Value>,
    /// To whom, and the text; one that came again after a broken connection counts once.
    mails: Vec<(String, String)>,
}

/// Waits until whatever was begun has come to its end, holds that nobody used too, and
/// the audit finds nothing.
pub(super) async fn at_rest(office: &TestBooking, seed: u64) {
    let db = Db::open(&office.database).await.expect("the same database");
    let open = "SELECT (SELECT COUNT(*) FROM orders WHERE status IN ('PENDING', 'PAYING'))
                + (SELECT COUNT(*) FROM refunds WHERE status <> 'DONE')
                + (SELECT COUNT(*) FROM mails WHERE status = 'WAITING')
                + (SELECT COUNT(*) FROM outbox WHERE relayed_at IS NULL)";
    let draining = async {
        loop {
            office.advance(30);
            // One mailer beside SQLite would take a minute over them.
            join_all((0..8).map(|_| async { while let Ok(true) = office.booking.mail_once().await {} }))
                .await;
            let left = sqlx::query(open).fetch_one(db.read()).await;
            let done = left.is_ok_and(|row| sqlx::Row::get::<i64, _>(&row, 0) == 0);
            if done && !statuses(office).await.values().any(|status| status == "HELD") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(PATIENCE, draining).await.unwrap_or_else(|_| panic!("seed {seed}: never at rest"));
    office.booking.reap_once().await.expect("reaps");
    office.booking.heal_once().await.expect("heals");
    assert_eq!(office.booking.audit().await.expect("an audit"), [], "seed {seed}");
}

/// Status by seat.
async fn statuses(office: &TestBooking) -> BTreeMap<String, String> {
    let seats = office.client.get(&format!("/api/events/{SAMPLE_EVENT}/seats")).await.expect(200);
    let seats = seats.json["seats"].as_array().expect("a list");
    seats.iter().map(|seat| (text(&seat["id"]), text(&seat["status"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

pub(super) async fn look(office: &TestBooking, bank: &Bank, sink: &Sink) -> Found {
    let db = Db::open(&office.database).await.expect("the same database");
    let tickets = sqlx::query("SELECT COUNT(*) FROM tickets WHERE status = 'VALID'").fetch_one(db.read());
    let wallets = sqlx::query("SELECT account_id, balance FROM wallets").fetch_all(db.read());
    let bank = bank.client.get("/stand-in/payments").await.expect(200);
    let mails = sink.mails();
    let mails =
        mails.iter().map(|mail| (mail.header("message-id").expect("an id"), (mail.to.clone(), mail.text())));
    Found {
        seats: statuses(office).await,
        tickets: sqlx::Row::get(&tickets.await.expect("a row"), 0),
        balances: wallets
            .await
            .expect("rows")
            .iter()
            .map(|row| (sqlx::Row::get(row, 0), sqlx::Row::get(row, 1)))
            .collect(),
        bank: bank.json["items"].as_array().expect("a list").clone(),
        mails: mails.collect::<BTreeMap<_, _>>().into_values().collect(),
    }
}

/// A crowd that hardly bought anything proves nothing.
pub(super) fn much_happened(stories: &[Story], buyers: usize) {
    let count = |of: fn(&Story) -> usize| stories.iter().map(of).sum::<usize>();
    let seats = count(|story| story.paid.iter().map(|paid| paid.seats.len()).sum());
    let told = (seats, count(|story| story.paid.len()), count(|story| story.failed as usize));
    let much = told.0 * 10 > 3 * buyers && told.1 * 5 > buyers && told.2 * 100 > buyers;
    assert!(much, "hardly anything happened: {told:?}");
}

impl Found {
    /// What does not fit what the buyers were told.
    pub(super) fn judge(&self, stories: &[Story]) -> Result<(), String> {
        self.judge_seats(&owners(stories)?)?;
        self.judge_wallets(stories)?;
        self.judge_bank(stories)?;
        self.judge_mails(stories)
    }

    fn judge_seats(&self, owners: &BTreeMap<String, u64>) -> Result<(), String> {
        for (seat, status) in &self.seats {
            if status != if owners.contains_key(seat) { "SOLD" } else { "AVAILABLE" } {
                return Err(format!("{seat} is {status}; sold to {:?}", owners.get(seat)));
            }
        }
        if self.tickets != owners.len() as i64 {
            return Err(format!("{} tickets for {} seats", self.tickets, owners.len()));
        }
        Ok(())
    }

    fn judge_wallets(&self, stories: &[Story]) -> Result<(), String> {
        for story in stories {
            let (is, due) = (self.balances.get(&account(story)), balance(story));
            if is != Some(&due) {
                return Err(format!("a wallet of {is:?} that should have {due}: {story:?}"));
            }
        }
        Ok(())
    }

    /// Money at the bank is that of somebody's order, or went back.
    fn judge_bank(&self, stories: &[Story]) -> Result<(), String> {
        let paid = stories.iter().flat_map(|story| &story.paid);
        let mut due: BTreeMap<&str, &Purchase> =
            paid.filter_map(|paid| Some((paid.card.as_deref()?, paid))).collect();
        for payment in &self.bank {
            let paid = due.remove(payment["paymentKey"].as_str().unwrap_or_default());
            let taken = (&payment["captures"], &payment["doubles"], &payment["balanceAmount"]);
            let right = match paid {
                Some(paid) => taken == (&json!(1), &json!(0), &json!(paid.amount - paid.refunded)),
                None => payment["captures"] == 0 || payment["balanceAmount"] == 0,
            };
            if !right {
                return Err(format!("the bank has {payment}; told was {paid:?}"));
            }
        }
        if due.is_empty() { Ok(()) } else { Err(format!("not at the bank: {due:?}")) }
    }

    /// One for each purchase, and one more where some of it was given back.
    fn judge_mails(&self, stories: &[Story]) -> Result<(), String> {
        for story in stories {
            let address = format!("buyer{}@example.org", account(story));
            for paid in &story.paid {
                let of = self.mails.iter().filter(|(_, text)| text.contains(&paid.order));
                let right = of.clone().count() == 1 + usize::from(paid.refunded > 0);
                if !right || of.clone().any(|(to, _)| *to != address) {
                    return Err(format!("mails of {paid:?} to {address}: {:?}", of.collect::<Vec<_>>()));
                }
            }
        }
        Ok(())
    }
}

/// Who has which seat, by what the buyers were told.
fn owners(stories: &[Story]) -> Result<BTreeMap<String, u64>, String> {
    let mut owners = BTreeMap::new();
    for story in stories {
        for seat in story.paid.iter().flat_map(|purchase| &purchase.seats) {
            if let Some(other) = owners.insert(seat.clone(), story.buyer) {
                return Err(format!("{seat} was sold to {other} and to {}", story.buyer));
            }
        }
    }
    Ok(owners)
}

fn account(story: &Story) -> String {
    AccountId::from_bits(u128::from(story.buyer) + 1).to_string()
}

/// What a wallet holds after this story.
fn balance(story: &Story) -> i64 {
    let spent = story.paid.iter().filter(|paid| paid.card.is_none()).map(|paid| paid.amount - paid.refunded);
    points(story.buyer) - spent.sum::<i64>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{crowd, quick, settings};
    use super::*;
    use crate::support::booking::Database;
    use crate::support::toss;

    async fn run(db: &Db, sql: &'static str, account: &str) {
        let mut tx = db.begin().await.expect("a transaction");
        sqlx::query(sql).bind(account.to_owned()).execute(&mut *tx).await.expect("runs");
        tx.commit().await.expect("commits");
    }

    #[track_caller]
    fn finds(found: &Found, stories: &[Story], what: &str) {
        let why = found.judge(stories).expect_err(what);
        assert!(why.contains(what), "{why}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whatever_is_planted_after_a_sale_is_found() {
        let sink = Sink::start().await;
        let office = toss::idle_office_with(Database::File, quick, settings(&sink, None)).await;
        let (office, bank) = office.expect("SQLite is always there");
        tokio::spawn(Arc::clone(&office.booking).run(office.stop.clone()));
        let mut stories = crowd(&office, &bank, 60, 1, std::future::pending()).await;
        at_rest(&office, 1).await;
        let found = look(&office, &bank, &sink).await;
        assert_eq!(found.judge(&stories), Ok(()));
        much_happened(&stories, 60);

        let db = Db::open(&office.database).await.expect("the same database");
        let one = account(&stories[0]);
        run(&db, "UPDATE wallets SET balance = balance + 1 WHERE account_id = $1", &one).await;
        finds(&look(&office, &bank, &sink).await, &stories, "a wallet of");
        run(&db, "UPDATE wallets SET balance = balance - 1 WHERE account_id = $1", &one).await;

        let buyer = stories.iter().find(|story| !story.paid.is_empty()).expect("somebody bought");
        let (buyer, order) = (account(buyer), buyer.paid[0].order.clone());
        run(&db, "UPDATE tickets SET status = 'VOID' WHERE account_id = $1", &buyer).await;
        finds(&look(&office, &bank, &sink).await, &stories, "tickets for");
        run(
            &db,
            "UPDATE tickets SET status = 'VALID' WHERE account_id = $1 AND seat_idx IN
                  (SELECT idx FROM seats WHERE status = 'SOLD')",
            &buyer,
        )
        .await;

        // A capture of nobody's order.
        let agreed = json!({"orderId": "of-nobody", "amount": 1_000});
        let key = bank.client.post("/stand-in/payments", agreed).await.expect(201).text("paymentKey");
        let confirm = json!({"paymentKey": key, "orderId": "of-nobody", "amount": 1_000});
        bank.merchant("/v1/payments/confirm", confirm).await.expect(200);
        finds(&look(&office, &bank, &sink).await, &stories, "the bank has");
        let cancel = format!("/v1/payments/{key}/cancel");
        bank.merchant(&cancel, json!({"cancelReason": "planted"})).await.expect(200);
        let found = look(&office, &bank, &sink).await;
        assert_eq!(found.judge(&stories), Ok(()));

        let at = found.mails.iter().position(|(_, text)| text.contains(&order)).expect("a mail");
        let mut missing = found.clone();
        let (_, text) = missing.mails.remove(at);
        finds(&missing, &stories, "mails of");
        missing.mails.push(("somebody.else@example.org".to_owned(), text));
        finds(&missing, &stories, "mails of");
        let mut double = found.clone();
        double.mails.push(double.mails[at].clone());
        finds(&double, &stories, "mails of");

        // A buyer who was told nothing of a purchase, and one who was told too much.
        let silent = stories.iter().position(|story| account(story) == buyer).expect("the same");
        let told = stories[silent].paid.remove(0);
        assert!(found.judge(&stories).is_err());
        stories[silent].paid.push(told.clone());
        let other = (silent + 1) % stories.len();
        stories[other].paid.push(told);
        finds(&found, &stories, "was sold to");
    }
}
