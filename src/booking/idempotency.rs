//! `Idempotency-Key`: the same request sent again gets the same answer and has
//! one effect.
//!
//! The first request takes the key under a lease, so that a crash does not lock
//! it for a day; a repetition waits a moment for the answer and replays it.
//! Answers that say nothing lasting (our own faults, missing sign-in or pass,
//! too many attempts) are not kept: the key is free again. Tokens are never
//! written down, so signing in takes no key.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::accounts::auth::Caller;
use super::db::{DbError, RowExt as _, millis};
use super::problem::{Code, Problem};
use super::{Booking, COMMAND};
use crate::domain::time::Timestamp;

const HEADER: &str = "idempotency-key";
/// Answers are kept this long.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// A request under way keeps its key this long: a little longer than any
/// request may take ([`super::openapi`]), and no longer after a crash.
const LEASE: Duration = Duration::from_secs(35);
/// A repetition looks this often, this far apart, for the first one's answer.
const LOOKS: u32 = 60;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Bodies larger than this are not for this API.
pub(super) const BODY_BYTES: usize = 2 * 1024 * 1024;
/// Headers that are part of an answer.
const ANSWER_HEADERS: [&str; 3] = ["content-type", "content-language", COMMAND];

/// The request's key: 1 to 255 visible characters.
///
/// # Errors
/// `malformed`
pub(super) fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let ok = |key: &&str| (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let key = value.to_str().ok().filter(ok);
    let problem =
        || Problem::new(Code::Malformed).because("Idempotency-Key: expected 1 to 255 visible characters");
    key.map(Some).ok_or_else(problem)
}

/// Which request under which key.
struct Claim {
    scope: String,
    key: String,
    fingerprint: String,
    /// The end of the lease, once there is one; whoever lost it to a repetition
    /// changes nothing any more.
    until: Timestamp,
}

/// What the table says about a key.
enum Standing {
    /// It is ours; answer the request.
    Ours,
    /// Somebody answered it.
    Answered(Response),
    /// Somebody is answering it.
    Running,
}

/// The layer.
pub(super) async fn layer(
    State(booking): State<Arc<Booking>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let applies = request.method() == Method::POST && request.uri().path() != "/api/sessions";
    if !applies || key(request.headers())?.is_none() {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES).await.map_err(|_| Code::TooLarge)?;
    let scope = match Caller::from_parts(&parts, &booking).await {
        Ok(caller) => caller.account.to_string(),
        Err(problem) if problem.code() == Code::Unauthenticated => "anonymous".to_owned(),
        Err(problem) => return Err(problem),
    };
    let key = key(&parts.headers)?.unwrap_or_default().to_owned();
    let fingerprint = fingerprint(parts.uri.path(), &body);
    let mut claim = Claim { scope, key, fingerprint, until: booking.now() };
    match booking.take(&mut claim).await? {
        Standing::Answered(response) => return Ok(response),
        Standing::Running => return Err(Problem::new(Code::StillRunning).retry_after(1)),
        Standing::Ours => {}
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    booking.keep(&claim, response).await
}

fn fingerprint(path: &str, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(path).chain_update([0]).chain_update(body).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_lasting(status: StatusCode) -> bool {
    let passing = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
    !status.is_server_error() && !passing.contains(&status)
}

impl Booking {
    /// Takes the key, or finds what became of it, waiting a little.
    async fn take(&self, claim: &mut Claim) -> Result<Standing, Problem> {
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            match self.standing(claim).await? {
                Standing::Running => {}
                decided => return Ok(decided),
            }
        }
        Ok(Standing::Running)
    }

    async fn standing(&self, claim: &mut Claim) -> Result<Standing, Problem> {
        let now = self.now();
        claim.until = now + LEASE;
        if self.insert_claim(claim, now).await? {
            return Ok(Standing::Ours);
        }
        let row = sqlx::query(
            "SELECT fingerprint, status, headers, body FROM idempotency WHERE scope = $1 AND key = $2",
        )
        .bind(claim.scope.as_str())
        .bind(claim.key.as_str())
        .fetch_optional(self.db.read())
        .await?;
        // Given up between the two statements: the next look takes it.
        let Some(row) = row else { return Ok(Standing::Running) };
        if row.text("fingerprint")? != claim.fingerprint {
            return Err(Code::KeyReused.into());
        }
        match row.maybe_text("body")? {
            None => Ok(Standing::Running),
            Some(body) => Ok(Standing::Answered(replay(row.int("status")?, &row.text("headers")?, body)?)),
        }
    }

    /// Whether the key is free, or its lease or its day is over.
    async fn insert_claim(&self, claim: &Claim, now: Timestamp) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        let done = sqlx::query(
            "INSERT INTO idempotency (scope, key, fingerprint, lease_until, created_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (scope, key) DO UPDATE
             SET fingerprint = excluded.fingerprint, lease_until = excluded.lease_until,
                 created_at = excluded.created_at, status = NULL, headers = NULL, body = NULL
             WHERE idempotency.created_at <= $6
                OR (idempotency.body IS NULL AND idempotency.lease_until <= $5
                    AND idempotency.fingerprint = excluded.fingerprint)",
        )
        .bind(claim.scope.as_str())
        .bind(claim.key.as_str())
        .bind(claim.fingerprint.as_str())
        .bind(millis(claim.until))
        .bind(millis(now))
        .bind(millis(now - KEPT))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps the answer, or frees the key. Whoever lost its lease answers nothing.
    async fn keep(&self, claim: &Claim, response: Response) -> Result<Response, Problem> {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, BODY_BYTES).await.map_err(|_| Code::Internal)?;
        let mut tx = self.db.begin().await?;
        let lasting = is_lasting(parts.status);
        let query = if lasting {
            sqlx::query(
                "UPDATE idempotency SET status = $1, headers = $2, body = $3
                 WHERE scope = $4 AND key = $5 AND fingerprint = $6 AND lease_until = $7",
            )
            .bind(i64::from(parts.status.as_u16()))
            .bind(headers_of(&parts.headers))
            .bind(text_of(&body))
        } else {
            sqlx::query(
                "DELETE FROM idempotency
                 WHERE scope = $1 AND key = $2 AND fingerprint = $3 AND lease_until = $4",
            )
        };
        let done = query
            .bind(claim.scope.as_str())
            .bind(claim.key.as_str())
            .bind(claim.fingerprint.as_str())
            .bind(millis(claim.until))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        if lasting && done.rows_affected() == 0 {
            // A repetition has the key since, and its answer is the one.
            return Err(Problem::new(Code::StillRunning).retry_after(1));
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    /// Drops answers after their day.
    pub(super) async fn forget_answers(&self, now: Timestamp) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query("DELETE FROM idempotency WHERE created_at <= $1")
            .bind(millis(now - KEPT))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

/// JSON is UTF-8, so nothing is lost.
fn text_of(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn headers_of(headers: &HeaderMap) -> String {
    let kept = ANSWER_HEADERS.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), Value::from(value)))
    });
    Value::Object(kept.collect::<Map<_, _>>()).to_string()
}

fn replay(status: i64, headers: &str, body: String) -> Result<Response, Problem> {
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let kept: Map<String, Value> = serde_json::from_str(headers).map_err(|_| Code::Internal)?;
    let mut response = (status.ok_or(Code::Internal)?, body).into_response();
    for (name, value) in kept {
        let name = HeaderName::try_from(name).map_err(|_| Code::Internal)?;
        let value = HeaderValue::try_from(value.as_str().unwrap_or_default()).map_err(|_| Code::Internal)?;
        response.headers_mut().insert(name, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
