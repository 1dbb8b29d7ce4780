//! `usher toss-stand-in`: a payment provider on this machine; and the demo's post.
//!
//! Speaks the wire format of Toss Payments' core API (version 2022-11-16:
//! confirm, read, cancel, transactions), keeps its books in memory, and fails on
//! demand in the ways a provider does: refusals, slowness, captures that are
//! never answered, webhooks twice and in the wrong order. Never takes money.
//! What a buyer's browser does at the provider is a page and a call below
//! `/stand-in`, which ask for no key: loopback only.

mod api;
mod book;
mod control;
mod faults;
mod hooks;
mod mailbox;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::domain::time::Timestamp;
use book::Book;
use hooks::Hooks;

pub use mailbox::Mailbox;

/// The key that the stand-in asks for when it is told no other.
pub const SECRET_KEY: &str = "test_sk_usher_stand_in";

/// What `usher toss-stand-in` takes.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Address and port to listen on; port 0 takes a free one and prints it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001")]
    pub listen: SocketAddr,
    /// The secret key that callers must send (Basic, as the user name).
    #[arg(long, value_name = "KEY", default_value = SECRET_KEY, hide_default_value = false)]
    pub secret_key: String,
    /// Where to send webhooks, such as http://127.0.0.1:9000/api/payments/webhooks/toss.
    #[arg(long, value_name = "URL")]
    pub webhook: Option<http::Uri>,
    /// Sends each webhook so many times.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub webhook_copies: u32,
    /// Delays each webhook by up to this long, each by another time, so that they arrive in another order.
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration, default_value = "0s")]
    pub webhook_jitter: Duration,
    /// Answers every call this late.
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration, default_value = "0s")]
    pub delay: Duration,
    /// Captures every Nth confirmed payment and never answers; 0 = none.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub silent_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9_001)),
            secret_key: SECRET_KEY.to_owned(),
            webhook: None,
            webhook_copies: 1,
            webhook_jitter: Duration::ZERO,
            delay: Duration::ZERO,
            silent_every: 0,
        }
    }
}

/// The provider.
pub struct StandIn {
    options: Options,
    clock: Arc<dyn Clock>,
    book: Mutex<Book>,
    hooks: Hooks,
}

impl std::fmt::Debug for StandIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StandIn").field("listen", &self.options.listen).finish_non_exhaustive()
    }
}

impl StandIn {
    /// With empty books.
    #[must_use]
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { options, clock, book: Mutex::default(), hooks: Hooks::default() })
    }

    /// The API, and what stands for a buyer's browser.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        api::routes().merge(control::routes()).with_state(Arc::clone(self))
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Listens until the process is told to stop; `ready` hears the address.
///
/// # Errors
/// When the address is taken.
pub async fn run(
    options: Options,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(SocketAddr),
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    let stand_in = StandIn::new(options, clock);
    ready(listener.local_addr()?);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stopped = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    // No waiting for calls under way: a silent one never ends.
    tokio::select! {
        done = axum::serve(listener, stand_in.router()).into_future() => done,
        () = stopped => Ok(()),
    }
}
