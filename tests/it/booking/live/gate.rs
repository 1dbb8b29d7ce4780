//! A live map behind the gate.

use tokio_tungstenite::tungstenite::Error;
use usher::booking::SAMPLE_EVENT;

use crate::support::booking::{Database, TestBooking};
use crate::support::gate::{TestGate, room};
use crate::support::viewer::{Heard, Viewer};

const KEY: [u8; 32] = [0; 32];
const KEY_TEXT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn refused(server: std::net::SocketAddr) -> u16 {
    match Viewer::open(server, SAMPLE_EVENT, &[]).await {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("{:?}", other.map(drop)),
    }
}

/// The office looks at the real time, as the gate does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_map_is_for_those_whom_the_gate_lets_in() {
    let office = TestBooking::with(Database::Memory, |settings| {
        settings.require_pass = true;
        settings.assertion_keys = vec![KEY];
    })
    .await
    .expect("in memory");
    let now = usher::clock::Clock::now(&usher::clock::SystemClock::new());
    let (now, there) = (now.as_millis(), office.now_ms());
    office.clock.set_back(std::time::Duration::from_millis(there.saturating_sub(now)));
    office.clock.advance(std::time::Duration::from_millis(now.saturating_sub(there)));
    assert_eq!(refused(office.client.server()).await, 403, "no assertion");
    let upstream = format!("http://{}", office.client.server());
    let settings = room(&upstream, &format!("[gate.keys]\ncurrent = \"{KEY_TEXT}\"\n[[room]]"));
    let gate = TestGate::start(&settings).await;
    assert_eq!(refused(gate.address()).await, 429, "no pass");
    let inside = gate.admitted().await;
    let cookies = [("cookie".to_owned(), inside.cookie())];
    let mut through = Viewer::open(gate.address(), SAMPLE_EVENT, &cookies).await.expect("opens");
    assert!(matches!(through.next().await, Heard::Snapshot { .. }));
    through.until(|viewer| viewer.active == Some(1)).await;
    // The office stops: its goodbye comes through the gate.
    office.stop.cancel();
    assert_eq!(through.closed().await.0, 1001);
}
