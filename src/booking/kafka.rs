//! Messages through Kafka: `payment-requested`, `payment-completed`,
//! `payment-failed`, `seat-sold`.
//!
//! Owns the producer behind the relay and two groups of consumers: one does the
//! payments that were asked for, one notes the mails of those completed. Truth
//! stays in the database: a message only says where to look, so one that comes
//! twice, late or not at all costs no money. Payments that waited too long are
//! looked for in the table as well, which is what happens while Kafka is away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::db::{DbError, RowExt as _, millis};
use super::mail::Intake;
use super::outbox::{Message, Target, Undelivered};
use super::{Booking, OpenError};
use crate::config;
use crate::domain::payment::PaymentId;

/// Kinds of messages and their topics.
const TOPICS: [(&str, &str); 4] = [
    ("payment.requested", REQUESTED),
    ("payment.completed", COMPLETED),
    ("payment.failed", "payment-failed"),
    ("seat.sold", "seat-sold"),
];
const REQUESTED: &str = "payment-requested";
const COMPLETED: &str = "payment-completed";
const PAYMENT_WORKERS: &str = "payment-workers";
const MAILERS: &str = "mailers";
/// Kinds of messages that reach the mailer through Kafka.
pub(super) const MAILED: &[&str] = &["payment.completed"];

/// A message that the brokers did not take by then is tried again by the relay,
/// whose patience is longer.
const SEND_MS: &str = "10000";
/// Consumers of payment requests in one process, at most.
const WORKERS: usize = 4;
/// A payment that nobody began by then is done without Kafka.
const LATE: Duration = Duration::from_secs(10);
/// Between two looks for those, and after an error.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The connection to the brokers.
pub(super) struct Bus {
    settings: config::Kafka,
    producer: FutureProducer,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("brokers", &self.settings.brokers).finish_non_exhaustive()
    }
}

impl Bus {
    /// Makes a producer; brokers that are away are no error.
    pub(super) fn open(settings: &config::Kafka) -> Result<Self, OpenError> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &settings.brokers)
            .set("acks", "all")
            .set("queue.buffering.max.ms", "0")
            .set("message.timeout.ms", SEND_MS)
            .create()
            .map_err(|why| OpenError::Kafka(why.to_string()))?;
        Ok(Self { settings: settings.clone(), producer })
    }

    /// Where the relay puts its messages.
    pub(super) fn target(&self) -> Arc<dyn Target> {
        Arc::new(Outlet { producer: self.producer.clone(), prefix: self.settings.prefix.clone() })
    }

    /// Starts the consumers and the look for what they did not get.
    pub(super) fn spawn(&self, booking: &Arc<Booking>, jobs: &TaskTracker, shutdown: &CancellationToken) {
        for _ in 0..booking.db.writers().min(WORKERS) {
            let group = self.group(PAYMENT_WORKERS, REQUESTED);
            jobs.spawn(group.run(Arc::clone(booking), shutdown.clone()));
        }
        if booking.mailer.is_some() {
            jobs.spawn(self.group(MAILERS, COMPLETED).run(Arc::clone(booking), shutdown.clone()));
        }
        jobs.spawn(Arc::clone(booking).run_late_payments(shutdown.clone()));
    }

    fn group(&self, name: &str, topic: &'static str) -> Member {
        let prefix = &self.settings.prefix;
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.settings.brokers)
            .set("group.id", format!("{prefix}{name}"))
            .set("auto.offset.reset", "earliest")
            // What was worked through is said by us and committed every second.
            .set("enable.auto.offset.store", "false")
            .set("auto.commit.interval.ms", "1000")
            .set("allow.auto.create.topics", "true")
            .set("topic.metadata.refresh.interval.ms", "5000");
        Member { config, topic, subscription: format!("{prefix}{topic}") }
    }
}

/// The producer, as the relay sees it.
struct Outlet {
    producer: FutureProducer,
    prefix: String,
}

fn topic(kind: &str) -> Option<&'static str> {
    TOPICS.into_iter().find(|(of, _)| *of == kind).map(|(_, topic)| topic)
}

#[async_trait]
impl Target for Outlet {
    fn wants(&self, kind: &str) -> bool {
        topic(kind).is_some()
    }

