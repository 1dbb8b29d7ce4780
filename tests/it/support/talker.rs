//! Somebody on a support socket.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::http::Client;

/// For anything that is to happen.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Talker(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Talker {
    /// A socket that has said nothing yet.
    pub async fn silent(server: SocketAddr) -> Self {
        let opening = tokio_tungstenite::connect_async(format!("ws://{server}/api/support/live"));
        let opened = tokio::time::timeout(PATIENCE, opening).await.expect("an answer within a minute");
        Self(opened.expect("opens").0)
    }

    /// A socket of the client's account.
    pub async fn open(client: &Client) -> Self {
        let mut talker = Self::silent(client.server()).await;
        talker.say(json!({"type": "auth", "token": token(client)})).await;
        talker
    }

    pub async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    /// Sends, unless the other side has closed.
    pub async fn send(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// The next message; a goodbye as `{"closed": CODE}`.
    pub async fn hear(&mut self) -> Value {
        loop {
            let word = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a word within a minute");
            match word {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
                Some(Ok(Message::Close(frame))) => {
                    return json!({"closed": u16::from(frame.expect("a reason").code)});
                }
                Some(Ok(_)) => {}
                ended => panic!("ended without a goodbye: {ended:?}"),
            }
        }
    }

    /// The next message of this kind, whatever comes before.
    pub async fn until(&mut self, kind: &str) -> Value {
        let mut before = Vec::new();
        for _ in 0..1_000 {
            let message = self.hear().await;
            if message["type"] == kind || !message[kind].is_null() {
                return message;
            }
            assert!(message["closed"].is_null(), "{message} before any {kind}");
            before.push(message);
        }
        panic!("no {kind} in {before:?}")
    }

    /// The session of the next `matched`.
    pub async fn matched(&mut self) -> String {
        self.until("matched").await["session_id"].as_str().expect("a text").to_owned()
    }

    pub async fn leave(mut self) {
        let _ = self.0.close(None).await;
        while let Ok(Some(Ok(_))) = tokio::time::timeout(PATIENCE, self.0.next()).await {}
    }
}

pub fn token(client: &Client) -> String {
    client.headers[0].1.trim_start_matches("Bearer ").to_owned()
}
