//! What an order looks like to its owner: enough to show it long after the pass
//! has ended, when the event itself can no longer be asked for.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Item, Order};
use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _};
use crate::booking::events::{Layout, SoldAs};
use crate::booking::problem::{Code, Problem};
use crate::domain::order::{OrderId, OrderStatus};
use crate::domain::time::Timestamp;

/// An order.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderView {
    order_id: String,
    event_id: String,
    /// The hold that it was made of.
    hold_id: String,
    /// `PENDING`, `PAYING`, `PAID`, `EXPIRED`, `CANCELLED`, `REFUNDED` or `PARTIALLY_REFUNDED`.
    #[schema(example = "PENDING")]
    status: &'static str,
    /// In the currency's smallest unit.
    amount: i64,
    /// What came back, in the currency's smallest unit.
    refunded: i64,
    currency: String,
    /// When the hold ends, in ms since the Unix epoch.
    expires_at: u64,
    /// The latest `expires_at` that prolonging the hold can bring, in ms since the
    /// Unix epoch; null unless it waits to be paid.
    extendable_until_at: Option<u64>,
    /// In ms since the Unix epoch.
    created_at: u64,
    /// `hall` (seats) or `admission` (any place will do).
    #[schema(example = "hall")]
    kind: &'static str,
    /// The event's, for people.
    title: String,
    /// The event's, for people.
    venue: String,
    /// The event's, in ms since the Unix epoch.
    starts_at: u64,
    /// Until then it can be given back, in ms since the Unix epoch.
    refund_until_at: u64,
    /// Percent of the price that is kept then.
    refund_fee_percent: u32,
    /// The newest payment; null before the first.
    payment: Option<LastPayment>,
    items: Vec<ItemView>,
}

/// The newest payment of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastPayment {
    /// For `GET /api/payments/{request_id}/status`.
    request_id: String,
    /// `points` or `card`.
    #[schema(example = "points")]
    method: &'static str,
    /// `PENDING`, `COMPLETED` or `FAILED`.
    #[schema(example = "COMPLETED")]
    status: String,
    /// Why it failed, such as `insufficient_funds`.
    reason: Option<String>,
}

/// One seat of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemView {
    #[schema(example = "A-1-12")]
    seat: String,
    /// The section's id.
    section: String,
    /// For people.
    section_name: String,
    row: String,
    number: u32,
    /// In the currency's smallest unit.
    price: i64,
    /// Whether its money went back, apart from the fee.
    refunded: bool,
    /// What was kept of the price then.
    fee: i64,
}

fn item(layout: &Layout, item: Item) -> ItemView {
    let chair = layout.chairs.get(item.seat.at());
    ItemView {
        seat: item.seat_id,
        section: item.section,
        section_name: chair.map(|chair| layout.sections[chair.section].name.clone()).unwrap_or_default(),
        row: chair.map(|chair| chair.row.clone()).unwrap_or_default(),
        number: chair.map_or(0, |chair| chair.number),
        price: item.price.units(),
        refunded: item.refunded,
        fee: item.fee.units(),
    }
}

impl Booking {
    /// The order with what its owner needs to know of the event.
    pub(super) async fn view_of(&self, order: Order) -> Result<OrderView, Problem> {
        // An event takes its unpaid orders with it.
        let layout = self.layouts.get(&order.event).await?.ok_or(Code::NotFound)?;
        let payment = self.last_payment(order.id).await?;
        let items = self.items(order.id).await?;
        Ok(self.show(&layout, order, items, payment).await)
    }

    /// What is known of an order, for its owner.
    pub(super) async fn show(
        &self,
        layout: &Layout,
        order: Order,
        items: Vec<Item>,
        payment: Option<LastPayment>,
    ) -> OrderView {
        let rules = self.refund_rules(layout);
        let extendable_until_at = match order.status {
            OrderStatus::Pending => self.extendable_until(&order).await.map(Timestamp::as_millis),
            _ => None,
        };
        OrderView {
            order_id: order.id.to_string(),
            event_id: order.event.to_string(),
            hold_id: order.hold.to_string(),
            status: order.status.as_str(),
            amount: order.amount.units(),
            refunded: order.refunded.units(),
            currency: order.currency,
            expires_at: order.expires_at.as_millis(),
            extendable_until_at,
            created_at: order.created_at.as_millis(),
            kind: if layout.sold_as == SoldAs::Admission { "admission" } else { "hall" },
            title: layout.title.clone(),
            venue: layout.venue.clone(),
            starts_at: layout.starts_at.as_millis(),
            refund_until_at: rules.until.as_millis(),
            refund_fee_percent: rules.fee_percent,
            payment,
            items: items.into_iter().map(|each| item(layout, each)).collect(),
        }
    }

    /// The end of the hold's longest life, while it is there.
    async fn extendable_until(&self, order: &Order) -> Option<Timestamp> {
        let kept = self.holds.find(order.hold, order.account, self.now()).await.ok()?;
        Some(kept.hold.until.max(kept.hold.began_at + self.settings.hold_max))
    }

    async fn last_payment(&self, order: OrderId) -> Result<Option<LastPayment>, DbError> {
        let row = sqlx::query(
            "SELECT id, method, status, reason FROM payments WHERE order_id = $1
             ORDER BY created_at DESC, id DESC LIMIT 1",
        )
        .bind(order.to_string())
        .fetch_optional(self.db.read())
        .await?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(LastPayment {
                request_id: row.text("id")?,
                method: if row.text("method")? == "toss" { "card" } else { "points" },
                status: row.text("status")?,
                reason: row.maybe_text("reason")?,
            })
        };
        row.as_ref().map(read).transpose()
    }
}
