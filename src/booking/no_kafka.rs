//! Stands in for `kafka` in a build without that feature.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::outbox::Target;
use super::{Booking, OpenError};
use crate::config;

/// Kinds of messages that reach the mailer through Kafka.
pub(super) const MAILED: &[&str] = &[];

/// There is none.
#[derive(Debug)]
pub(super) enum Bus {}

impl Bus {
    pub(super) fn open(_: &config::Kafka) -> Result<Self, OpenError> {
        Err(OpenError::Unsupported("booking.kafka: this build has no Kafka; build with --features kafka"))
    }

    pub(super) fn target(&self) -> Arc<dyn Target> {
        match *self {}
    }

    pub(super) fn spawn(&self, _: &Arc<Booking>, _: &TaskTracker, _: &CancellationToken) {
        match *self {}
    }
}
