//! Messages through the Kafka broker that `USHER_KAFKA` names. Run by
//! `make test-kafka`, which brings one.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use usher::booking::db::Db;
use usher::config;

use crate::support::booking::{Database, TestBooking, until};
use crate::support::smtp::Sink;

/// The broker, and a prefix that no other test has.
struct Broker {
    settings: config::Kafka,
}

const TOPICS: [&str; 4] = ["payment-requested", "payment-completed", "payment-failed", "seat-sold"];
const PARTITIONS: i32 = 4;

impl Broker {
    /// The broker, with the topics made.
    async fn open() -> Self {
        let brokers = std::env::var("USHER_KAFKA").expect("USHER_KAFKA=host:port; tests/kafka/run sets it");
        let prefix = format!("t{}-", uuid::Uuid::new_v4().simple());
        let broker = Self { settings: config::Kafka { brokers, prefix } };
        let names = TOPICS.map(|name| broker.topic(name));
        let new = names.each_ref().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
        let admin: AdminClient<_> = broker.client().create().expect("a client");
        let made = admin.create_topics(&new, &AdminOptions::new()).await.expect("an answer");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        broker
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.settings.brokers);
        client
    }

    fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.settings.prefix)
    }

    /// Everything said about these topics, from the beginning.
    fn listen(&self, topics: &[&str]) -> Listener {
        let consumer: StreamConsumer =
            self.client().set("group.id", self.topic("listener")).create().expect("a consumer");
        let mut everything = TopicPartitionList::new();
        for name in topics {
            for partition in 0..PARTITIONS {
                let begin = everything.add_partition_offset(&self.topic(name), partition, Offset::Beginning);
                begin.expect("a place");
            }
        }
        consumer.assign(&everything).expect("an assignment");
        Listener { consumer, prefix: self.settings.prefix.clone() }
    }

    async fn say(&self, topic: &str, payload: &str) {
        let producer: FutureProducer = self.client().create().expect("a producer");
        let topic = self.topic(topic);
        let record = FutureRecord::to(&topic).key("any").payload(payload);
        producer.send(record, std::time::Duration::from_secs(10)).await.expect("taken");
    }
}

struct Listener {
    consumer: StreamConsumer,
    prefix: String,
}

impl Listener {
    /// The next so many messages: topic, key, content.
    async fn hear(&self, count: usize) -> Vec<(String, String, Value)> {
        let mut heard = Vec::new();
        let hearing = async {
            while heard.len() < count {
                let message = self.consumer.recv().await.expect("a message");
                let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                let content = serde_json::from_slice(message.payload().unwrap_or_default()).expect("JSON");
                let topic = message.topic().strip_prefix(&self.prefix).expect("ours").to_owned();
                heard.push((topic, key, content));
            }
        };
        let done = tokio::time::timeout(std::time::Duration::from_secs(40), hearing).await.is_ok();
        assert!(done, "within 40 s: {heard:?}");
        heard
    }
}

async fn open(database: Database, kafka: &config::Kafka, sink: &Sink) -> Option<TestBooking> {
    let mail = sink.settings();
    TestBooking::with(database, |settings| {
        settings.kafka = Some(kafka.clone());
        settings.mail = Some(mail);
    })
    .await
}

