//! Who waits here for the end of a payment.
//!
//! A status that is asked for while a worker of the same process has the payment
//! is answered when it ends, so that the buyer knows at once and asks once. The
//! row is what counts; this only says when to look again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::payment::PaymentId;

/// The ends that are waited for.
#[derive(Debug, Default)]
pub(in crate::booking) struct Ends(Mutex<HashMap<PaymentId, Arc<Notify>>>);

/// One who waits.
pub(super) struct Watch<'a> {
    ends: &'a Ends,
    id: PaymentId,
    /// Rung at the end; heard by whoever began to listen before.
    pub(super) bell: Arc<Notify>,
}

impl Ends {
    pub(super) fn watch(&self, id: PaymentId) -> Watch<'_> {
        let bell = Arc::clone(self.0.lock().entry(id).or_default());
        Watch { ends: self, id, bell }
    }

    pub(super) fn tell(&self, id: PaymentId) {
        if let Some(bell) = self.0.lock().get(&id) {
            bell.notify_waiters();
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut waited_for = self.ends.0.lock();
        // Nobody else's: the map has the other one.
        if Arc::strong_count(&self.bell) == 2 {
            waited_for.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PaymentId = PaymentId::from_bits(1);

    #[tokio::test]
    async fn all_who_wait_are_told_and_nothing_is_kept() {
        let ends = Ends::default();
        let (one, two) = (ends.watch(ID), ends.watch(ID));
        let heard = [one.bell.notified(), two.bell.notified()];
        ends.tell(PaymentId::from_bits(2));
        ends.tell(ID);
        futures_util::future::join_all(heard).await;
        drop(one);
        assert_eq!(ends.0.lock().len(), 1);
        drop(two);
        assert_eq!(ends.0.lock().len(), 0);
    }
}
