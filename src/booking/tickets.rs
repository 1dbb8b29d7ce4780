//! Tickets: what a buyer ends up with, and the signed code that opens the door.
//!
//! A code is the ticket's id and 128 bits of HMAC over it: nothing to look up
//! before a forged one is refused. Whether a ticket still counts is its row's
//! to say.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::Booking;
use super::accounts::auth::{Admin, Caller};
use super::db::{DbError, RowExt as _, millis};
use super::paging::Page;
use super::problem::{Body, Code, Path, Problem, Query};
use crate::domain::order::{OrderId, TicketId};

/// A ticket.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketView {
    ticket_id: String,
    /// The event's id.
    event: String,
    #[schema(example = "A-1-12")]
    seat: String,
    order_id: String,
    /// What is checked at the door.
    code: String,
    /// Where the code is as a picture: a path of this API.
    #[schema(example = "/api/me/tickets/00000000000000000000000000000001/qr")]
    qr: String,
    /// `VALID`, `USED` or `VOID`.
    #[schema(example = "VALID")]
    status: String,
    /// For people.
    title: String,
    /// For people.
    venue: String,
    /// In ms since the Unix epoch.
    starts_at: u64,
}

/// Tickets, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketList {
    items: Vec<TicketView>,
    /// For `cursor`; null at the end.
    next: Option<String>,
}

/// A code read at the door.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Checkin {
    code: String,
}

/// The caller's tickets, newest first.
#[utoipa::path(get, path = "/api/me/tickets", tag = "tickets", params(Page), security(("bearer" = [])),
    responses((status = 200, body = TicketList)))]
pub async fn mine(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<axum::Json<TicketList>, Problem> {
    let (before, before_id) = page.after()?;
    let rows = sqlx::query(
        "SELECT t.id, t.event_id, t.seat_id, t.order_id, t.status, t.created_at, e.title, e.venue, e.starts_at
         FROM tickets t JOIN events e ON e.id = t.event_id
         WHERE t.account_id = $1 AND (t.created_at < $2 OR (t.created_at = $2 AND t.id < $3))
         ORDER BY t.created_at DESC, t.id DESC LIMIT $4",
    )
    .bind(caller.account.to_string())
    .bind(before)
    .bind(before_id)
    .bind(i64::from(page.limit()) + 1)
    .fetch_all(booking.db.read())
    .await?;
    let shown = &rows[..rows.len().min(page.limit() as usize)];
    let next = match shown.last().filter(|_| rows.len() > shown.len()) {
        Some(last) => Some(format!("{}.{}", last.count("created_at")?, last.text("id")?)),
        None => None,
    };
    let items = shown.iter().map(|row| booking.ticket_view(row)).collect::<Result<_, _>>()?;
    Ok(axum::Json(TicketList { items, next }))
}

/// The code of one of the caller's tickets as a QR code, for a phone or paper.
#[utoipa::path(get, path = "/api/me/tickets/{id}/qr", tag = "tickets", params(("id" = String, Path)),
    security(("bearer" = [])),
    responses((status = 200, body = String, content_type = "image/svg+xml"),
              (status = 404, description = "not_found"), (status = 410, description = "void")))]
pub async fn qr(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id: TicketId = id.parse().map_err(|_| Code::NotFound)?;
    let row = sqlx::query("SELECT status FROM tickets WHERE id = $1 AND account_id = $2")
        .bind(id.to_string())
        .bind(caller.account.to_string())
        .fetch_optional(booking.db.read())
        .await?
        .ok_or(Code::NotFound)?;
    if row.text("status")? == "VOID" {
        return Err(Code::Void.into());
    }
    let picture = picture(&booking.codes.write(id)).ok_or(Code::Internal)?;
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "private, no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, picture))
}

/// A code as an SVG with its quiet zone. Level Q: readable with a quarter of it
/// scratched or folded.
fn picture(code: &str) -> Option<String> {
    let picture = QrCode::with_error_correction_level(code, EcLevel::Q).ok()?;
    Some(picture.render::<svg::Color<'_>>().min_dimensions(240, 240).build())
}

/// Lets the holder of a code in, once.
#[utoipa::path(post, path = "/api/checkins", tag = "tickets", request_body = Checkin,
    security(("bearer" = [])),
    responses((status = 200, body = TicketView), (status = 403, description = "forbidden"),
              (status = 404, description = "not_found"), (status = 409, description = "already_used"),
              (status = 410, description = "void")))]
