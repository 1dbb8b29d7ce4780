//! Who calls: the extractors behind every protected handler.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::Role;
use super::token::Access;
use crate::booking::Booking;
use crate::booking::db::RowExt as _;
use crate::booking::problem::{Code, Problem};
use crate::domain::order::AccountId;

/// A signed-in person.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose token it is.
    pub account: AccountId,
    /// What the account may do, as of now.
    pub role: Role,
    /// The token.
    pub access: Access,
}

impl Caller {
    /// Reads the bearer token and asks the database whether it still counts,
    /// so that signing out and changing a role hold at once in every process.
    ///
    /// # Errors
    /// `unauthenticated`
    pub async fn from_parts(parts: &Parts, booking: &Booking) -> Result<Self, Problem> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        Self::of_token(token.ok_or(Code::Unauthenticated)?, booking).await
    }

    /// Whose access token this is; see [`Caller::from_parts`].
    ///
    /// # Errors
    /// `unauthenticated`
    pub async fn of_token(token: &str, booking: &Booking) -> Result<Self, Problem> {
        let access = booking.tokens.read(token, booking.now()).ok_or(Code::Unauthenticated)?;
        let row = sqlx::query(
            "SELECT a.role FROM accounts a WHERE a.id = $1
             AND NOT EXISTS (SELECT 1 FROM revoked_tokens r WHERE r.token_id = $2)",
        )
        .bind(access.account.to_string())
        .bind(access.token_id.as_str())
        .fetch_optional(booking.db.read())
        .await?
        .ok_or(Code::Unauthenticated)?;
        Ok(Self { account: access.account, role: row.named("role", Role::from_name)?, access })
    }
}

impl FromRequestParts<Arc<Booking>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, booking: &Arc<Booking>) -> Result<Self, Problem> {
        Self::from_parts(parts, booking).await
    }
}

/// A signed-in administrator.
#[derive(Clone, Copy, Debug)]
pub struct Admin;

impl FromRequestParts<Arc<Booking>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, booking: &Arc<Booking>) -> Result<Self, Problem> {
        let caller = Caller::from_parts(parts, booking).await?;
        if caller.role == Role::Admin { Ok(Self) } else { Err(Code::Forbidden.into()) }
    }
}