    async fn deliver(&self, message: &Message) -> Result<(), Undelivered> {
        let Some(topic) = topic(&message.kind) else { return Ok(()) };
        let topic = format!("{}{topic}", self.prefix);
        let payload = serde_json::to_string(message).map_err(|why| Undelivered::Refused(why.to_string()))?;
        // One subject, one partition: the brokers keep its order.
        let record = FutureRecord::to(&topic).key(&message.subject).payload(&payload);
        match self.producer.send(record, Timeout::After(Duration::ZERO)).await {
            Ok(_) => Ok(()),
            Err((why, _)) if is_final(&why) => Err(Undelivered::Refused(why.to_string())),
            Err((why, _)) => Err(Undelivered::Away(why.to_string())),
        }
    }
}

/// Whether it is about this message, and will be the same tomorrow.
fn is_final(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{InvalidMessage, InvalidMessageSize, InvalidRecord, MessageSizeTooLarge};
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(code, MessageSizeTooLarge | InvalidMessage | InvalidMessageSize | InvalidRecord)
    })
}

/// One consumer of a group.
struct Member {
    config: ClientConfig,
    topic: &'static str,
    subscription: String,
}

impl Member {
    async fn run(self, booking: Arc<Booking>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.consume(&booking, &shutdown).await {
                tracing::warn!(%error, topic = self.topic, "kafka consumer");
                shutdown.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
            }
        }
    }

    /// Takes messages until the shutdown, or until the client is of no use any more.
    async fn consume(&self, booking: &Booking, shutdown: &CancellationToken) -> Result<(), KafkaError> {
        let consumer = Leaving(Some(self.config.create()?));
        let Some(consumer) = &consumer.0 else { return Ok(()) };
        consumer.subscribe(&[&self.subscription])?;
        while let Some(received) = shutdown.run_until_cancelled(consumer.recv()).await {
            let message = match received {
                Ok(message) => message,
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error),
                // Brokers away, or a topic that the first message will make: the
                // client goes on by itself.
                Err(error) => {
                    tracing::debug!(%error, topic = self.topic, "kafka consumer");
                    shutdown.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
                    continue;
                }
            };
            // Without this message's offset kept, it comes again after a restart.
            while let Err(error) = self.take(booking, &message).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    topic = self.topic,
                    "kafka consumer"
                );
                if shutdown.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_none() {
                    return Ok(());
                }
            }
            // The partition went to another member meanwhile: so does the message.
            if let Err(error) = consumer.store_offset_from_message(&message) {
                tracing::debug!(%error, topic = self.topic, "a message will come again");
            }
        }
        Ok(())
    }

    async fn take(&self, booking: &Booking, message: &BorrowedMessage<'_>) -> Result<(), DbError> {
        let Some(message) = message.payload().and_then(|payload| serde_json::from_slice(payload).ok()) else {
            tracing::warn!(topic = self.topic, offset = message.offset(), "not a message of ours");
            return Ok(());
        };
        match self.topic {
            REQUESTED => booking.pay_as_told(&message).await,
            _ => Intake::new(booking.db.clone(), Arc::clone(&booking.clock), &[]).note(&message).await,
        }
    }
}

/// A consumer that leaves its group in a thread of its own: that waits for the
/// brokers, a minute if they are away, and no worker thread may.
struct Leaving(Option<StreamConsumer>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let consumer = self.0.take();
        std::thread::spawn(move || drop(consumer));
    }
}

impl Booking {
    /// Does the payment that the message tells of, unless it is done or another has it.
    async fn pay_as_told(&self, message: &Message) -> Result<(), DbError> {
        let id = message.body["request_id"].as_str().and_then(|id| id.parse::<PaymentId>().ok());
        let Some(id) = id else {
            tracing::warn!(id = message.id, "a payment request without an id");
            return Ok(());
        };
        self.pay_this(id).await.map(|_| ())
    }

    /// Does one payment that no consumer began in time; whether there was one.
    async fn late_payment_once(&self) -> Result<bool, DbError> {
        let now = self.now();
        let row = sqlx::query(
            "SELECT id FROM payments WHERE status = 'PENDING' AND lease_until <= $1 AND created_at <= $2
             ORDER BY created_at LIMIT 1",
        )
        .bind(millis(now))
        .bind(millis(now - LATE))
        .fetch_optional(self.db.read())
        .await?;
        match row {
            Some(row) => self.pay_this(row.parsed("id")?).await,
            None => Ok(false),
        }
    }

    async fn run_late_payments(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            match self.late_payment_once().await {
                Ok(true) if !shutdown.is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "late payments"),
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_kafka_has_its_topic() {
        assert_eq!(topic("payment.requested"), Some("payment-requested"));
        assert_eq!(topic("seat.sold"), Some("seat-sold"));
        assert_eq!(topic("order.refunded"), None);
        assert!(MAILED.iter().all(|kind| topic(kind) == Some(COMPLETED)));
    }
}
