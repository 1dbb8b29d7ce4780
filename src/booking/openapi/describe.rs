//! What the handlers' own descriptions leave out because it is alike everywhere:
//! the shape of a refusal, the idempotency key, an example for each call.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// Examples by `method path`: a request, and the answer when all is well.
const EXAMPLES: &str = include_str!("examples.json");

const PROBLEM: &str = "application/problem+json";
const KEY: &str = "Idempotency-Key";

/// The whole description as it is served.
pub(super) fn complete(described: &OpenApi) -> Value {
    let mut whole = serde_json::to_value(described).unwrap_or_default();
    let examples: Value = serde_json::from_str(EXAMPLES).unwrap_or_default();
    whole["components"]["schemas"]["Problem"] = problem();
    let Some(paths) = whole["paths"].as_object_mut() else { return whole };
    for (path, methods) in paths {
        for (method, call) in methods.as_object_mut().into_iter().flatten() {
            refusals(call);
            if method == "post" && path != "/api/sessions" {
                idempotent(call);
            }
            exemplify(call, &examples[format!("{method} {path}")]);
        }
    }
    whole
}

/// RFC 9457, as [`super::super::problem`] writes it.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "A refusal (RFC 9457). `code` is stable, `title` follows Accept-Language; some codes bring fields of their own, such as `seats`.",
        "required": ["type", "title", "status", "code"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"type": "string"},
            "detail": {"type": "string", "description": "What exactly was wrong, in English, for the request's author."},
        },
        "example": {"type": "about:blank", "title": "There is nothing here.", "status": 404, "code": "not_found"},
    })
}

/// Every refusal has one shape; what any call may meet is said for each.
fn refusals(call: &mut Value) {
    let mut common = vec![
        ("400", "malformed"),
        ("503", "unavailable: come again after `Retry-After` seconds"),
        ("default", "a refusal"),
    ];
    if call["security"].is_array() {
        common.push(("401", "unauthenticated"));
    }
    if call["parameters"].as_array().is_some_and(|all| all.iter().any(|p| p["in"] == "path")) {
        common.push(("404", "not_found"));
    }
    if call["requestBody"].is_object() {
        common.extend([("413", "too_large"), ("415", "unsupported_media_type"), ("422", "invalid")]);
    }
    let Some(responses) = call["responses"].as_object_mut() else { return };
    for (status, codes) in common {
        responses.entry(status).or_insert_with(|| json!({"description": codes}));
    }
    for (status, response) in responses {
        if !(status.starts_with('2') || status.starts_with('3')) {
            response["content"] = json!({PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}});
        }
    }
}

/// The header that [`super::super::idempotency`] reads, and its two refusals.
fn idempotent(call: &mut Value) {
    let header = json!({
        "name": KEY, "in": "header", "required": false,
        "description": "Kept 24 h: the same key and body get the same answer and have one effect; another body 422 `idempotency_key_reused`; still running 409 `still_running` with `Retry-After`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    });
    match call["parameters"].as_array_mut() {
        Some(all) => all.push(header),
        None => call["parameters"] = json!([header]),
    }
    for (status, code) in [("409", "still_running"), ("422", "idempotency_key_reused")] {
        let said = match call["responses"][status]["description"].as_str() {
            Some(others) => format!("{others}, {code}"),
            None => code.to_owned(),
        };
        call["responses"][status]["description"] = said.into();
        let content = json!({PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}});
        call["responses"][status]["content"] = content;
    }
}

/// Puts the example of a call where viewers and testers look for it.
fn exemplify(call: &mut Value, example: &Value) {
    let set = |content: Option<&mut Map<String, Value>>, example: &Value| {
        for (_, media) in content.into_iter().flatten() {
            if !example.is_null() {
                media["example"] = example.clone();
            }
        }
    };
    set(content(call.get_mut("requestBody")), &example["request"]);
    for (status, response) in call["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with('2') {
            set(content(Some(response)), &example["answer"]);
        }
    }
}

/// What a body is described as. Not by `[]`, which leaves a null where it finds nothing.
fn content(of: Option<&mut Value>) -> Option<&mut Map<String, Value>> {
    of?.get_mut("content")?.as_object_mut()
}
