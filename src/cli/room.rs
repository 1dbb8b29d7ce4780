//! `usher room`: the admin API from a shell.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value, json};

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct RoomArgs {
    #[command(subcommand)]
    act: Act,
    /// Where the admin API is.
    #[arg(long, value_name = "URL", global = true, default_value = "http://127.0.0.1:8081")]
    admin: String,
    /// Its bearer token.
    #[arg(long, value_name = "TOKEN", global = true, env = "USHER_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Every room, a line each.
    List,
    /// One room.
    Show { room: String },
    /// Change limits: capacity=500 batch=50 message="Doors at ten" opens_at=1790816400000 (KEY=null clears).
    Set {
        room: String,
        #[arg(required = true, value_name = "KEY=VALUE")]
        changes: Vec<String>,
    },
    /// Admit nobody; places and passes stay.
    Pause { room: String },
    /// Admit again.
    Resume { room: String },
    /// Let people join and in, before the opening too.
    Open { room: String },
    /// Nobody joins, nobody is admitted.
    Close { room: String },
    /// Nobody joins; those in the line are admitted.
    Drain { room: String },
    /// Forward everybody: no line at all.
    Bypass { room: String },
    /// End the line and begin a new one. Everybody loses place and pass.
    Clear {
        room: String,
        /// The room's name once more.
        #[arg(long)]
        confirm: String,
    },
}

/// Runs one act and answers what to print.
pub(super) fn run(args: &RoomArgs) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let (method, path, body) = request(&args.act)?;
    let answer = runtime.block_on(call(args, method, &path, body))?;
    Ok(match answer.get("items").and_then(Value::as_array) {
        Some(rooms) => rooms.iter().map(line).collect::<Vec<_>>().join("\n"),
        None => serde_json::to_string_pretty(&answer)?,
    })
}

fn request(act: &Act) -> anyhow::Result<(Method, String, Value)> {
    let post = |room: &str, act: &str| Ok((Method::POST, format!("rooms/{room}/{act}"), json!({})));
    match act {
        Act::List => Ok((Method::GET, "rooms".into(), Value::Null)),
        Act::Show { room } => Ok((Method::GET, format!("rooms/{room}"), Value::Null)),
        Act::Set { room, changes } => Ok((Method::PATCH, format!("rooms/{room}"), read_changes(changes)?)),
        Act::Pause { room } => post(room, "pause"),
        Act::Resume { room } => post(room, "resume"),
        Act::Open { room } => post(room, "open"),
        Act::Close { room } => post(room, "close"),
        Act::Drain { room } => post(room, "drain"),
        Act::Bypass { room } => post(room, "bypass"),
        Act::Clear { room, confirm } => {
            Ok((Method::POST, format!("rooms/{room}/clear"), json!({ "confirm": confirm })))
        }
    }
}

/// `KEY=VALUE`: a value that reads as JSON is that, else it is text.
fn read_changes(changes: &[String]) -> anyhow::Result<Value> {
    let mut object = Map::new();
    for change in changes {
        let (key, value) =
            change.split_once('=').with_context(|| format!("expected KEY=VALUE, found {change:?}"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        object.insert(key.to_owned(), value);
    }
    Ok(Value::Object(object))
}

async fn call(args: &RoomArgs, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
    let url = format!("{}/admin/v1/{path}", args.admin.trim_end_matches('/'));
    let mut request = Request::builder().method(method).uri(&url).header("content-type", "application/json");
    if let Some(token) = &args.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let request = request.body(Full::new(body)).with_context(|| format!("{url} is no address"))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = tokio::time::timeout(PATIENCE, client.request(request))
        .await
        .map_err(|_| anyhow!("{url} did not answer within {} s", PATIENCE.as_secs()))?
        .with_context(|| format!("{url} cannot be reached"))?;
    let status = response.status();
    let bytes = response.into_body().collect().await.context("the answer broke off")?.to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if !status.is_success() {
        let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
        bail!("{status}: {detail}");
    }
    Ok(answer)
}

fn line(room: &Value) -> String {
    let text = |key: &str| match &room[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!(
        "{:<16} {:<8} waiting {:>8}  inside {:>6} of {:<6} admitted {}",
        text("name"),
        text("state"),
        text("waiting"),
        text("active"),
        text("capacity"),
        text("admitted_total"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_json_where_they_read_as_json() {
        let changes = ["capacity=5", "message=Doors at ten", "batch=null"].map(str::to_owned);
        let expected = json!({ "capacity": 5, "message": "Doors at ten", "batch": null });
        assert_eq!(read_changes(&changes).expect("pairs"), expected);
        assert!(read_changes(&["capacity".to_owned()]).is_err());
    }
}
