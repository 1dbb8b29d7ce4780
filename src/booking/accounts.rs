//! Accounts and sign-in.
//!
//! Owns who may call: accounts with a role, passwords, access tokens and their
//! revocation. Never decides about orders or seats.

pub(super) mod address;
mod attempts;
pub mod auth;
mod password;
mod token;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Booking;
use super::db::{DbError, RowExt as _, millis};
use super::problem::{Body, Code, LANGUAGES, Path, Problem, preferred};
use crate::domain::order::AccountId;
use crate::domain::time::Timestamp;
use address::Address;
use auth::{Admin, Caller};

pub use attempts::{Attempt, Attempts, Refused};
pub use password::Passwords;
pub use token::Tokens;

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Buys.
    Customer,
    /// Answers customers.
    Counsellor,
    /// Runs the office.
    Admin,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Counsellor => "counsellor",
            Self::Admin => "admin",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Customer, Self::Counsellor, Self::Admin].into_iter().find(|role| role.as_str() == name)
    }
}

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewAccount {
    /// Sign-in name.
    #[schema(example = "fan@example.org")]
    email: String,
    /// 8 to 128 characters.
    #[schema(example = "a long pass phrase", min_length = 8, max_length = 128)]
    password: String,
    /// 1 to 80 characters.
    #[schema(example = "Kim Haneul", min_length = 1, max_length = 80)]
    name: String,
    /// Of the mails: `en`, `ko`, `ja`, `zh` or `es`; left out, as `Accept-Language` says.
    #[schema(example = "ko")]
    language: Option<String>,
}

/// The id of a new account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountCreated {
    account_id: String,
}

/// An account as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Account {
    account_id: String,
    email: String,
    name: String,
    role: Role,
    /// Of the mails: `en`, `ko`, `ja`, `zh` or `es`.
    #[schema(example = "ko")]
    language: String,
}

/// Sign-in name and password.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Credentials {
    #[schema(example = "fan@example.org")]
    email: String,
    #[schema(example = "a long pass phrase")]
    password: String,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// When it ends, in ms since the Unix epoch.
    expires_at: u64,
    account: Account,
}

/// A change to an account.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AccountChange {
    role: Role,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed(wait) => {
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
                Self::new(Code::TooManyAttempts).retry_after(seconds.max(1))
            }
            Refused::Database(error) => error.into(),
        }
    }
}

fn normal(email: &str) -> String {
    email.trim().to_lowercase()
}

fn checked(new: &NewAccount) -> Result<String, Problem> {
    let refuse = |detail: &str| Err(Problem::new(Code::Invalid).because(detail));
    let email = normal(&new.email);
    let parts = email.split_once('@');
    let plain = email.len() <= 254 && !email.contains(|c: char| c.is_whitespace() || c.is_control());
    if !plain || parts.is_none_or(|(local, host)| local.is_empty() || host.is_empty() || host.contains('@')) {
        return refuse("email: expected an address such as fan@example.org");
    }
    if !(8..=128).contains(&new.password.chars().count()) {
        return refuse("password: expected 8 to 128 characters");
    }
    if !(1..=80).contains(&new.name.trim().chars().count()) {
        return refuse("name: expected 1 to 80 characters");
    }
    Ok(email)
}

/// The language asked for, else the best liked of the request.
fn language(new: &NewAccount, headers: &HeaderMap) -> Result<&'static str, Problem> {
    let Some(wanted) = &new.language else {
        let accept = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        return Ok(LANGUAGES[preferred(accept)]);
    };
    let found = LANGUAGES.into_iter().find(|language| language == wanted);
    found.ok_or_else(|| Problem::new(Code::Invalid).because("language: expected en, ko, ja, zh or es"))
}

/// Signs up.
#[utoipa::path(post, path = "/api/accounts", tag = "accounts", request_body = NewAccount,
    responses((status = 201, body = AccountCreated), (status = 409, description = "email_taken"),
              (status = 422, description = "invalid")))]
pub async fn create(
    State(booking): State<Arc<Booking>>,
    headers: HeaderMap,
    Body(new): Body<NewAccount>,
) -> Result<(StatusCode, axum::Json<AccountCreated>), Problem> {
    let email = checked(&new)?;
    let language = language(&new, &headers)?;
    if booking.account_by_email(&email).await?.is_some() {
        return Err(Code::EmailTaken.into());
    }
    let id = booking.add_account(&email, new.name.trim(), new.password, Role::Customer, language).await?;
    Ok((StatusCode::CREATED, axum::Json(AccountCreated { account_id: id.to_string() })))
}

/// Signs in.
///
/// Ten wrong passwords for one account, or a hundred from one address, within five
/// minutes: 429 with `Retry-After`, the right password included, until they are over.
/// An address that the account signed in from is counted by itself: what others guess
/// does not stop it.
#[utoipa::path(post, path = "/api/sessions", tag = "accounts", request_body = Credentials,
    responses((status = 201, body = Session), (status = 401, description = "bad_credentials"),
              (status = 429, description = "too_many_attempts",
               headers(("Retry-After" = u32, description = "seconds to wait")))))]
