//! Idle connections to the app.
//!
//! One is put here only after an answer was read to its exact end with nothing
//! behind it, and is taken only while nothing has come since: whatever an app
//! says unasked is nobody's answer.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::super::forward::POOL_IDLE;

/// Idle connections by peer, the last one used at the end.
#[derive(Debug, Default)]
pub(in crate::gate) struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    /// Monotonic.
    since: Duration,
}

impl Pool {
    /// A connection that is open and has nothing to say.
    pub(in crate::gate) fn take(&self, peer: SocketAddr, now: Duration) -> Option<TcpStream> {
        loop {
            let idle = self.idle.lock().get_mut(&peer)?.pop()?;
            if !idle.is_old(now) && is_quiet(&idle.stream) {
                return Some(idle.stream);
            }
        }
    }

    /// Keeps a connection whose answer was read to its exact end.
    pub(in crate::gate) fn put(&self, peer: SocketAddr, stream: TcpStream, now: Duration) {
        self.idle.lock().entry(peer).or_default().push(Idle { stream, since: now });
    }

    /// Closes what was idle for too long.
    pub(in crate::gate) fn sweep(&self, now: Duration) {
        self.idle.lock().retain(|_, idle| {
            idle.retain(|idle| !idle.is_old(now));
            !idle.is_empty()
        });
    }
}

impl Idle {
    fn is_old(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= POOL_IDLE
    }
}

/// Whether the peer neither closed nor sent anything. Asks the socket itself:
/// the runtime would notice with its next turn only, and a busy one takes its time.
fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    matches!(SockRef::from(stream).peek(&mut byte), Err(why) if why.kind() == ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    async fn pair() -> (SocketAddr, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (address, near.expect("connected"), far.expect("accepted").0)
    }

    #[tokio::test]
    async fn a_quiet_connection_is_used_again_and_an_old_one_is_not() {
        let (pool, (address, near, _far)) = (Pool::default(), pair().await);
        pool.put(address, near, NOW);
        let near = pool.take(address, NOW).expect("idle");
        assert!(pool.take(address, NOW).is_none(), "each is taken once");
        pool.put(address, near, NOW);
        pool.sweep(NOW + POOL_IDLE / 2);
        let near = pool.take(address, NOW + POOL_IDLE / 2).expect("not old");
        pool.put(address, near, NOW);
        assert!(pool.take(address, NOW + POOL_IDLE).is_none(), "old");
    }

    #[tokio::test]
    async fn a_connection_that_spoke_unasked_or_closed_is_not_used_again() {
        let pool = Pool::default();
        let (address, near, mut far) = pair().await;
        far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("sent");
        near.readable().await.expect("it came");
        pool.put(address, near, NOW);
        assert!(pool.take(address, NOW).is_none(), "it spoke");
        let (address, near, far) = pair().await;
        drop(far);
        near.readable().await.expect("it ended");
        pool.put(address, near, NOW);
        assert!(pool.take(address, NOW).is_none(), "it closed");
    }
}
