//! The gate that one writes first, as a reference for the comparison: each poll
//! is one Redis script that notes the visitor, evicts the silent and counts.
//!
//! Usage: `naive-gate PORT REDIS_PORT`. One thread. The visitor is named by the
//! cookie `visitor` and not checked: what a signature costs is not its point.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Router, serve};
use redis::aio::ConnectionManager;
use redis::{Client, Script};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const POLL: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', 'seen', 'XX', now, ARGV[1])
for _, silent in ipairs(redis.call('ZRANGEBYSCORE', 'seen', '-inf', now - 180000, 'LIMIT', 0, 10)) do
  redis.call('ZREM', 'seen', silent)
  redis.call('ZREM', 'waiting', silent)
end
return redis.call('ZRANK', 'waiting', ARGV[1])
";

struct Gate {
    redis: ConnectionManager,
    poll: Script,
}

async fn status(State(gate): State<Arc<Gate>>, headers: HeaderMap) -> Result<String, StatusCode> {
    let cookie = headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok());
    let visitor = cookie.and_then(|cookie| cookie.strip_prefix("visitor=")).ok_or(StatusCode::BAD_REQUEST)?;
    let mut redis = gate.redis.clone();
    let rank: Option<u64> = gate
        .poll
        .arg(visitor)
        .invoke_async(&mut redis)
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let position = rank.ok_or(StatusCode::GONE)? + 1;
    Ok(format!("{{\"state\":\"waiting\",\"position\":{position},\"poll_after_ms\":2000}}"))
}

async fn run(port: &str, redis: &str) -> Result<(), Box<dyn std::error::Error>> {
    let redis = ConnectionManager::new(Client::open(format!("redis://127.0.0.1:{redis}/"))?).await?;
    let gate = Arc::new(Gate { redis, poll: Script::new(POLL) });
    let app = Router::new().route("/queue/status", get(status)).with_state(gate);
    Ok(serve(TcpListener::bind(format!("127.0.0.1:{port}")).await?, app).await?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ports = std::env::args().skip(1);
    let (Some(port), Some(redis)) = (ports.next(), ports.next()) else {
        return Err("usage: naive-gate PORT REDIS_PORT".into());
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(&port, &redis))
}
