//! The demo as somebody meets it who only typed `usher demo`: a sale from the
//! sign-up to the mail, with points and with the payment stand-in.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Client, request};
use crate::support::gate::usher;
use crate::support::ports::free_port;
use crate::support::wait::until;

const PATIENCE: Duration = Duration::from_secs(60);
/// Starts; one ends at once when somebody else took a port.
const TRIES: usize = 5;

/// A running demo, and what it told whoever started it.
struct Demo {
    child: Child,
    gate: SocketAddr,
    welcome: String,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Demo {
    async fn start() -> Self {
        for _ in 0..TRIES {
            if let Some(demo) = Self::try_start().await {
                return demo;
            }
        }
        panic!("the demo ends at once");
    }

    async fn try_start() -> Option<Self> {
        let [gate, admin, office] = [free_port(), free_port(), free_port()];
        let here = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = usher();
        command.arg("demo").stdout(Stdio::piped()).stderr(Stdio::inherit());
        command.env("USHER__LOG__LEVEL", "warn");
        command.env("USHER__GATE__LISTEN", here(gate).to_string());
        command.env("USHER__ADMIN__LISTEN", here(admin).to_string());
        command.env("USHER__BOOKING__LISTEN", here(office).to_string());
        command.env("USHER__ROOM__MAIN__UPSTREAMS", format!("[\"http://{}\"]", here(office)));
        // Nobody loses place or turn to the time a slow machine takes.
        command.env("USHER__ROOM__MAIN__IDLE_TIMEOUT", "1h");
        command.env("USHER__ROOM__MAIN__CLAIM_WINDOW", "10m");
        command.env("USHER__ROOM__MAIN__POLL__MIN", "0s");
        let mut child = command.spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        // The welcome ends with what to try; the pipe, when the demo does.
        let mut welcome = String::new();
        while !welcome.contains("usher swarm") {
            if lines.read_line(&mut welcome).expect("text") == 0 {
                let _ = child.wait();
                return None;
            }
        }
        let demo = Self { child, gate: here(gate), welcome };
        until("the demo is ready", PATIENCE, || async {
            let stream = tokio::net::TcpStream::connect(here(admin)).await.ok()?;
            drop(stream);
            let answer = request(here(admin), "GET", "/readyz", &[("host", "localhost")], b"").await;
            (answer.status == 200).then_some(())
        })
        .await;
        Some(demo)
    }

    /// The address that the welcome gives beside `name`.
    fn told(&self, name: &str) -> SocketAddr {
        let line = self.welcome.lines().find(|line| line.trim_start().starts_with(name));
        let url = line.and_then(|line| line.split("http://").nth(1));
        let address = url.and_then(|url| url.split('/').next()).and_then(|text| text.parse().ok());
        address.unwrap_or_else(|| panic!("no address of {name} in {}", self.welcome))
    }

    /// The mails for `to`, newest first, once there are so many.
    async fn mails(&self, to: &str, count: usize) -> Vec<Value> {
        let page = self.told("mail");
        until("the mail", PATIENCE, || async {
            let all = request(page, "GET", "/mails", &[("host", "localhost")], b"").await.json();
            let all = all["items"].as_array().expect("a list").clone();
            let theirs: Vec<_> = all.into_iter().filter(|mail| mail["to"] == json!([to])).collect();
            (theirs.len() >= count).then_some(theirs)
        })
        .await
    }
}

/// A fan in front of the gate.
struct Fan {
    client: Client,
    email: String,
}

impl Fan {
    /// Stands in line, signs up and in.
    async fn arrive(demo: &Demo, email: &str) -> Self {
        let mut client = Client::new(demo.gate);
        client.admit().await;
        let mut fan = Self { client, email: email.to_owned() };
        let new = json!({"email": email, "password": "a fan's pass phrase", "name": "Demo Fan"});
        fan.post("/api/accounts", new).await.expect_status(201);
        let sign_in = json!({"email": email, "password": "a fan's pass phrase"});
        let signed_in = fan.post("/api/sessions", sign_in).await.expect_status(201);
        let token = signed_in["access_token"].as_str().expect("a token");
        fan.client = fan.client.with("authorization", &format!("Bearer {token}"));
        fan
    }

    async fn post(&mut self, path: &str, body: Value) -> Told {
        let answer = self.client.post(path, &body.to_string()).await;
        Told { status: answer.status, text: answer.text() }
    }

    async fn get(&mut self, path: &str) -> Value {
        let answer = self.client.get(path).await;
        Told { status: answer.status, text: answer.text() }.expect_status(200)
    }

