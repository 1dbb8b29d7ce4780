//! Seat changes, as a live map would hear them.

use tokio::sync::broadcast::Receiver;
use usher::booking::SAMPLE_EVENT;
use usher::booking::live::SeatChange;
use usher::domain::seat::SeatStatus;

use super::on_each_database;
use crate::support::booking::{Database, TestBooking};

async fn next(changes: &mut Receiver<SeatChange>) -> SeatChange {
    let change = tokio::time::timeout(std::time::Duration::from_secs(20), changes.recv()).await;
    change.expect("a change within 20 s").expect("nothing was lost")
}

on_each_database! {
    async fn a_sale_and_its_return_are_heard_in_order(office) {
        let fan = office.fan(1_000_000).await;
        fan.buy(&["A-2-2"]).await;
        let mut changes = office.booking.seat_changes().await.expect("a subscription");
        let paid = fan.buy(&["A-1-1"]).await;
        let sold = next(&mut changes).await;
        assert_eq!((sold.event.as_str(), &*sold.seat, sold.status), (SAMPLE_EVENT, "A-1-1", SeatStatus::Sold));
        let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
        fan.post(&cancel, serde_json::json!({})).await.expect(200);
        let freed = next(&mut changes).await;
        assert_eq!((&*freed.seat, freed.status), ("A-1-1", SeatStatus::Available));
        assert!(freed.version > sold.version && freed.epoch == sold.epoch);
        assert_eq!(fan.buy(&["A-1-1"]).await.json["status"], "COMPLETED");
        let again = next(&mut changes).await;
        assert!(again.version > freed.version && again.epoch > freed.epoch);
    }
}

on_each_database! {
    on shared

    async fn a_sale_of_another_office_is_heard_too(office) {
        let mut changes = office.booking.seat_changes().await.expect("a subscription");
        let (_twin, there) = office.twin().await;
        let fan = office.fan(1_000_000).await.at(&there);
        fan.buy(&["B-1-1", "B-1-2"]).await;
        let seats = [next(&mut changes).await.seat, next(&mut changes).await.seat];
        assert_eq!(seats.map(|seat| seat.to_string()), ["B-1-1", "B-1-2"]);
    }
}

/// PostgreSQL commits in another order than it gives numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commits_late_is_not_overlooked() {
    let Some(office) = TestBooking::open(Database::Postgres).await else { return };
    let db = usher::booking::db::Db::open(&office.database).await.expect("the same database");
    let mut changes = office.booking.seat_changes().await.expect("a subscription");
    let insert = "INSERT INTO outbox (kind, subject, lane, body, created_at)
                  VALUES ('seat.sold', 'winter-night-live', 0, $1, 1)";
    let (mut slow, mut quick) = (db.begin().await.expect("begins"), db.begin().await.expect("begins"));
    for (tx, seat) in [(&mut slow, "A-1-1"), (&mut quick, "A-1-2")] {
        let body = format!(r#"{{"seats": ["{seat}"], "epoch": 1}}"#);
        sqlx::query(insert).bind(body).execute(&mut **tx).await.expect("a row");
    }
    quick.commit().await.expect("commits");
    let second = next(&mut changes).await;
    assert_eq!(&*second.seat, "A-1-2");
    slow.commit().await.expect("commits");
    let first = next(&mut changes).await;
    assert_eq!((&*first.seat, first.version + 1), ("A-1-1", second.version));
}
