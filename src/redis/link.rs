//! The one connection in use, replaced in the background when it is lost.
//!
//! Callers take the connection that is there, or wait a moment that hides a mere
//! hiccup; only the keeper reconnects, one attempt at a time, so that a thousand
//! callers do not make a thousand attempts.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, ErrorKind, RedisError, Value};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::connect::{Connection, Way, connect};
use super::error::{CallError, ConnectError, said};
use super::target::Target;

/// How long a call waits for a connection that is being replaced.
const PATIENCE: Duration = Duration::from_millis(40);
/// Before the first attempt to reconnect; doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(20);
/// Between two attempts, at most.
const LONGEST_DELAY: Duration = Duration::from_millis(200);

/// A connection in service.
#[derive(Clone)]
pub(super) struct Live {
    /// Which one since the start.
    id: u64,
    connection: Connection,
}

impl Live {
    pub(super) async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        self.connection.send(command).await
    }
}

enum State {
    Up(Live),
    /// Why.
    Down(String),
}

/// The connection in use and who replaces it.
pub(super) struct Link {
    way: Way,
    state: Arc<watch::Sender<State>>,
    keeper: AbortHandle,
}

impl Link {
    /// Connects for the first time.
    pub(super) async fn open(target: Target, call_timeout: Duration) -> Result<Self, ConnectError> {
        let way = Way { target, call_timeout };
        let connection = connect(&way).await?;
        let (state, _) = watch::channel(State::Up(Live { id: 1, connection }));
        let state = Arc::new(state);
        let keeper = tokio::spawn(keep(way.clone(), state.clone())).abort_handle();
        Ok(Self { way, state, keeper })
    }

    pub(super) fn target(&self) -> &Target {
        &self.way.target
    }

    /// The connection in service.
    ///
    /// # Errors
    /// [`CallError::Away`] after a few tens of ms without one.
    pub(super) async fn current(&self) -> Result<Live, CallError> {
        if let State::Up(live) = &*self.state.borrow() {
            return Ok(live.clone());
        }
        let mut state = self.state.subscribe();
        let _ = timeout(PATIENCE, state.wait_for(|state| matches!(state, State::Up(_)))).await;
        match &*self.state.borrow() {
            State::Up(live) => Ok(live.clone()),
            State::Down(why) => Err(CallError::Away(why.clone())),
        }
    }

    /// The connection failed or leads to the wrong server.
    pub(super) fn lost(&self, live: &Live, error: &RedisError) {
        let gone = match live.connection {
            Connection::Server(_) => true,
            // It replaces its nodes' connections by itself, except when none is left.
            Connection::Cluster(_) => error.kind() == ErrorKind::ClusterConnectionNotFound,
        };
        if gone {
            self.take_out(live, &said(error));
        }
    }

    /// The server says that it is cut off: sentinels may have named another.
    pub(super) fn doubted(&self, live: &Live, error: &RedisError) {
        if matches!(self.way.target, Target::Sentinel { .. }) {
            self.take_out(live, &said(error));
        }
    }

    /// The server did not answer in time.
    pub(super) fn silent(&self, live: &Live, why: &str) {
        match live.connection {
            Connection::Server(_) => self.take_out(live, why),
            // Only one of its nodes is.
            Connection::Cluster(_) => {}
        }
    }

    fn take_out(&self, live: &Live, why: &str) {
        self.state.send_if_modified(|state| match state {
            State::Up(current) if current.id == live.id => {
                tracing::warn!(redis = %self.way.target, why, "redis is away");
                *state = State::Down(why.to_owned());
                true
            }
            _ => false,
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Replaces every connection that is lost, for as long as the link lives.
async fn keep(way: Way, state: Arc<watch::Sender<State>>) {
    let mut changes = state.subscribe();
    for id in 2.. {
        // Cannot fail: this task holds a sender.
        let _ = changes.wait_for(|state| matches!(state, State::Down(_))).await;
        let connection = reconnect(&way, &state).await;
        tracing::info!(redis = %way.target, "redis is back");
        state.send_replace(State::Up(Live { id, connection }));
    }
}

async fn reconnect(way: &Way, state: &watch::Sender<State>) -> Connection {
    let mut delay = FIRST_DELAY;
    loop {
        sleep(delay).await;
        match connect(way).await {
            Ok(connection) => return connection,
            Err(error) => {
                tracing::debug!(redis = %way.target, %error, "reconnecting failed");
                state.send_replace(State::Down(error.why()));
            }
        }
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}
