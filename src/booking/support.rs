//! Support: customers wait for a counsellor, and talk.
//!
//! Owns the calls of both sides. Who answers whom is changed in [`desk`], one [`turn`]
//! at a time; what was said is in [`talk`]; open sockets follow one [`picture`] of
//! both. All of it is rows, so that any process serves anybody and a restart ends no
//! conversation.

mod desk;
mod figures;
mod message;
mod picture;
mod socket;
mod talk;
mod turn;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::Booking;
use super::accounts::Role;
use super::accounts::address::Address;
use super::accounts::auth::Caller;
use super::problem::{Body, Code, Path, Problem, Query};
use super::socket::handshake;
use crate::domain::matching::{CounsellorState, RequestId, SessionId};
use crate::domain::order::AccountId;
use picture::Follower;
use socket::Socket;

/// Characters of a topic.
const TOPIC: usize = 200;
/// Characters of a summary.
const SUMMARY: usize = 4_000;

/// Open sockets of this process, and the picture they follow.
pub(super) struct Support(Follower);

impl Support {
    /// At most so many sockets, of all and of one address.
    pub(super) fn new(sockets: usize, per_address: usize) -> Self {
        Self(Follower::new(sockets, per_address))
    }
}

/// What a customer wants to be helped with.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewRequest {
    /// 1 to 200 characters.
    #[schema(example = "My ticket does not open", min_length = 1, max_length = 200)]
    topic: String,
}

/// A customer's request as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestView {
    request_id: String,
    topic: String,
    /// `QUEUED`, `MATCHED` or `ENDED`.
    #[schema(example = "QUEUED")]
    state: &'static str,
    /// 1 is next; null when not queued.
    position: Option<u64>,
    /// The conversation, once there is one.
    session_id: Option<String>,
    /// In ms since the Unix epoch.
    created_at: u64,
}

/// Asks to be answered; who waits already, or is being answered, is told so instead
/// of waiting twice.
#[utoipa::path(post, path = "/api/support/requests", tag = "support", request_body = NewRequest,
    security(("bearer" = [])),
    responses((status = 201, body = RequestView),
              (status = 200, body = RequestView, description = "the caller's live request"),
              (status = 403, description = "forbidden: counsellors do not ask"),
              (status = 422, description = "invalid")))]
pub async fn ask(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Body(new): Body<NewRequest>,
) -> Result<(StatusCode, axum::Json<RequestView>), Problem> {
    if caller.role == Role::Counsellor {
        return Err(Code::Forbidden.into());
    }
    let topic = words("topic", &new.topic, TOPIC)?;
    let (id, is_new) = booking.request_support(caller.account, topic).await?;
    let view = booking.support_request(caller.account, id).await?.ok_or(Code::Internal)?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, axum::Json(view)))
}

/// One request of the caller; asking is a sign of life.
#[utoipa::path(get, path = "/api/support/requests/{id}", tag = "support", params(("id" = String, Path)),
    security(("bearer" = [])),
    responses((status = 200, body = RequestView), (status = 404, description = "not_found")))]
pub async fn request(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<RequestView>, Problem> {
    let id: RequestId = id.parse().map_err(|_| Code::NotFound)?;
    let view = booking.support_request(caller.account, id).await?.ok_or(Code::NotFound)?;
    booking.hear_of(&[caller.account]).await?;
    Ok(axum::Json(view))
}

/// Waits no longer, or ends the conversation.
#[utoipa::path(delete, path = "/api/support/requests/{id}", tag = "support", params(("id" = String, Path)),
    security(("bearer" = [])), responses((status = 204), (status = 404, description = "not_found")))]