pub async fn check_in(
    State(booking): State<Arc<Booking>>,
    _: Admin,
    Body(given): Body<Checkin>,
) -> Result<axum::Json<TicketView>, Problem> {
    let id = booking.codes.read(&given.code).ok_or(Code::NotFound)?;
    let mut tx = booking.db.begin().await?;
    let used =
        sqlx::query("UPDATE tickets SET status = 'USED', used_at = $1 WHERE id = $2 AND status = 'VALID'")
            .bind(millis(booking.now()))
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
    tx.commit().await?;
    let row = sqlx::query(
        "SELECT t.id, t.event_id, t.seat_id, t.order_id, t.status, e.title, e.venue, e.starts_at
         FROM tickets t JOIN events e ON e.id = t.event_id WHERE t.id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(booking.db.read())
    .await?
    .ok_or(Code::NotFound)?;
    match row.text("status")?.as_str() {
        _ if used.rows_affected() == 1 => Ok(axum::Json(booking.ticket_view(&row)?)),
        "VOID" => Err(Code::Void.into()),
        _ => Err(Code::AlreadyUsed.into()),
    }
}

impl Booking {
    /// The tickets of one order, by seat.
    pub(super) async fn tickets_of_order(&self, order: OrderId) -> Result<Vec<TicketView>, DbError> {
        let rows = sqlx::query(
            "SELECT t.id, t.event_id, t.seat_id, t.order_id, t.status, e.title, e.venue, e.starts_at
             FROM tickets t JOIN events e ON e.id = t.event_id WHERE t.order_id = $1 ORDER BY t.seat_idx",
        )
        .bind(order.to_string())
        .fetch_all(self.db.read())
        .await?;
        rows.iter().map(|row| self.ticket_view(row)).collect()
    }

    fn ticket_view(&self, row: &AnyRow) -> Result<TicketView, DbError> {
        let id: TicketId = row.parsed("id")?;
        Ok(TicketView {
            ticket_id: id.to_string(),
            event: row.text("event_id")?,
            seat: row.text("seat_id")?,
            order_id: row.text("order_id")?,
            code: self.codes.write(id),
            qr: format!("/api/me/tickets/{id}/qr"),
            status: row.text("status")?,
            title: row.text("title")?,
            venue: row.text("venue")?,
            starts_at: row.count("starts_at")?,
        })
    }
}

/// Makes and reads the codes on tickets.
pub struct Codes(Hmac<Sha256>);

impl std::fmt::Debug for Codes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codes(hidden)")
    }
}

impl Codes {
    /// With this key, of any length.
    ///
    /// # Errors
    /// The library's; not for HMAC.
    pub fn new(key: &[u8]) -> Result<Self, hmac::digest::InvalidLength> {
        Ok(Self(Hmac::new_from_slice(key)?))
    }

    /// `ID.MAC`: 32 hex digits, a dot, 22 characters of base64url.
    #[must_use]
    pub fn write(&self, ticket: TicketId) -> String {
        let id = ticket.to_string();
        let mac = self.0.clone().chain_update(id.as_bytes()).finalize().into_bytes();
        format!("{id}.{}", URL_SAFE_NO_PAD.encode(&mac[..16]))
    }

    /// The ticket of a code we wrote.
    #[must_use]
    pub fn read(&self, code: &str) -> Option<TicketId> {
        let (id, mac) = code.trim().split_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok().filter(|mac| mac.len() == 16)?;
        self.0.clone().chain_update(id.as_bytes()).verify_truncated_left(&mac).ok()?;
        id.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_one_svg_with_a_quiet_zone() {
        let code = Codes::new(b"key").expect("any length").write(TicketId::from_bits(42));
        let svg = picture(&code).expect("a code fits");
        assert!(svg.contains("<svg") && svg.ends_with("</svg>") && !svg.contains("<script"));
        assert_ne!(svg, picture(&code[1..]).expect("a code fits"));
    }

    #[test]
    fn only_codes_we_wrote_are_read() {
        let codes = Codes::new(b"key").expect("any length");
        let code = codes.write(TicketId::from_bits(42));
        assert_eq!(codes.read(&code), Some(TicketId::from_bits(42)));
        assert_eq!(Codes::new(b"other").expect("any length").read(&code), None);
        let other = code.replacen('a', "b", 1);
        assert!(codes.read(&other).is_none());
        for bad in ["", ".", "x.y", &code[..40], &format!("{code}A")] {
            assert_eq!(codes.read(bad), None, "{bad}");
        }
    }
}
