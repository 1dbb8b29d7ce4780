//! Wallets: play money, and a ledger that explains every balance.
//!
//! The balance is a running sum kept beside the ledger and changed only in the
//! same transaction; one update that names the least balance it needs is the
//! lock. The same reference is booked once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::auth::Caller;
use super::db::{DbError, RowExt as _, Tx, millis};
use super::problem::{Body, Code, Problem};
use super::{Booking, idempotency};
use crate::domain::order::AccountId;
use crate::domain::time::Timestamp;
use crate::domain::wallet::{Entry, LARGEST, Money, WalletError};

/// Of every wallet.
pub const CURRENCY: &str = "KRW";

/// A wallet.
#[derive(Debug, Serialize, ToSchema)]
pub struct WalletView {
    /// In the currency's smallest unit.
    balance: i64,
    #[schema(example = "KRW")]
    currency: &'static str,
}

/// Play money to put in.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Charge {
    /// Above zero, in the currency's smallest unit.
    #[schema(example = 500_000, minimum = 1)]
    amount: i64,
}

/// The caller's wallet.
#[utoipa::path(get, path = "/api/wallet", tag = "wallet", security(("bearer" = [])),
    responses((status = 200, body = WalletView)))]
pub async fn get(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
) -> Result<axum::Json<WalletView>, Problem> {
    let row = sqlx::query("SELECT balance FROM wallets WHERE account_id = $1")
        .bind(caller.account.to_string())
        .fetch_one(booking.db.read())
        .await?;
    Ok(axum::Json(WalletView { balance: row.int("balance")?, currency: CURRENCY }))
}

/// Puts play money into the caller's wallet.
#[utoipa::path(post, path = "/api/wallet/charges", tag = "wallet", request_body = Charge,
    security(("bearer" = [])),
    responses((status = 201, body = WalletView), (status = 409, description = "wallet_full"),
              (status = 422, description = "invalid")))]
pub async fn charge(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    headers: HeaderMap,
    Body(charge): Body<Charge>,
) -> Result<(StatusCode, axum::Json<WalletView>), Problem> {
    let amount = Money::charge(charge.amount)
        .ok_or_else(|| Problem::new(Code::Invalid).because(format!("amount: expected 1 to {LARGEST}")))?;
    let key = idempotency::key(&headers)?;
    let reference = key.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned);
    let balance = booking.charge(caller.account, amount, &reference).await?;
    Ok((StatusCode::CREATED, axum::Json(WalletView { balance: balance.units(), currency: CURRENCY })))
}

impl Booking {
    /// Books a charge once and returns the balance after it.
    async fn charge(&self, account: AccountId, amount: Money, reference: &str) -> Result<Money, Problem> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        free_key(&mut tx, account, reference, now).await?;
        match book(&mut tx, account, Entry::Charge, amount, reference, now).await {
            Ok(Ok(balance)) => {
                tx.commit().await?;
                Ok(balance)
            }
            Ok(Err(_)) => Err(Code::WalletFull.into()),
            // The same key was booked before: nothing to add.
            Err(DbError::Duplicate(_)) => {
                drop(tx);
                let row = sqlx::query("SELECT balance FROM wallets WHERE account_id = $1")
                    .bind(account.to_string())
                    .fetch_one(self.db.read())
                    .await?;
                Ok(Money::new(row.int("balance")?))
            }
            Err(other) => Err(other.into()),
        }
    }
}

/// A key is free again after its day: the charge that it stood for gets a name
/// that no key can have.
async fn free_key(tx: &mut Tx, account: AccountId, key: &str, now: Timestamp) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE ledger SET reference = reference || ' ' || id
         WHERE account_id = $1 AND kind = $2 AND reference = $3 AND created_at <= $4",
    )
    .bind(account.to_string())
    .bind(Entry::Charge.as_str())
    .bind(key)
    .bind(millis(now - idempotency::KEPT))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Moves money and writes down why; the row stays locked until the transaction ends.
///
/// # Errors
/// [`DbError::Duplicate`] when `reference` was booked before. The inner error
/// when the wallet refuses; nothing is written then.
pub(super) async fn book(
    tx: &mut Tx,
    account: AccountId,
    entry: Entry,
    amount: Money,
    reference: &str,
    now: Timestamp,
) -> Result<Result<Money, WalletError>, DbError> {
    let signed = entry.signed(amount);
    let row = sqlx::query(
        "UPDATE wallets SET balance = balance + $1
         WHERE account_id = $2 AND balance + $1 BETWEEN 0 AND $3 RETURNING balance",
    )
    .bind(signed.units())
    .bind(account.to_string())
    .bind(LARGEST.units())
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else {
        return Ok(Err(if signed < Money::ZERO { WalletError::Insufficient } else { WalletError::TooMuch }));
    };
    sqlx::query(
        "INSERT INTO ledger (account_id, kind, amount, reference, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(account.to_string())
    .bind(entry.as_str())
    .bind(signed.units())
    .bind(reference)
    .bind(millis(now))
    .execute(&mut **tx)
    .await?;
    Ok(Ok(Money::new(row.int("balance")?)))
}
