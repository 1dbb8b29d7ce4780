//! The pages: a hall to look at, seats to take, tickets to keep.
//!
//! Their files are built in, nothing from elsewhere, no build step. They talk to
//! the same API as everybody. The index names the files below a path with a
//! digest over all of them: a browser keeps them for ever, and a new build has
//! new ones.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use super::problem::{Code, Problem};

macro_rules! files {
    ($($name:literal,)+) => { &[$(($name, include_str!(concat!("../../web/booking/", $name)))),+] };
}

const INDEX: &str = include_str!("../../web/booking/index.html");
/// Every file under `web/booking` but the index.
const FILES: &[(&str, &str)] = files! {
    "api.js",
    "app.js",
    "booking.css",
    "countdown.js",
    "door.js",
    "element.js",
    "live.js",
    "parts.js",
    "pay.js",
    "purchase.js",
    "seats/best.js",
    "seats/camera.js",
    "seats/choice.js",
    "seats/gestures.js",
    "seats/legend.js",
    "seats/list.js",
    "seats/look.js",
    "seats/map.js",
    "seats/names.js",
    "seats/nearest.js",
    "seats/offer.js",
    "seats/paint.js",
    "seats/place.js",
    "seats/plan.js",
    "seats/raster.js",
    "seats/seats.css",
    "shell.js",
    "socket.js",
    "support/line.js",
    "support/support.css",
    "support/talk.js",
    "views/account.js",
    "views/admission.js",
    "views/checkout.js",
    "views/desk.js",
    "views/event.js",
    "views/events.js",
    "views/order.js",
    "views/orders.js",
    "views/support.js",
    "views/tickets.js",
    "words.js",
    "words/en.json",
    "words/es.json",
    "words/ja.json",
    "words/ko.json",
    "words/zh.json",
};
/// Every path that the pages draw.
const PATHS: [&str; 9] = [
    "/",
    "/account",
    "/admission/{id}",
    "/checkout/{id}",
    "/events/{id}",
    "/orders",
    "/orders/{id}",
    "/support",
    "/tickets",
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const ALWAYS_ASK: &str = "no-cache";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The pages under every path they draw, and their files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let digest = digest();
    let index: Arc<str> = INDEX.replace("{assets}", &format!("/assets/booking/{digest}")).into();
    let page = get(async move || file("text/html; charset=utf-8", ALWAYS_ASK, String::from(&*index)));
    let asset = get(async move |Path((of, name)): Path<(String, String)>| asset(&name, of == digest));
    let router = Router::new().route("/assets/booking/{digest}/{*name}", asset);
    PATHS.into_iter().fold(router, |router, path| router.route(path, page.clone()))
}

/// One digest over all files: 16 hex digits.
fn digest() -> String {
    let mut hash = Sha256::new();
    for (name, body) in FILES {
        hash.update(format!("{name} {}\n{body}", body.len()));
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A page of another build gets this one's file, which nobody keeps.
fn asset(name: &str, is_ours: bool) -> Response {
    let Some((_, body)) = FILES.iter().find(|(known, _)| *known == name) else {
        return Problem::new(Code::NotFound).into_response();
    };
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        _ => "text/javascript; charset=utf-8",
    };
    file(kind, if is_ours { FOR_EVER } else { ALWAYS_ASK }, *body)
}

fn file(kind: &'static str, cached: &'static str, body: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, cached),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::booking::problem::LANGUAGES;

    fn names(folder: &Path, within: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            match path.is_dir() {
                true => names(&path, within, found),
                false => {
                    let name = path.strip_prefix(within).expect("below").to_str().expect("plain");
                    found.insert(name.to_owned());
                }
            }
        }
    }

    /// Key → the places that are filled in, plural forms taken as one.
    fn words(value: &Value, key: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
        match value {
            Value::Object(parts) => {
                for (name, part) in parts {
                    let plural = ["zero", "one", "two", "few", "many", "other"].contains(&name.as_str());
                    let key = if plural { key.to_owned() } else { format!("{key}.{name}") };
                    words(part, &key, found);
                }
            }
            Value::String(text) => {
                let places = text.split('{').skip(1).filter_map(|part| part.split('}').next());
                found.entry(key.to_owned()).or_default().extend(places.map(str::to_owned));
            }
            other => panic!("{key}: {other}"),
        }
    }

    fn words_of(language: &str) -> BTreeMap<String, BTreeSet<String>> {
        let name = format!("words/{language}.json");
        let (_, text) = FILES.iter().find(|(known, _)| *known == name).expect("words");
        let mut found = BTreeMap::new();
        words(&serde_json::from_str(text).expect("JSON"), "", &mut found);
        found
    }

    #[test]
    fn every_file_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/booking");
        let mut there = BTreeSet::new();
        names(&folder, &folder, &mut there);
        assert!(there.remove("index.html"));
        let listed: BTreeSet<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, there);
    }

    #[tokio::test]
    async fn the_index_is_asked_for_and_its_files_are_kept() {
        let pages: Router = routes();
        let get = async |path: &str| {
            let request = axum::extract::Request::get(path).body(axum::body::Body::empty()).expect("a path");
            let answer = pages.clone().oneshot(request).await.expect("an answer");
            let cached = answer.headers()[header::CACHE_CONTROL].to_str().expect("text").to_owned();
            let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
            (cached, String::from_utf8(body.to_vec()).expect("text"))
        };
        for path in [
            "/",
            "/events/one",
            "/admission/one",
            "/checkout/one",
            "/orders",
            "/orders/one",
            "/support",
            "/tickets",
            "/account",
        ] {
            let (cached, index) = get(path).await;
            assert_eq!(cached, ALWAYS_ASK, "{path}");
            let script = index.split('"').find(|part| part.ends_with("/app.js")).expect("a script");
            let (cached, body) = get(script).await;
            assert!(cached.contains("immutable") && body.contains("import("), "{script}");
        }
        assert_eq!(get("/assets/booking/0123456789abcdef/words/ko.json").await.0, ALWAYS_ASK);
        assert_eq!(get("/assets/booking/0123456789abcdef/../page.rs").await.0, "no-store");
    }

    #[test]
    fn all_languages_have_the_same_words_with_the_same_places_to_fill() {
        let english = words_of("en");
        assert!(english.len() > 50);
        for language in LANGUAGES {
            assert_eq!(words_of(language), english, "{language}");
        }
    }

    #[test]
    fn every_word_is_used_and_every_file_named_is_there() {
        let scripts: String =
            FILES.iter().filter(|(name, _)| name.ends_with(".js")).map(|(_, b)| *b).collect();
        for key in words_of("en").keys() {
            let key = key.trim_start_matches('.');
            let (group, word) = key.split_once('.').expect("a group");
            // A word of a closed list is named by what it is added to.
            let used = scripts.contains(key) || scripts.contains(&format!("`{group}.${{"));
            assert!(used, "{group}: {word} is never said");
        }
        for part in scripts.split("\"./").skip(1) {
            let name = part.split('"').next().expect("a name");
            let is_there = |(known, _): &(&str, &str)| {
                ["", "views/", "seats/"].iter().any(|at| *known == format!("{at}{name}"))
            };
            assert!(FILES.iter().any(is_there), "{name}");
        }
    }
}