    /// Two seats, ordered.
    async fn order(&mut self) -> Value {
        let events = self.get("/api/events").await;
        let event = events["items"][0]["id"].as_str().expect("the sample event").to_owned();
        let best = json!({"best": {"count": 2}});
        let hold = self.post(&format!("/api/events/{event}/holds"), best).await.expect_status(201);
        self.post("/api/orders", json!({"hold_id": hold["hold_id"]})).await.expect_status(201)
    }

    /// Waits until the payment is no longer PENDING.
    async fn outcome(&mut self, accepted: &Value) -> Value {
        let path = format!("/api/payments/{}/status", accepted["request_id"].as_str().expect("an id"));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.get(&path).await;
            if status["status"] != "PENDING" {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "still {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

struct Told {
    status: u16,
    text: String,
}

impl Told {
    #[track_caller]
    fn expect_status(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).expect("JSON")
    }
}

/// That the mail is about this order, with its seats and number.
#[track_caller]
fn assert_about(mail: &Value, subject: &str, order: &Value) {
    assert!(mail["subject"].as_str().is_some_and(|text| text.contains(subject)), "{mail}");
    let text = mail["text"].as_str().expect("a text");
    for part in [&order["order_id"], &order["items"][0]["seat"], &order["items"][1]["seat"]] {
        assert!(text.contains(part.as_str().expect("a text")), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_in_the_demo_from_the_sign_up_to_the_mail_with_points_and_by_card() {
    let demo = Demo::start().await;

    // With points.
    let mut fan = Fan::arrive(&demo, "points@example.org").await;
    fan.post("/api/wallet/charges", json!({"amount": 1_000_000})).await.expect_status(201);
    let order = fan.order().await;
    let pay = json!({"order_id": order["order_id"], "method": "points"});
    let accepted = fan.post("/api/payments", pay).await.expect_status(202);
    let done = fan.outcome(&accepted).await;
    assert_eq!(done["status"], "COMPLETED", "{done}");
    let mails = demo.mails(&fan.email, 1).await;
    assert_about(&mails[0], "Your tickets", &order);
    // As a person sees it.
    let page = demo.told("mail");
    let list = request(page, "GET", "/", &[("host", "localhost")], b"").await.text();
    assert!(list.contains("points@example.org"), "{list}");
    let shown = format!("/mails/{}/html", mails[0]["number"]);
    let html = request(page, "GET", &shown, &[("host", "localhost")], b"").await;
    assert!(html.text().contains(order["order_id"].as_str().expect("a text")), "{}", html.text());
    assert!(html.field("content-security-policy").is_some_and(|policy| policy.starts_with("sandbox")));

    // By card, in the stand-in's window.
    let mut fan = Fan::arrive(&demo, "card@example.org").await;
    let order = fan.order().await;
    let methods = fan.get("/api/payments/methods").await;
    let window = methods["items"].as_array().expect("a list").iter().find_map(|item| item["window"].as_str());
    assert!(window.is_some_and(|window| window.ends_with("/stand-in/checkout")), "{methods}");
    let amount = order["amount"].as_i64().expect("an amount");
    let order_id = order["order_id"].as_str().expect("a text");
    let form = format!(
        "orderId={order_id}&amount={amount}&successUrl=http%3A%2F%2Fshop.test%2Fback&decision=approve"
    );
    let fields = [("host", "localhost"), ("content-type", "application/x-www-form-urlencoded")];
    let back = request(demo.told("cards"), "POST", "/stand-in/checkout", &fields, form.as_bytes()).await;
    assert_eq!(back.status, 303, "{}", back.text());
    let back = back.field("location").expect("a way back").to_owned();
    let key = back.split(['?', '&']).find_map(|part| part.strip_prefix("paymentKey=")).expect("a key");
    let confirm = json!({"paymentKey": key, "orderId": order_id, "amount": amount});
    let accepted = fan.post("/api/payments/confirm", confirm).await.expect_status(202);
    let done = fan.outcome(&accepted).await;
    assert_eq!(done["status"], "COMPLETED", "{done}");
    assert_about(&demo.mails(&fan.email, 1).await[0], "Your tickets", &order);

    // And given back.
    let cancelled = fan.post(&format!("/api/orders/{order_id}/cancel"), json!({})).await.expect_status(200);
    assert_eq!(cancelled["status"], "REFUNDED", "{cancelled}");
    assert_about(&demo.mails(&fan.email, 2).await[0], "Refund", &order);
}
