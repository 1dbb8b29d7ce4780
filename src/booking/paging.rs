//! Lists in parts: `?cursor=&limit=` → `{items, next}`.
//!
//! A cursor is the instant and the id of the last item shown, so that a list
//! that grows meanwhile neither repeats nor skips.

use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::{Code, Problem};

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// 1 to 100; 20 when left out.
    pub limit: Option<u32>,
}

impl Page {
    /// Items wanted, 1 to 100.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(20).clamp(1, 100)
    }

    /// Instant and id of the last item before; the far future when there is none.
    ///
    /// # Errors
    /// `malformed`
    pub fn after(&self) -> Result<(i64, String), Problem> {
        let Some(cursor) = &self.cursor else { return Ok((i64::MAX, String::new())) };
        let parts = cursor.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
        parts.ok_or_else(|| Problem::new(Code::Malformed).because("cursor: expected `next` of a page"))
    }
}
