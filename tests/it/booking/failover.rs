//! X29: a failover to a standby that had not heard of the last commits. The bank
//! has money for orders that are gone; the seats are free again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::support::booking::{TestBooking, until};
use crate::support::postgres::{OwnServer, url};
use crate::support::proxy::Proxy;
use crate::support::toss::{self, Bank};

/// By the office's clock.
const MENDED_WITHIN: u64 = 5 * 60;

async fn waits(standby_is_level: impl Fn() -> bool) {
    until(async || standby_is_level().then_some(())).await;
}

async fn balance(bank: &Bank, key: &str) -> i64 {
    bank.payment(key).await["balanceAmount"].as_i64().expect("an amount")
}

/// Money that the bank has for nothing.
async fn owed(office: &TestBooking, bank: &Bank, lost: &[(&str, &str)]) -> Vec<String> {
    let mut owed = Vec::new();
    for (key, seat) in lost {
        if balance(bank, key).await > 0 && office.status(seat).await != "SOLD" {
            owed.push((*seat).to_owned());
        }
    }
    owed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_lost_in_a_failover_cost_nobody_money_and_no_seat_has_two_owners() {
    let Some(mut primary) = OwnServer::start() else { return };
    primary.create("office");
    let wire = Proxy::to(primary.port()).await;
    let at = url(wire.port(), "office");
    let alone = |toss: &mut usher::config::Toss| toss.refund_unknown = true;
    let (office, bank) = toss::idle_office_at(at, alone, |_| {}).await;
    tokio::spawn(Arc::clone(&office.booking).run(office.stop.clone()));
    let (fan, other, next) = (office.fan(1_000_000).await, office.fan(0).await, office.fan(1_000_000).await);
    let kept = fan.ordered(&["A-1-1"]).await;
    let kept_key = bank.agree(&kept).await;
    let payment = fan.confirm(&kept, &kept_key).await.expect(202);
    assert_eq!(office.settled(&fan, &payment).await.json["status"], "COMPLETED");
    let ordered = fan.ordered(&["A-1-2"]).await;
    let mut standby = primary.standby();
    waits(|| primary.says("count(*) = 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"))
        .await;

    // From here on nothing reaches the standby.
    standby.stop_at_once();
    let ordered_key = bank.agree(&ordered).await;
    let payment = fan.confirm(&ordered, &ordered_key).await.expect(202);
    assert_eq!(office.settled(&fan, &payment).await.json["status"], "COMPLETED");
    let gone = other.ordered(&["A-1-3"]).await;
    let gone_key = bank.agree(&gone).await;
    let payment = other.confirm(&gone, &gone_key).await.expect(202);
    assert_eq!(office.settled(&other, &payment).await.json["status"], "COMPLETED");
    assert_eq!(fan.buy(&["A-1-4"]).await.json["status"], "COMPLETED");
    primary.kill();
    standby.start_again();
    standby.promote();
    wire.lead_to(standby.port());

    until(async || (office.client.get("/readyz").await.status == 200).then_some(())).await;
    let began = office.now_ms();
    let lost = [(ordered_key.as_str(), "A-1-2"), (gone_key.as_str(), "A-1-3")];
    // The minute's look at the holds, without the minute.
    until(async || office.booking.heal_once().await.ok().map(drop)).await;
    // Somebody takes one of the seats as soon as it is to be had, and pays for it.
    let mut taken = false;
    while !owed(&office, &bank, &lost).await.is_empty() || !taken {
        assert!(office.now_ms() - began <= MENDED_WITHIN * 1_000, "not mended in time");
        office.advance(1);
        tokio::time::sleep(Duration::from_millis(250)).await;
        let hold = if taken { continue } else { next.hold(&["A-1-3"]).await };
        if hold.status == 201 {
            let order = next.order(&hold).await.expect(201);
            let payment = next.pay(&order).await.expect(202);
            assert_eq!(next.paid(&payment).await.json["status"], "COMPLETED");
            taken = true;
        }
    }
    assert_eq!(bank.payment(&kept_key).await["balanceAmount"], kept.json["amount"]);
    assert_eq!(balance(&bank, &gone_key).await, 0, "its seat is another's now");
    for (key, _) in lost {
        bank.assert_taken_once(key).await;
    }
    // The wallet's money came back with the seat that it had bought.
    assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000);
    assert_eq!(office.status("A-1-4").await, "AVAILABLE");
    assert_eq!(office.stuck().await, Vec::<String>::new());
    assert!(office.booking.reconcile_once().await.expect("compares"));
    office.assert_sound().await;
    let tickets = next.get("/api/me/tickets").await.expect(200);
    assert_eq!(tickets.json["items"][0]["seat"], json!("A-1-3"));
}