pub async fn withdraw(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: RequestId = id.parse().map_err(|_| Code::NotFound)?;
    booking.withdraw_request(caller.account, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A counsellor's choice.
#[derive(Debug, Deserialize, ToSchema)]
pub struct StateChange {
    /// `OFFLINE`, `ONLINE` or `READY`.
    #[schema(example = "READY")]
    state: String,
}

/// A counsellor as it sees itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct CounsellorView {
    account_id: String,
    /// `OFFLINE`, `ONLINE`, `READY`, `BUSY` or `AFTER_CALL`.
    #[schema(example = "READY")]
    state: &'static str,
    /// Since when, in ms since the Unix epoch.
    since_at: u64,
    /// The states that may be chosen now.
    allowed: Vec<&'static str>,
    /// The conversation under way.
    session_id: Option<String>,
    /// When it was taken, in ms since the Unix epoch; null while it is only offered.
    accepted_at: Option<u64>,
}

/// The caller's state; asking is a sign of life.
#[utoipa::path(get, path = "/api/counselors/me", tag = "support", security(("bearer" = [])),
    responses((status = 200, body = CounsellorView), (status = 403, description = "forbidden")))]
pub async fn counsellor(
    State(booking): State<Arc<Booking>>,
    Counsellor(account): Counsellor,
) -> Result<axum::Json<CounsellorView>, Problem> {
    booking.hear_of(&[account]).await?;
    Ok(axum::Json(booking.counsellor_view(account).await?))
}

/// Goes to another state; READY is given whoever waits longest at once.
///
/// `BUSY` comes with a session and `AFTER_CALL` with its end: nobody chooses them.
#[utoipa::path(patch, path = "/api/counselors/me", tag = "support", request_body = StateChange,
    security(("bearer" = [])),
    responses((status = 200, body = CounsellorView), (status = 403, description = "forbidden"),
              (status = 409, description = "illegal_state, with `allowed`"), (status = 422, description = "invalid")))]
pub async fn change(
    State(booking): State<Arc<Booking>>,
    Counsellor(account): Counsellor,
    Body(change): Body<StateChange>,
) -> Result<axum::Json<CounsellorView>, Problem> {
    let names = CounsellorState::ALL.map(CounsellorState::as_str);
    let wanted = CounsellorState::from_name(&change.state)
        .ok_or_else(|| Problem::new(Code::Invalid).because(format!("state: expected one of {names:?}")))?;
    booking.choose_state(account, wanted).await?;
    Ok(axum::Json(booking.counsellor_view(account).await?))
}

/// What a counsellor leaves behind.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Ending {
    /// What it was about and what was done, at most 4,000 characters.
    #[serde(default)]
    #[schema(example = "Sent the ticket again.", max_length = 4_000)]
    summary: Option<String>,
}

/// A session that is over.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedSession {
    session_id: String,
    /// `ENDED`.
    #[schema(example = "ENDED")]
    state: &'static str,
    /// `customer`, `counsellor` or `system`: somebody was gone.
    by: String,
    /// In ms since the Unix epoch.
    ended_at: u64,
    summary: Option<String>,
}

/// Ends a session of the caller's, whose state becomes AFTER_CALL.
///
/// After the customer has ended it, it adds the summary; what was done is not done
/// again.
#[utoipa::path(post, path = "/api/support/sessions/{id}/end", tag = "support", request_body = Ending,
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = EndedSession), (status = 403, description = "forbidden"),
              (status = 404, description = "not_found"), (status = 422, description = "invalid")))]
pub async fn end(
    State(booking): State<Arc<Booking>>,
    Counsellor(account): Counsellor,
    Path(id): Path<String>,
    Body(ending): Body<Ending>,
) -> Result<axum::Json<EndedSession>, Problem> {
    let id: SessionId = id.parse().map_err(|_| Code::NotFound)?;
    let summary = ending.summary.as_deref().map(|text| words("summary", text, SUMMARY)).transpose()?;
    Ok(axum::Json(booking.end_session(account, id, summary).await?))
}

/// A day of the calendar, UTC.
#[derive(Debug, Deserialize)]
pub struct Day {
    date: String,
}

/// A counsellor's figures of one day.
#[derive(Debug, Serialize, ToSchema)]
pub struct Figures {
    /// As asked for.
    #[schema(example = "2026-12-24")]
    date: String,
    /// Sessions that ended on that day.
    sessions: u64,
    /// From accepting to the end; null without sessions.
    mean_handling_ms: Option<u64>,
    /// From asking to the offer; null without sessions.
    mean_waiting_ms: Option<u64>,
}