pub async fn sign_in(
    State(booking): State<Arc<Booking>>,
    Address(address): Address,
    Body(given): Body<Credentials>,
) -> Result<impl IntoResponse, Problem> {
    let email = normal(&given.email);
    let now = booking.now();
    let attempt = booking.attempts.begin(&email, address, now).await?;
    let looked = booking.look_up(&email, given.password).await;
    match &looked {
        Ok(Some(account)) => booking.attempts.succeeded(&attempt, &account.account_id, now).await?,
        Ok(None) => {}
        Err(_) => booking.attempts.undecided(&attempt).await?,
    }
    let account = looked?.ok_or(Code::BadCredentials)?;
    let id = account.account_id.parse().map_err(|_| Code::Internal)?;
    let (access_token, expires_at) = booking.tokens.issue(id, now).map_err(|why| {
        tracing::error!(%why, "cannot sign a token");
        Code::Internal
    })?;
    let session = Session { access_token, expires_at: expires_at.as_millis(), account };
    Ok((StatusCode::CREATED, [("cache-control", "no-store")], axum::Json(session)))
}

/// Signs out; the token is dead at once, everywhere.
#[utoipa::path(delete, path = "/api/sessions/current", tag = "accounts", security(("bearer" = [])),
    responses((status = 204), (status = 401, description = "unauthenticated")))]
pub async fn sign_out(State(booking): State<Arc<Booking>>, caller: Caller) -> Result<StatusCode, Problem> {
    let mut tx = booking.db.begin().await?;
    sqlx::query("INSERT INTO revoked_tokens (token_id, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(caller.access.token_id)
        .bind(millis(caller.access.expires_at))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's account.
#[utoipa::path(get, path = "/api/me", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, body = Account), (status = 401, description = "unauthenticated")))]
pub async fn me(State(booking): State<Arc<Booking>>, caller: Caller) -> Result<axum::Json<Account>, Problem> {
    Ok(axum::Json(booking.account(caller.account).await?.ok_or(Code::Unauthenticated)?))
}

/// Changes an account's role.
#[utoipa::path(patch, path = "/api/accounts/{id}", tag = "accounts", request_body = AccountChange,
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Account), (status = 403, description = "forbidden"),
              (status = 404, description = "not_found")))]
pub async fn change(
    State(booking): State<Arc<Booking>>,
    _: Admin,
    Path(id): Path<String>,
    Body(change): Body<AccountChange>,
) -> Result<axum::Json<Account>, Problem> {
    let id: AccountId = id.parse().map_err(|_| Code::NotFound)?;
    let mut tx = booking.db.begin().await?;
    sqlx::query("UPDATE accounts SET role = $1 WHERE id = $2")
        .bind(change.role.as_str())
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(axum::Json(booking.account(id).await?.ok_or(Code::NotFound)?))
}

impl Booking {
    /// Adds an account with an empty wallet.
    ///
    /// # Errors
    /// `email_taken`
    pub(super) async fn add_account(
        &self,
        email: &str,
        name: &str,
        password: String,
        role: Role,
        language: &str,
    ) -> Result<AccountId, Problem> {
        let hash = self.passwords.hash(password).await?;
        let id = AccountId::from_bits(uuid::Uuid::new_v4().as_u128());
        match self.insert_account(id, email, name, &hash, role, language).await {
            Ok(()) => Ok(id),
            Err(DbError::Duplicate(_)) => Err(Code::EmailTaken.into()),
            Err(other) => Err(other.into()),
        }
    }

    async fn insert_account(
        &self,
        id: AccountId,
        email: &str,
        name: &str,
        hash: &str,
        role: Role,
        language: &str,
    ) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "INSERT INTO accounts (id, email, name, password_hash, role, language, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id.to_string())
        .bind(email)
        .bind(name)
        .bind(hash)
        .bind(role.as_str())
        .bind(language)
        .bind(millis(self.now()))
        .execute(&mut *tx)
        .await?;
        sqlx::query("INSERT INTO wallets (account_id, balance, currency) VALUES ($1, 0, $2)")
            .bind(id.to_string())
            .bind(super::wallet::CURRENCY)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Makes the administrator of the settings when the account is missing.
    pub(super) async fn ensure_admin(&self, email: &str, password: &str) -> Result<(), Problem> {
        let email = normal(email);
        if self.account_by_email(&email).await?.is_some() {
            return Ok(());
        }
        match self.add_account(&email, "Administrator", password.to_owned(), Role::Admin, LANGUAGES[0]).await
        {
            // Another process was faster.
            Err(problem) if problem.code() == Code::EmailTaken => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The account with this email and password, in the same time whether or not
    /// there is one.
    async fn look_up(&self, email: &str, password: String) -> Result<Option<Account>, Problem> {
        let found = self.account_by_email(email).await?;
        let (account, stored) = found.unzip();
        let right = self.passwords.verify(password, stored).await?;
        Ok(account.filter(|_| right))
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>, Problem> {
        let row = sqlx::query("SELECT id, email, name, role, language FROM accounts WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.db.read())
            .await?;
        Ok(row.as_ref().map(account_of).transpose()?)
    }

    async fn account_by_email(&self, email: &str) -> Result<Option<(Account, String)>, Problem> {
        let row = sqlx::query(
            "SELECT id, email, name, role, language, password_hash FROM accounts WHERE email = $1",
        )
        .bind(email)
        .fetch_optional(self.db.read())
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((account_of(&row)?, row.text("password_hash")?)))
    }

    /// Forgets revoked tokens that have run out anyway.
    pub(super) async fn forget_revocations(&self, now: Timestamp) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query("DELETE FROM revoked_tokens WHERE expires_at <= $1")
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

fn account_of(row: &sqlx::any::AnyRow) -> Result<Account, DbError> {
    Ok(Account {
        account_id: row.text("id")?,
        email: row.text("email")?,
        name: row.text("name")?,
        role: row.named("role", Role::from_name)?,
        language: row.text("language")?,
    })
}
