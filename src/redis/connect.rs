//! Making one connection, greeted and judged.

use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use ::redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use ::redis::{AsyncConnectionConfig, Client, Cmd, RedisConnectionInfo, RedisError, Value, cmd};
use tokio::time::timeout;

use super::error::{ConnectError, said};
use super::target::{Login, Target};
use super::{CALLS_AT_ONCE, fit};

/// Bound on one TCP connection with its greeting.
const ONE_CONNECTION: Duration = Duration::from_secs(1);
/// Bound on the whole: asking sentinels or a cluster's nodes, connecting, judging.
const WHOLE: Duration = Duration::from_secs(2);
/// Between two tries of one call inside a cluster, in ms.
const CLUSTER_RETRY_MS: (u64, u64) = (20, 200);

/// What to connect to, and how long its calls may take.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) target: Target,
    pub(super) call_timeout: Duration,
}

/// A connection; clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    Server(MultiplexedConnection),
    /// To a cluster; it keeps connections to the nodes by itself.
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Server(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }
    }

    /// `INFO` of every server that would be written to.
    async fn info(&mut self) -> Result<Value, RedisError> {
        match self {
            Self::Server(connection) => connection.req_packed_command(&cmd("INFO")).await,
            Self::Cluster(connection) => {
                let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                connection.route_command(cmd("INFO"), masters).await
            }
        }
    }
}

/// Connects to the target as it is now, resolving names and asking sentinels anew.
///
/// # Errors
/// See [`ConnectError`].
pub(super) async fn connect(way: &Way) -> Result<Connection, ConnectError> {
    let whole = async {
        let mut connection = open(way).await.map_err(away)?;
        match connection.info().await.and_then(Value::extract_error) {
            Ok(info) => texts(&info).try_for_each(|info| fit::judge(&info))?,
            Err(error) if error.code() == Some("NOPERM") => {
                tracing::warn!("redis forbids INFO: make sure that maxmemory-policy is noeviction");
            }
            Err(error) => return Err(away(error)),
        }
        Ok(connection)
    };
    timeout(WHOLE, whole)
        .await
        .unwrap_or_else(|_| Err(ConnectError::Away(format!("no greeting within {} s", WHOLE.as_secs()))))
}

async fn open(way: &Way) -> Result<Connection, RedisError> {
    match &way.target {
        Target::Server(url) => server(&Client::open(url.as_str())?).await,
        Target::Sentinel { sentinels, name, login, db } => {
            let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(master(login, *db));
            let role = SentinelServerType::Master;
            // A new one each time: what it remembers may be what went wrong.
            let mut sentinel = SentinelClient::build(sentinels.clone(), name.clone(), Some(node), role)?;
            server(&sentinel.async_get_client().await?).await
        }
        Target::Cluster(nodes) => cluster(nodes, way.call_timeout).await,
    }
}

async fn server(client: &Client) -> Result<Connection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ONE_CONNECTION))
        // The caller's own deadline also counts the wait for a turn.
        .set_response_timeout(None)
        .set_pipeline_buffer_size(CALLS_AT_ONCE);
    client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Server)
}

async fn cluster(nodes: &[String], call_timeout: Duration) -> Result<Connection, RedisError> {
    let client = ClusterClient::builder(nodes.iter().map(String::as_str))
        .connection_timeout(ONE_CONNECTION)
        .response_timeout(call_timeout)
        .overall_response_timeout(None)
        .retries(1)
        .min_retry_wait(CLUSTER_RETRY_MS.0)
        .max_retry_wait(CLUSTER_RETRY_MS.1)
        .build()?;
    client.get_async_connection().await.map(Connection::Cluster)
}

fn master(login: &Login, db: i64) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default().set_db(db);
    if let Some(user) = &login.user {
        info = info.set_username(user);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password);
    }
    info
}

/// The texts in an answer: one, or a cluster's map from node to text.
fn texts(answer: &Value) -> Box<dyn Iterator<Item = String> + '_> {
    match answer {
        Value::BulkString(bytes) => Box::new(std::iter::once(String::from_utf8_lossy(bytes).into_owned())),
        Value::VerbatimString { text, .. } => Box::new(std::iter::once(text.clone())),
        Value::Array(items) => Box::new(items.iter().flat_map(texts)),
        Value::Map(nodes) => Box::new(nodes.iter().flat_map(|(_, info)| texts(info))),
        _ => Box::new(std::iter::empty()),
    }
}

fn away(error: RedisError) -> ConnectError {
    ConnectError::Away(said(&error))
}
