//! The description: complete, with examples that are true.

use serde_json::Value;

use crate::support::booking::{Database, TestBooking};

async fn description(office: &TestBooking) -> Value {
    office.client.get("/api/openapi.json").await.expect(200).json
}

/// Every call as method, path and description.
fn calls(described: &Value) -> Vec<(String, String, &Value)> {
    let paths = described["paths"].as_object().expect("paths");
    let calls = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods");
        methods.iter().map(|(method, call)| (method.clone(), path.clone(), call))
    });
    calls.collect()
}

#[tokio::test]
async fn every_call_has_examples_and_one_shape_for_refusals() {
    let office = TestBooking::open(Database::Memory).await.expect("SQLite is always there");
    let described = description(&office).await;
    assert!(described["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    for (method, path, call) in calls(&described) {
        let name = format!("{method} {path}");
        for (kind, media) in call["requestBody"]["content"].as_object().into_iter().flatten() {
            assert!(!media["example"].is_null(), "{name}: no example of the request ({kind})");
        }
        let responses = call["responses"].as_object().expect("responses");
        assert!(responses.contains_key("default") && responses.contains_key("400"), "{name}");
        assert_eq!(
            responses.contains_key("401"),
            call["security"].is_array() || path == "/api/sessions",
            "{name}"
        );
        let is_there = |of: &Value, key: &str| of.get(key).is_none_or(Value::is_object);
        assert!(is_there(call, "requestBody"), "{name}: a null where a body would be described");
        for (status, response) in responses {
            assert!(
                is_there(response, "content"),
                "{name} {status}: a null where content would be described"
            );
            for (kind, media) in response["content"].as_object().into_iter().flatten() {
                if status.starts_with('2') {
                    assert!(!media["example"].is_null(), "{name}: no example of the answer ({kind})");
                } else {
                    assert_eq!(kind, "application/problem+json", "{name} {status}");
                    assert_eq!(media["schema"]["$ref"], "#/components/schemas/Problem");
                }
            }
        }
        let takes_key =
            call["parameters"].as_array().into_iter().flatten().any(|p| p["name"] == "Idempotency-Key");
        assert_eq!(takes_key, method == "post" && path != "/api/sessions", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_requests_are_understood() {
    let office = TestBooking::open(Database::Memory).await.expect("SQLite is always there");
    let described = description(&office).await;
    let admin = office.admin().await;
    for (method, path, call) in calls(&described) {
        let example = &call["requestBody"]["content"]["application/json"]["example"];
        // Signing in needs the account of another example.
        if example.is_null() || path == "/api/sessions" {
            continue;
        }
        let path = path.replace("{id}", "winter-night-live");
        let method: http::Method = method.to_uppercase().parse().expect("a method");
        let answer = admin.send(method.clone(), &path, Some(example.to_string())).await;
        assert!(
            ![400, 415, 422].contains(&answer.status.as_u16()) && !answer.status.is_server_error(),
            "{method} {path}: {} {}",
            answer.status,
            answer.json
        );
    }
}
