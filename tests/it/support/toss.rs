//! The payment stand-in, over HTTP, beside an office that uses it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use usher::config;
use usher::standin::{Options, SECRET_KEY, StandIn};

use super::booking::{Database, TestBooking};
use super::http::{Answer, Client};

pub struct Bank {
    pub client: Client,
    stand_in: Arc<StandIn>,
    address: SocketAddr,
    open: CancellationToken,
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.open.cancel();
    }
}

/// An office that takes cards, and the bank behind it.
pub async fn office(
    database: Database,
    change: impl FnOnce(&mut config::Toss),
) -> Option<(TestBooking, Bank)> {
    let (office, bank) = idle_office(database, change).await?;
    tokio::spawn(Arc::clone(&office.booking).run(office.stop.clone()));
    Some((office, bank))
}

/// An office whose background jobs do not run.
pub async fn idle_office(
    database: Database,
    change: impl FnOnce(&mut config::Toss),
) -> Option<(TestBooking, Bank)> {
    idle_office_with(database, change, |_| {}).await
}

/// As [`office`], with holds that last for hours.
pub async fn unhurried_office(database: Database) -> Option<(TestBooking, Bank)> {
    let hours = Duration::from_secs(10 * 3_600);
    let change = |settings: &mut config::Booking| (settings.hold_ttl, settings.hold_max) = (hours, hours);
    let (office, bank) = idle_office_with(database, |_| {}, change).await?;
    tokio::spawn(Arc::clone(&office.booking).run(office.stop.clone()));
    Some((office, bank))
}

/// As [`idle_office`], with other settings.
pub async fn idle_office_with(
    database: Database,
    change: impl FnOnce(&mut config::Toss),
    also: impl FnOnce(&mut config::Booking),
) -> Option<(TestBooking, Bank)> {
    let (toss, doors) = doors(change).await;
    let office = TestBooking::idle(database, with(toss, also)).await?;
    let bank = doors.open(&office);
    Some((office, bank))
}

/// As [`idle_office_with`], over an empty database somewhere.
pub async fn idle_office_at(
    database: String,
    change: impl FnOnce(&mut config::Toss),
    also: impl FnOnce(&mut config::Booking),
) -> (TestBooking, Bank) {
    let (toss, doors) = doors(change).await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let office = TestBooking::idle_at(database, folder, with(toss, also)).await;
    let bank = doors.open(&office);
    (office, bank)
}

/// A bank's address, before it opens there.
struct Doors(tokio::net::TcpListener, SocketAddr);

async fn doors(change: impl FnOnce(&mut config::Toss)) -> (config::Toss, Doors) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut toss = config::Toss {
        base_url: format!("http://{address}"),
        secret_key: SECRET_KEY.to_owned(),
        timeout: Duration::from_secs(15),
        refund_unknown: false,
        window: Some(format!("http://{address}/stand-in/checkout")),
    };
    change(&mut toss);
    (toss, Doors(listener, address))
}

fn with(toss: config::Toss, also: impl FnOnce(&mut config::Booking)) -> impl FnOnce(&mut config::Booking) {
    |settings| {
        settings.toss = Some(toss);
        also(settings);
    }
}

impl Doors {
    fn open(self, office: &TestBooking) -> Bank {
        let Self(listener, address) = self;
        let stand_in = StandIn::new(Options::default(), office.clock.clone());
        let open = serve(&stand_in, listener);
        Bank { client: Client::of(address), stand_in, address, open }
    }
}

fn serve(stand_in: &Arc<StandIn>, listener: tokio::net::TcpListener) -> CancellationToken {
    let open = CancellationToken::new();
    let (router, closed) = (stand_in.router(), open.clone().cancelled_owned());
    tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(closed).await });
    open
}

impl Bank {
    /// The buyer agrees to pay for the order; the payment's key.
    pub async fn agree(&self, order: &Answer) -> String {
        self.agree_with(order, json!({})).await
    }

    /// As [`agree`](Self::agree), with the stand-in's further wishes.
    pub async fn agree_with(&self, order: &Answer, wishes: Value) -> String {
        let mut wish = json!({"orderId": order.json["order_id"], "amount": order.json["amount"]});
        wish.as_object_mut().expect("an object").extend(wishes.as_object().expect("an object").clone());
        self.client.post("/stand-in/payments", wish).await.expect(201).text("paymentKey")
    }

    pub async fn fault(&self, fault: Value) {
        self.client.post("/stand-in/faults", fault).await.expect(204);
    }

    pub async fn mend(&self) {
        self.client.delete("/stand-in/faults").await.expect(204);
    }