/// What the caller did on one day, UTC: sessions that ended on it, and their times.
#[utoipa::path(get, path = "/api/counselors/me/kpi", tag = "support", security(("bearer" = [])),
    params(("date" = String, Query, description = "YYYY-MM-DD", example = "2026-12-24")),
    responses((status = 200, body = Figures), (status = 400, description = "malformed: no such day"),
              (status = 403, description = "forbidden")))]
pub async fn kpi(
    State(booking): State<Arc<Booking>>,
    Counsellor(account): Counsellor,
    Query(day): Query<Day>,
) -> Result<axum::Json<Figures>, Problem> {
    Ok(axum::Json(booking.figures_of(account, &day.date).await?))
}

/// The conversation: a WebSocket for both sides.
///
/// JSON texts. The first word is `{"type":"auth","token":JWT}`. The server says
/// `{"type":"queued","position":N}`, `{"type":"matched","session_id":…,"with":NAME}`,
/// `{"type":"message","id":N,"session_id":…,"from":"customer","text":…,"at":MS}` (to both
/// sides; ids count from 1 in a session), `{"type":"typing","session_id":…,"from":…}`,
/// `{"type":"read","session_id":…,"id":N,"from":…}`,
/// `{"type":"ended","session_id":…,"by":"customer"}` and, when something could not be
/// done, `{"type":"error","code":…}`. A client says `{"type":"accept","session_id":…}` (a
/// counsellor, within 30 s, or the customer is offered to another),
/// `{"type":"message","session_id":…,"text":…}`, `{"type":"typing","session_id":…}`,
/// `{"type":"read","id":N}`, `{"type":"end","session_id":…,"summary":…}` and, after a
/// reconnect, `{"type":"resume","session_id":…,"after":N}` to be told only what came after
/// message N. Closes: as the live map's; 4401 without a good token.
#[utoipa::path(get, path = "/api/support/live", tag = "support",
    responses((status = 101, description = "the socket is open"),
              (status = 426, description = "upgrade_required"), (status = 503, description = "unavailable")))]
pub async fn live(
    State(booking): State<Arc<Booking>>,
    Address(address): Address,
    mut request: Request,
) -> Result<Response, Problem> {
    let (answer, upgraded) = handshake(&mut request)?;
    let follower = &booking.support.0;
    let too_many = || Problem::new(Code::Unavailable).retry_after(5);
    let slot = follower.slots.take(address).ok_or_else(too_many)?;
    let office = Arc::clone(&booking);
    follower.tasks.spawn(async move {
        let _slot = slot;
        if let Ok(io) = upgraded.await {
            Socket::new(office, TokioIo::new(io)).run().await;
        }
    });
    Ok(answer)
}

/// A signed-in counsellor.
#[derive(Clone, Copy, Debug)]
pub struct Counsellor(AccountId);

impl axum::extract::FromRequestParts<Arc<Booking>> for Counsellor {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        booking: &Arc<Booking>,
    ) -> Result<Self, Problem> {
        let caller = Caller::from_parts(parts, booking).await?;
        if caller.role == Role::Counsellor { Ok(Self(caller.account)) } else { Err(Code::Forbidden.into()) }
    }
}

/// The text without the space around it, 1 to `most` characters.
fn words<'a>(field: &str, text: &'a str, most: usize) -> Result<&'a str, Problem> {
    let text = text.trim();
    if (1..=most).contains(&text.chars().count()) {
        return Ok(text);
    }
    Err(Problem::new(Code::Invalid).because(format!("{field}: expected 1 to {most} characters")))
}

impl Booking {
    /// Keeps the picture, looks after those who are gone, and says goodbye at the end.
    pub(super) async fn run_support(self: Arc<Self>, shutdown: CancellationToken) {
        self.follow_support(&shutdown).await;
        let follower = &self.support.0;
        follower.closing.cancel();
        follower.tasks.close();
        follower.tasks.wait().await;
    }
}
