//! Webhooks: each change of a payment told to the merchant, at least once,
//! unsigned, in no promised order, as the provider's manual says.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::StandIn;
use super::book::{Payment, Refused, seoul};

/// A webhook that is not answered 200 is sent again so often.
const TRIES: u32 = 7;
/// Before the second try; doubled for each further one.
const AGAIN: Duration = Duration::from_secs(1);
/// An answer is waited for this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was told, and the way to tell it.
pub(super) struct Hooks {
    told: Mutex<Vec<Event>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { told: Mutex::default(), client: Client::builder(TokioExecutor::new()).build_http() }
    }
}

/// One webhook.
#[derive(Clone, Debug)]
pub(super) struct Event {
    id: String,
    body: Value,
}

impl StandIn {
    /// Tells the merchant that a payment changed, now or a little later.
    pub(super) fn tell(self: &StandIn, done: &Result<Payment, Refused>) {
        let Ok(payment) = done else { return };
        let created = seoul(self.now());
        let event = Event {
            id: uuid::Uuid::new_v4().to_string(),
            body: json!({
                "eventType": "PAYMENT_STATUS_CHANGED",
                "createdAt": created.split('+').next(),
                "data": payment.json(),
            }),
        };
        let serial = {
            let mut told = self.hooks.told.lock();
            told.push(event.clone());
            told.len() as u64
        };
        let Some(url) = self.options.webhook.clone() else { return };
        for copy in 0..self.options.webhook_copies {
            let wait = spread(self.options.webhook_jitter, serial, copy);
            let (client, url, event) = (self.hooks.client.clone(), url.clone(), event.clone());
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                deliver(&client, &url, &event).await;
            });
        }
    }

    /// Sends everything that was ever told once more; the statuses of the answers.
    pub(super) async fn tell_again(self: &Arc<Self>, url: &Uri, copies: usize, reversed: bool) -> Vec<u16> {
        let mut events = self.hooks.told.lock().clone();
        if reversed {
            events.reverse();
        }
        let mut statuses = Vec::new();
        for event in events.iter().flat_map(|event| std::iter::repeat_n(event, copies)) {
            let status = send(&self.hooks.client, url, event, 0).await;
            statuses.push(status.map_or(0, |status| status.as_u16()));
        }
        statuses
    }
}

/// Up to `jitter`, another time for each event and copy.
fn spread(jitter: Duration, serial: u64, copy: u32) -> Duration {
    let mixed = (serial ^ (u64::from(copy) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    jitter.mul_f64(mixed as f64 / (1_u64 << 24) as f64)
}

async fn deliver(client: &Client<HttpConnector, Full<Bytes>>, url: &Uri, event: &Event) {
    for tried in 0..TRIES {
        if send(client, url, event, tried).await == Some(StatusCode::OK) {
            return;
        }
        tokio::time::sleep(AGAIN * 2_u32.pow(tried)).await;
    }
    tracing::warn!(webhook = %event.id, "the merchant did not take a webhook");
}

async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    url: &Uri,
    event: &Event,
    tried: u32,
) -> Option<StatusCode> {
    let request = Request::post(url)
        .header("content-type", "application/json")
        .header("tosspayments-webhook-transmission-id", &event.id)
        .header("tosspayments-webhook-transmission-retried-count", tried)
        .body(Full::from(event.body.to_string()))
        .ok()?;
    let answer = tokio::time::timeout(PATIENCE, client.request(request)).await.ok()?.ok()?;
    Some(answer.status())
}
