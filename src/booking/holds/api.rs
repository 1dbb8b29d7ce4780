//! Holding, prolonging and giving back seats over HTTP.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{AppendHeaders, IntoResponse};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Hold, HoldId, Kept, SeatIndex, Wanted};
use crate::booking::accounts::auth::Caller;
use crate::booking::db::{DbError, RowExt as _, millis};
use crate::booking::events::{Chair, Layout};
use crate::booking::pass::ThroughGate;
use crate::booking::problem::{Body, Code, Path, Problem};
use crate::booking::{Booking, COMMAND};
use crate::domain::best_available::{self, Arrangement, FreeSeats};
use crate::domain::order::AccountId;
use crate::domain::seat::SeatStatus;
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

/// Times a choice is made anew after somebody else took part of it; a crowd of a
/// thousand that spreads out needs a few.
const TRIES: u32 = 64;
/// What the gate adds to a hold's time, so that the pass outlives the payment.
const CHECKOUT_SECONDS: u64 = 60;

/// Which seats: named ones, or the best of what is left.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewHold {
    /// Seat ids, no two alike.
    #[serde(default)]
    #[schema(example = json!(["A-1-10", "A-1-11"]))]
    seats: Option<Vec<String>>,
    /// So many, chosen for the caller.
    #[serde(default)]
    best: Option<BestOf>,
    /// Asks for places made for wheelchairs and those with them; others do not
    /// get such places, and whoever asks gets no other.
    #[serde(default)]
    accessible: bool,
}

/// What the best seats are chosen from.
#[derive(Debug, Deserialize, ToSchema)]
pub struct BestOf {
    /// How many, side by side if possible.
    #[schema(example = 2, minimum = 1)]
    count: u32,
    /// Only this section.
    #[serde(default)]
    section: Option<String>,
    /// The most one seat may cost.
    #[serde(default)]
    max_price: Option<i64>,
}

/// A hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldView {
    hold_id: String,
    event_id: String,
    /// Seat ids.
    seats: Vec<String>,
    /// In ms since the Unix epoch.
    expires_at: u64,
    /// Which hold of the event this is; only grows.
    epoch: u64,
    /// Whether the seats are side by side in one row.
    together: bool,
    /// How they lie: `adjacent`, `same_row`, `near_rows` or `apart`.
    arrangement: &'static str,
}

/// When a prolonged hold ends.
#[derive(Debug, Serialize, ToSchema)]
pub struct Extended {
    hold_id: String,
    /// In ms since the Unix epoch.
    expires_at: u64,
    /// Whether this is as long as it can get.
    last: bool,
}

/// Keeps seats for the caller: all of them, or none.
#[utoipa::path(post, path = "/api/events/{id}/holds", tag = "holds", request_body = NewHold,
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 201, body = HoldView),
              (status = 403, description = "pass_required"), (status = 404, description = "not_found"),
              (status = 409, description = "seats_taken, none_left, ticket_limit, accessible_only or sale_not_open"),
              (status = 422, description = "too_many_seats, unknown_seat or invalid")))]
pub async fn hold(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    caller: Caller,
    Path(event): Path<String>,
    Body(new): Body<NewHold>,
) -> Result<impl IntoResponse, Problem> {
    let mut layout = booking.layout(&event).await?;
    let now = booking.now();
    if now < layout.sale_opens_at {
        return Err(Problem::new(Code::SaleNotOpen).with("sale_opens_at", layout.sale_opens_at.as_millis()));
    }
    let owned = booking.owned(&layout, caller.account).await?;
    let buyer = Buyer { account: caller.account, owned, accessible: new.accessible };
    let hold = match new {
        NewHold { seats: Some(ids), best: None, .. } => {
            let seats = booking.named_seats(&layout, &ids)?;
            check_accessible(&layout, &seats, buyer.accessible)?;
            booking.hold_seats(&layout, &buyer, seats, now).await?
        }
        NewHold { seats: None, best: Some(best), .. } => {
            booking.hold_best(&mut layout, &buyer, &best, now).await?
        }
        _ => return Err(Problem::new(Code::Invalid).because("expected either seats or best")),
    };
    let extend = hold.until.since(now).as_secs() + CHECKOUT_SECONDS;
    let view = view(&layout, &hold);
    Ok((StatusCode::CREATED, AppendHeaders([(COMMAND, format!("extend={extend}"))]), axum::Json(view)))
}