    /// The payment as the bank has it, `captures` included.
    pub async fn payment(&self, key: &str) -> Value {
        let all = self.client.get("/stand-in/payments").await.expect(200);
        let all = all.json["items"].as_array().expect("a list").clone();
        all.into_iter().find(|payment| payment["paymentKey"] == key).expect("a payment")
    }

    /// Asserts that money was taken once, and never asked for under a second key.
    pub async fn assert_taken_once(&self, key: &str) {
        let payment = self.payment(key).await;
        assert_eq!((&payment["captures"], &payment["doubles"]), (&json!(1), &json!(0)), "{payment}");
    }

    /// What a merchant other than the office does with the same key.
    pub async fn merchant(&self, path: &str, body: Value) -> Answer {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{SECRET_KEY}:"));
        self.client.with("authorization", &format!("Basic {basic}")).post(path, body).await
    }

    /// Sends every webhook there ever was to the office.
    pub async fn tell(&self, office: &TestBooking, copies: usize, reversed: bool) -> Vec<Value> {
        let url = format!("http://{}/api/payments/webhooks/toss", office.client.server());
        let body = json!({"url": url, "copies": copies, "reversed": reversed});
        let told = self.client.post("/stand-in/webhooks", body).await.expect(200);
        told.json["statuses"].as_array().expect("a list").clone()
    }

    /// Closes the doors; calls are refused from here on.
    pub async fn close(&self) {
        self.open.cancel();
        let closed = async || tokio::net::TcpStream::connect(self.address).await.is_err().then_some(());
        super::booking::until(closed).await;
    }

    /// Opens them again, at the same address and with the same books.
    pub async fn reopen(&mut self) {
        let bind = async || tokio::net::TcpListener::bind(self.address).await.ok();
        let listener = super::booking::until(bind).await;
        self.open = serve(&self.stand_in, listener);
    }
}

/// What a fan does.
impl Client {
    /// Confirms a payment of the order's amount.
    pub async fn confirm(&self, order: &Answer, key: &str) -> Answer {
        let body = json!({
            "paymentKey": key, "orderId": order.json["order_id"], "amount": order.json["amount"],
        });
        self.post("/api/payments/confirm", body).await
    }

    /// An order of these seats.
    pub async fn ordered(&self, seats: &[&str]) -> Answer {
        let hold = self.hold(seats).await.expect(201);
        self.order(&hold).await.expect(201)
    }

    pub async fn order_status(&self, order: &Answer) -> String {
        self.get(&format!("/api/orders/{}", order.text("order_id"))).await.expect(200).text("status")
    }
}

impl TestBooking {
    /// The payment's last answer, with time going by: what is in doubt is looked at again.
    pub async fn settled(&self, fan: &Client, payment: &Answer) -> Answer {
        let path = format!("/api/payments/{}/status", payment.text("request_id"));
        self.in_time(async || {
            let answer = fan.get(&path).await.expect(200);
            (answer.json["status"] != "PENDING").then_some(answer)
        })
        .await
    }

    /// Asks until there is an answer, a second of the office's clock apart.
    pub async fn in_time<T>(&self, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        super::booking::until(async || {
            let answer = ask().await;
            if answer.is_none() {
                self.advance(1);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            answer
        })
        .await
    }

    /// Reasons of what is stuck.
    pub async fn stuck(&self) -> Vec<String> {
        let list = self.admin().await.get("/api/payments/stuck").await.expect(200);
        let items = list.json["items"].as_array().expect("a list").clone();
        items.iter().map(|item| item["reason"].as_str().expect("a text").to_owned()).collect()
    }
}

/// Runs each case with an office that takes cards, over an in-memory SQLite, a
/// SQLite file and PostgreSQL.
macro_rules! with_bank {
    ($(async fn $name:ident($office:ident, $bank:ident) $body:block)*) => {$(
        mod $name {
            #[expect(clippy::allow_attributes, reason = "not every case needs it")]
            #[allow(unused_imports, reason = "not every case needs it")]
            use super::*;

            #[expect(clippy::allow_attributes, reason = "not every case needs it")]
            #[allow(unused_mut, reason = "not every case needs it")]
            async fn case($office: $crate::support::booking::TestBooking, mut $bank: $crate::support::toss::Bank) {
                $body
                $office.assert_sound().await;
            }

            async fn over(database: $crate::support::booking::Database) {
                if let Some((office, bank)) = $crate::support::toss::office(database, super::change).await {
                    case(office, bank).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite_memory() {
                over($crate::support::booking::Database::Memory).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite_file() {
                over($crate::support::booking::Database::File).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                over($crate::support::booking::Database::Postgres).await;
            }
        }
    )*};
}
pub(crate) use with_bank;