/// The clock stands still, so no payment is ever late: each is done by a consumer.
async fn payments_go_through_the_workers_group_and_mails_through_the_mailers(database: Database) {
    let (broker, sink) = (Broker::open().await, Sink::start().await);
    let Some(office) = open(database, &broker.settings, &sink).await else { return };
    let listener = broker.listen(&TOPICS);
    let fan = office.fan(1_000_000).await;
    let paid = fan.buy(&["A-1-1", "A-1-2"]).await;
    assert_eq!(paid.json["status"], "COMPLETED");
    let poor = office.fan(1).await;
    assert_eq!(poor.buy(&["A-2-1"]).await.json["reason"], "insufficient_funds");

    let mut heard: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for (topic, key, content) in listener.hear(5).await {
        heard.entry(topic).or_default().push((key, content));
    }
    assert_eq!(heard["payment-requested"].len(), 2);
    let (key, content) = &heard["payment-completed"][0];
    assert_eq!((key, &content["subject"]), (&paid.text("order_id"), &paid.json["order_id"]));
    assert_eq!(content["body"]["request_id"], paid.json["request_id"]);
    assert_eq!(content["body"]["amount"], 352_000);
    assert_eq!(heard["payment-failed"][0].1["body"]["reason"], "insufficient_funds");
    let (key, content) = &heard["seat-sold"][0];
    assert_eq!(
        (key.as_str(), &content["body"]["seats"]),
        (usher::booking::SAMPLE_EVENT, &json!(["A-1-1", "A-1-2"]))
    );

    // One for what was paid, one for what was not.
    until(async || (sink.mails().len() == 2).then_some(())).await;
    office.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_goes_through_the_groups_on_sqlite() {
    payments_go_through_the_workers_group_and_mails_through_the_mailers(Database::File).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_goes_through_the_groups_on_postgres() {
    payments_go_through_the_workers_group_and_mails_through_the_mailers(Database::Postgres).await;
}

/// Two offices share the groups, everything is said twice, and nonsense between.
async fn repetition_costs_nobody_anything(database: Database) {
    let (broker, sink) = (Broker::open().await, Sink::start().await);
    let Some(office) = open(database, &broker.settings, &sink).await else { return };
    let (kafka, mail) = (broker.settings.clone(), sink.settings());
    let (_twin, there) = office
        .twin_with(|settings| {
            settings.kafka = Some(kafka);
            settings.mail = Some(mail);
        })
        .await;
    broker.say("payment-requested", "nonsense").await;
    broker.say("payment-completed", "{}").await;
    let mut fans = Vec::new();
    for n in 1..=8 {
        let fan = office.fan(176_000).await;
        let fan = if n % 2 == 0 { fan.at(&there) } else { fan };
        assert_eq!(fan.buy(&[&format!("A-3-{n}")]).await.json["status"], "COMPLETED");
        fans.push(fan);
    }
    let db = Db::open(&office.database).await.expect("the same database");
    let mut tx = db.begin().await.expect("a transaction");
    sqlx::query("UPDATE outbox SET relayed_at = NULL").execute(&mut *tx).await.expect("runs");
    tx.commit().await.expect("commits");
    // Each said twice by now; read to the end by somebody who counts.
    broker.listen(&["payment-requested"]).hear_payloads(16).await;
    assert_eq!(fans.last().expect("eight").buy(&["A-4-1"]).await.json["reason"], "insufficient_funds");
    let nine = until(async || Some(sink.mails()).filter(|mails| mails.len() >= 9)).await;
    assert_eq!(nine.len(), 9);
    for fan in &fans {
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 0);
    }
    office.assert_sound().await;
}

impl Listener {
    /// Waits for so many messages that are JSON.
    async fn hear_payloads(&self, count: usize) {
        let hearing = async {
            let mut heard = 0;
            while heard < count {
                let message = self.consumer.recv().await.expect("a message");
                heard += usize::from(
                    serde_json::from_slice::<Value>(message.payload().unwrap_or_default()).is_ok(),
                );
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(40), hearing).await.expect("within 40 s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repetition_costs_nobody_anything_on_sqlite() {
    repetition_costs_nobody_anything(Database::File).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repetition_costs_nobody_anything_on_postgres() {
    repetition_costs_nobody_anything(Database::Postgres).await;
}

/// And the twin of the first test: only what is late is done without a consumer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_payments_are_late_and_no_more() {
    let taken =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let kafka = config::Kafka { brokers: taken.to_string(), prefix: String::new() };
    let sink = Sink::start().await;
    let office = open(Database::File, &kafka, &sink).await.expect("SQLite");
    let fan = office.fan(1_000_000).await;
    let order = fan.order(&fan.hold(&["A-1-1"]).await.expect(201)).await.expect(201);
    let payment = fan.pay(&order).await.expect(202);
    let status = format!("/api/payments/{}/status", payment.text("request_id"));
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(fan.get(&status).await.json["status"], "PENDING");
    }
    office.advance(10);
    assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
    office.assert_sound().await;
}
