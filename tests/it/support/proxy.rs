//! A wire between two servers that a test can slow down, cut, or lay anew.
//!
//! What a cut holds back is delivered when it heals, as TCP does by sending again.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::ports::free_port;

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Clear,
    /// Everything comes so much later.
    Slow(Duration),
    /// Requests arrive, replies do not.
    RepliesLost,
    /// Nothing arrives.
    Cut,
}

#[derive(Clone, Copy)]
enum Way {
    There,
    Back,
}

/// Bytes, and when they may be written.
type Late = (Instant, Vec<u8>);

/// Where a wire leads, and since how often it was laid anew.
type Target = (u16, u64);

/// A wire to a server on this machine.
pub(crate) struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    target: watch::Sender<Target>,
    accepting: AbortHandle,
}

impl Proxy {
    /// A clear wire to that port.
    pub(crate) async fn to(port: u16) -> Self {
        let own = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, own)).await.expect("a free port");
        let weather = watch::Sender::new(Weather::Clear);
        let target = watch::Sender::new((port, 0));
        let accepting = tokio::spawn(accept(listener, weather.clone(), target.clone())).abort_handle();
        Self { port: own, weather, target, accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Breaks all connections; new ones lead to another port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.target.send_modify(|target| *target = (port, target.1 + 1));
    }

    /// New connections lead to another port; those that stand go on.
    pub(crate) fn lead_newcomers_to(&self, port: u16) {
        self.target.send_modify(|target| target.0 = port);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.lead_to(0);
    }
}

async fn accept(listener: TcpListener, weather: watch::Sender<Weather>, target: watch::Sender<Target>) {
    while let Ok((client, _)) = listener.accept().await {
        let (weather, mut target) = (weather.clone(), target.subscribe());
        tokio::spawn(async move {
            let (port, laid) = *target.borrow();
            tokio::select! {
                () = join(client, port, &weather) => {}
                _ = target.wait_for(|(_, now)| *now != laid) => {}
            }
        });
    }
}

async fn join(client: TcpStream, port: u16, weather: &watch::Sender<Weather>) {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(server) = TcpStream::connect(at).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let there = carry(from_client, to_server, weather.subscribe(), Way::There);
    let back = carry(from_server, to_client, weather.subscribe(), Way::Back);
    // When either side ends, both do.
    tokio::select! { () = there => {}, () = back => {} }
}

async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, weather: watch::Receiver<Weather>, way: Way) {
    let (send, receive) = mpsc::unbounded_channel();
    tokio::join!(read(from, send, weather.clone(), way), write(to, receive, weather, way));
}

/// How long a chunk is under way; `None` = until the weather changes.
fn delay(weather: Weather, way: Way) -> Option<Duration> {
    match (weather, way) {
        (Weather::Cut, _) | (Weather::RepliesLost, Way::Back) => None,
        // A round trip has one delay.
        (Weather::Slow(delay), Way::There) => Some(delay),
        (Weather::Clear | Weather::Slow(_) | Weather::RepliesLost, _) => Some(Duration::ZERO),
    }
}

async fn read(
    mut from: OwnedReadHalf,
    send: mpsc::UnboundedSender<Late>,
    mut weather: watch::Receiver<Weather>,
    way: Way,
) {
    let mut buffer = vec![0; 64 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let late = delay(*weather.borrow(), way).unwrap_or_default();
        if send.send((Instant::now() + late, buffer[..read].to_vec())).is_err() {
            return;
        }
    }
    // Nor does the end of a connection get through a cut.
    let _ = weather.wait_for(|weather| delay(*weather, way).is_some()).await;
}

async fn write(
    mut to: OwnedWriteHalf,
    mut receive: mpsc::UnboundedReceiver<Late>,
    mut weather: watch::Receiver<Weather>,
    way: Way,
) {
    while let Some((due, bytes)) = receive.recv().await {
        sleep_until(due).await;
        if weather.wait_for(|weather| delay(*weather, way).is_some()).await.is_err() {
            return;
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
