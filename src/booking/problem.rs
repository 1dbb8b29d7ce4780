//! Every refusal the API gives: RFC 9457 `application/problem+json`.
//!
//! A handler returns a [`Problem`]: a stable code and what goes with it. The
//! words for people are put in by [`localise`], which alone knows the caller's
//! `Accept-Language`. Internal detail goes to the log, never into an answer.

mod codes;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::db::DbError;

pub use codes::Code;

/// One refusal.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    fields: Map<String, Value>,
    retry_after_seconds: Option<u32>,
}

impl Problem {
    /// A refusal with this code and nothing else.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, fields: Map::new(), retry_after_seconds: None }
    }

    /// Adds a field that programs may read.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Adds what exactly was wrong with the request, in English, for its author.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds when to come again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What exactly was wrong, for the request's author.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The body in one of [`LANGUAGES`].
    fn body(&self, language: usize) -> Value {
        let mut body = json!({
            "type": "about:blank",
            "title": self.code.text(language),
            "status": self.code.status().as_u16(),
            "code": self.code.as_str(),
        });
        if let Value::Object(map) = &mut body {
            map.extend(self.detail.as_ref().map(|detail| ("detail".to_owned(), json!(detail))));
            map.extend(self.fields.clone());
        }
        body
    }

    fn render(&self, language: usize) -> Response {
        let mut response = (self.code.status(), self.body(language).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(LANGUAGES[language]));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::UpgradeRequired {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        if matches!(error, DbError::Away(_)) {
            tracing::warn!(error = &error as &dyn std::error::Error, "database away");
            return Self::new(Code::Unavailable).retry_after(1);
        }
        tracing::error!(error = &error as &dyn std::error::Error, "database refused");
        Self::new(Code::Internal)
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.render(0);
        response.extensions_mut().insert(self);
        response
    }
}

/// Languages of the texts, the fallback first.
pub const LANGUAGES: [&str; 5] = ["en", "ko", "ja", "zh", "es"];

/// The index in [`LANGUAGES`] that an `Accept-Language` likes best: highest
/// `q`, then first named.
#[must_use]
pub fn preferred(accept: Option<&str>) -> usize {
    let mut best = (0, 0.0);
    for part in accept.unwrap_or_default().split(',') {
        let mut fields = part.split(';').map(str::trim);
        let tag = fields.next().unwrap_or_default().to_ascii_lowercase();
        let primary = tag.split('-').next().unwrap_or_default();
        let q = fields.find_map(|f| f.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if let Some(index) = LANGUAGES.iter().position(|language| *language == primary)
            && q > best.1
        {
            best = (index, q);
        }
    }
    best.0
}

/// Puts problems into the caller's language.
pub async fn localise(request: Request, next: Next) -> Response {
    let language =
        preferred(request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()));
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) if language != 0 => {
            let mut spoken = problem.render(language);
            let kept = response.headers().iter().filter(|(name, _)| name.as_str().starts_with("usher-"));
            spoken.headers_mut().extend(kept.map(|(name, value)| (name.clone(), value.clone())));
            spoken
        }
        _ => response,
    }
}

/// A JSON body, whose absence or fault is a problem like any other.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(body_problem(&rejection)),
        }
    }
}

fn body_problem(rejection: &JsonRejection) -> Problem {
    let code = match rejection {
        JsonRejection::JsonDataError(_) => Code::Invalid,
        JsonRejection::MissingJsonContentType(_) => Code::UnsupportedMediaType,
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        _ => Code::Malformed,
    };
    Problem::new(code).because(rejection.body_text())
}

/// Path parameters; what is no id is simply not there.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<_, PathRejection> = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|_| Code::NotFound.into())
    }
}

/// Query parameters.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Problem> {
        let query: Result<_, QueryRejection> = axum::extract::Query::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::new(Code::Malformed).because(rejection.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_known_language_wins() {
        let spoken = |accept: &str| LANGUAGES[preferred(Some(accept))];
        assert_eq!(spoken("ko-KR,ko;q=0.9,en;q=0.8"), "ko");
        assert_eq!(spoken("de, ja;q=0.5, es;q=0.7"), "es");
        assert_eq!(spoken("zh-Hant-TW"), "zh");
        assert_eq!(spoken("*, ;;q=x, fr"), "en");
        assert_eq!(preferred(None), 0);
    }

    #[test]
    fn every_code_has_words_in_every_language() {
        for code in Code::ALL {
            for language in 0..LANGUAGES.len() {
                assert!(!code.text(language).is_empty(), "{code:?}");
            }
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }
}
