//! Somebody who looks at a live map, and holds the server to every word.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// For anything that is to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a message was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Snapshot {
        version: u64,
    },
    Delta {
        from: u64,
        to: u64,
        seats: Vec<(String, String)>,
    },
    Presence(u64),
    /// A code and its reason.
    Closed(u16, String),
}

/// An open live map, applied to what is known.
pub struct Viewer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Seats in the order of the list of seats, with their statuses there.
    list: Vec<(String, String)>,
    pub version: Option<u64>,
    /// The last snapshot, and what changed since.
    bits: Option<Vec<u8>>,
    changed: BTreeMap<String, String>,
    pub active: Option<u64>,
}

impl Viewer {
    /// A map of the event, with the headers that a client sends.
    pub async fn open(server: SocketAddr, event: &str, headers: &[(String, String)]) -> Result<Self, Error> {
        let mut request =
            format!("ws://{server}/api/events/{event}/live").into_client_request().expect("a request");
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().expect("a name");
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let opened = tokio::time::timeout(PATIENCE, tokio_tungstenite::connect_async(request)).await;
        let (socket, _) = opened.expect("an answer within a minute")?;
        Ok(Self {
            socket,
            list: Vec::new(),
            version: None,
            bits: None,
            changed: BTreeMap::new(),
            active: None,
        })
    }

    /// Takes the list of seats as known, which snapshots are in the order of.
    pub fn knows(mut self, list: &Value) -> Self {
        self.read_list(list);
        self
    }

    pub fn read_list(&mut self, list: &Value) {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let seats = list["seats"].as_array().expect("a list").iter();
        self.list = seats.map(|seat| (text(&seat["id"]), text(&seat["status"]))).collect();
    }

    /// How the seat looks here.
    pub fn seat(&self, id: &str) -> &str {
        if let Some(status) = self.changed.get(id) {
            return status;
        }
        let at = self.list.iter().position(|(seat, _)| seat == id).expect("a seat of the list");
        let Some(bits) = &self.bits else { return &self.list[at].1 };
        assert_eq!(bits.len(), self.list.len().div_ceil(4), "two bits a seat");
        ["AVAILABLE", "HELD", "SOLD"][usize::from(bits[at / 4] >> (2 * (at % 4)) & 3)]
    }

    pub async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    /// Sends, unless the other side has closed.
    pub async fn send(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// Goes on after what is known.
    pub async fn resume(&mut self, version: u64) {
        self.version = Some(version);
        self.say(json!({"type": "resume", "version": version})).await;
    }

    /// The next message, applied.
    pub async fn next(&mut self) -> Heard {
        loop {
            let message =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a word within a minute");
            match message {
                Some(Ok(Message::Text(text))) => {
                    return self.hear(&serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.expect("a reason");
                    return Heard::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                ended => panic!("ended without a goodbye: {ended:?}"),
            }
        }
    }

    fn hear(&mut self, said: &Value) -> Heard {
        let number = |name: &str| said[name].as_u64().expect("a number");
        match said["type"].as_str() {
            Some("snapshot") => {
                let bits = base64::engine::general_purpose::STANDARD
                    .decode(said["seats"].as_str().expect("a text"))
                    .expect("base64");
                self.bits = Some(bits);
                self.changed.clear();
                self.version = Some(number("version"));
                Heard::Snapshot { version: number("version") }
            }
            Some("delta") => {
                let (from, to) = (number("from"), number("to"));
                assert_eq!(Some(from), self.version, "no gap and nothing twice");
                assert!(from < to, "{said}");
                self.version = Some(to);
                let seats: Vec<(String, String)> =
                    serde_json::from_value(said["seats"].clone()).expect("pairs");
                self.changed.extend(seats.iter().cloned());
                Heard::Delta { from, to, seats }
            }
            Some("presence") => {
                self.active = Some(number("active"));
                Heard::Presence(number("active"))
            }
            _ => panic!("{said} is no message of the contract"),
        }
    }

    /// Listens until `enough`.
    pub async fn until(&mut self, enough: impl Fn(&Self) -> bool) {
        let listening = async {
            while !enough(self) {
                if let Heard::Closed(code, why) = self.next().await {
                    panic!("closed: {code} {why}");
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("within a minute");
    }

    /// Listens until the seat looks so.
    pub async fn until_seat(&mut self, seat: &str, status: &str) {
        self.until(|viewer| viewer.version.is_some() && viewer.seat(seat) == status).await;
    }

    /// The goodbye, whatever else is said before.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Heard::Closed(code, why) = self.next().await {
                return (code, why);
            }
        }
    }

    /// Says goodbye and waits for the answer.
    pub async fn leave(mut self) {
        self.send(Message::Close(None)).await;
        while let Ok(Some(Ok(_))) = tokio::time::timeout(PATIENCE, self.socket.next()).await {}
    }
}