/// Prolongs the caller's hold, up to its longest life.
#[utoipa::path(post, path = "/api/holds/{id}/extend", tag = "holds", params(("id" = String, Path)),
    security(("bearer" = [])),
    responses((status = 200, body = Extended), (status = 404, description = "not_found")))]
pub async fn extend(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id: HoldId = id.parse().map_err(|_| Code::NotFound)?;
    let now = booking.now();
    let settings = &booking.settings;
    let Kept { hold, .. } =
        booking.holds.store.extend(id, caller.account, now, settings.hold_ttl, settings.hold_max).await?;
    booking.prolong_order(&hold).await?;
    let extend = hold.until.since(now).as_secs() + CHECKOUT_SECONDS;
    let last = hold.until < now + settings.hold_ttl;
    let body = Extended { hold_id: id.to_string(), expires_at: hold.until.as_millis(), last };
    Ok((AppendHeaders([(COMMAND, format!("extend={extend}"))]), axum::Json(body)))
}

/// Gives the caller's seats back.
#[utoipa::path(delete, path = "/api/holds/{id}", tag = "holds", params(("id" = String, Path)),
    security(("bearer" = [])),
    responses((status = 204), (status = 404, description = "not_found")))]
pub async fn release(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: HoldId = id.parse().map_err(|_| Code::NotFound)?;
    let Kept { hold, .. } = booking.holds.store.release(id, caller.account, booking.now()).await?;
    booking.drop_order(&hold).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who holds, and what they have of the event already.
struct Buyer {
    account: AccountId,
    owned: usize,
    accessible: bool,
}

/// Accessible places are kept for those who ask for them.
fn check_accessible(layout: &Layout, seats: &[SeatIndex], asked: bool) -> Result<(), Problem> {
    let kept = seats.iter().map(|seat| layout.chair(*seat)).filter(|chair| chair.accessible && !asked);
    let ids: Vec<_> = kept.map(|chair| chair.id.clone()).collect();
    if ids.is_empty() { Ok(()) } else { Err(Problem::new(Code::AccessibleOnly).with("seats", ids)) }
}

fn view(layout: &Layout, hold: &Hold) -> HoldView {
    let arrangement = best_available::arrangement(&layout.rows, &hold.seats);
    HoldView {
        hold_id: hold.id.to_string(),
        event_id: layout.id.to_string(),
        seats: hold.seats.iter().map(|seat| layout.chair(*seat).id.clone()).collect(),
        expires_at: hold.until.as_millis(),
        epoch: hold.epoch.as_u64(),
        together: arrangement == Arrangement::Adjacent,
        arrangement: match arrangement {
            Arrangement::Adjacent => "adjacent",
            Arrangement::SameRow => "same_row",
            Arrangement::NearRows => "near_rows",
            Arrangement::Apart => "apart",
        },
    }
}

impl Booking {
    /// Seats of the event that the account has bought; what it holds or is
    /// paying for, the hold store counts.
    pub(in crate::booking) async fn owned(
        &self,
        layout: &Layout,
        account: AccountId,
    ) -> Result<usize, DbError> {
        // By the account alone: SQLite would go through all orders of the event.
        let row = sqlx::query(
            "SELECT COUNT(*) AS owned FROM orders o JOIN order_items i ON i.order_id = o.id
             WHERE o.account_id = $1 AND i.refunded = 0
               AND CASE WHEN o.event_id = $2 THEN o.status END IN ('PAID', 'PARTIALLY_REFUNDED')",
        )
        .bind(account.to_string())
        .bind(layout.id.as_str())
        .fetch_one(self.db.read())
        .await?;
        Ok(usize::try_from(row.count("owned")?).unwrap_or(usize::MAX))
    }

    /// Between one and the most that one hold may have.
    pub(in crate::booking) fn check_count(&self, count: usize) -> Result<(), Problem> {
        let most = self.settings.hold_max_seats;
        match count {
            0 => Err(Problem::new(Code::Invalid).because("expected at least one seat")),
            _ if count > most => Err(Problem::new(Code::TooManySeats).with("max", most)),
            _ => Ok(()),
        }
    }

    fn named_seats(&self, layout: &Layout, ids: &[String]) -> Result<Vec<SeatIndex>, Problem> {
        self.check_count(ids.len())?;
        let unknown: Vec<_> = ids.iter().filter(|id| layout.seat(id).is_none()).cloned().collect();
        if !unknown.is_empty() {
            return Err(Problem::new(Code::UnknownSeat).with("seats", unknown));
        }
        let mut seen = HashSet::new();
        if !ids.iter().all(|id| seen.insert(id)) {
            return Err(Problem::new(Code::Invalid).because("seats: no two may be alike"));
        }
        Ok(ids.iter().filter_map(|id| layout.seat(id)).collect())
    }

    async fn hold_seats(
        &self,
        layout: &Layout,
        buyer: &Buyer,
        seats: Vec<SeatIndex>,
        now: Timestamp,
    ) -> Result<Hold, Problem> {
        let allowed = usize::try_from(self.settings.tickets_per_account).unwrap_or(usize::MAX);
        let wanted = Wanted {
            id: HoldId::of(&layout.id, uuid::Uuid::new_v4().as_u128()),
            owner: buyer.account,
            seats,
            until: now + self.settings.hold_ttl,
            cap: allowed.saturating_sub(buyer.owned),
        };
        self.holds.hold(layout, wanted, now).await
    }

    async fn hold_best(
        &self,
        layout: &mut Arc<Layout>,
        buyer: &Buyer,
        best: &BestOf,
        now: Timestamp,
    ) -> Result<Hold, Problem> {
        self.check_count(best.count as usize)?;
        let section =
            match &best.section {
                None => None,
                Some(called) => Some(layout.section(called).ok_or_else(|| {
                    Problem::new(Code::Invalid).because("section: there is none of that name")
                })?),
            };
        let prices: Vec<_> = layout.sections.iter().map(|section| section.price).collect();
        let wanted = |of: usize| {
            section.is_none_or(|section| section == of)
                && best.max_price.is_none_or(|max| prices[of] <= Money::new(max))
        };
        let grows = layout.expandable(wanted);
        for lost in 0..TRIES {
            let rows: Vec<_> =
                layout.rows.iter().filter(|row| wanted(row.section as usize)).cloned().collect();
            let seats = self.holds.seats(layout, now).await?;
            let suits = |(status, chair): (&SeatStatus, &Chair)| {
                *status == SeatStatus::Available && chair.accessible == buyer.accessible
            };
            let free: FreeSeats = seats.statuses.iter().zip(&layout.chairs).map(suits).collect();
            let lot = self.lot.lock().random();
            let Some(choice) = best_available::choose_in_a_crowd(&rows, &free, best.count, lot, lost) else {
                let section = grows.filter(|_| !buyer.accessible).ok_or(Code::NoneLeft)?;
                *layout = self.grow(layout, section, best.count).await?;
                continue;
            };
            match self.hold_seats(layout, buyer, choice.seats, now).await {
                Err(problem) if problem.code() == Code::SeatsTaken => {}
                other => return other,
            }
        }
        // A crowd took every choice while it was being made; there may be seats.
        Err(Problem::new(Code::Unavailable).retry_after(1))
    }

    /// Lets an order end with its prolonged hold.
    async fn prolong_order(&self, hold: &Hold) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query("UPDATE orders SET expires_at = $1 WHERE hold_id = $2 AND status = 'PENDING'")
            .bind(millis(hold.until))
            .bind(hold.id.to_string())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Ends an order whose seats were given back.
    async fn drop_order(&self, hold: &Hold) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "UPDATE orders SET status = 'CANCELLED', updated_at = $1
             WHERE hold_id = $2 AND status = 'PENDING'",
        )
        .bind(millis(self.now()))
        .bind(hold.id.to_string())
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
