//! The draw of a room as a gate follows it.
//!
//! Every gate computes the same order from what the store keeps, and holds a
//! second bitmap beside that of numbers: of the ranks that are out.

use std::sync::Arc;

use super::driver::State;
use super::{Room, View};
use crate::domain::draw::{self, Draw, Hash, Order};
use crate::domain::id::{Epoch, PlaceNumber};
use crate::domain::line::{Lot, Standing};
use crate::domain::rank::Rank;
use crate::store::StoreError;

/// A draw of more than these is computed beside the line.
const FEW: u64 = 20_000;

/// A draw that took place, and how far its ranks have come.
#[derive(Clone, Debug)]
pub struct Drawn {
    epoch: Epoch,
    /// What the order comes of.
    pub draw: Arc<Draw>,
    order: Arc<Order>,
    /// Ranks that left the line, as if they were numbers.
    ranks: Arc<Rank>,
}

impl Drawn {
    async fn of(epoch: Epoch, draw: Draw, rank: &Rank) -> Self {
        let draw = Arc::new(draw);
        let shared = Arc::clone(&draw);
        let order = if draw.count() < FEW {
            shared.order()
        } else {
            tokio::task::spawn_blocking(move || shared.order()).await.expect("sorting does not fail")
        };
        let mut drawn = Self { epoch, draw, order: Arc::new(order), ranks: Arc::default() };
        drawn.recount(rank);
        drawn
    }

    /// After the numbers were read anew.
    pub(super) fn recount(&mut self, rank: &Rank) {
        let mut ranks = Rank::new();
        let is_out = |at: &u64| self.order.number(*at).is_none_or(|number| rank.is_out(number));
        ranks.leave_all((1..=self.order.count()).filter(is_out).map(PlaceNumber));
        self.ranks = Arc::new(ranks);
    }

    /// These numbers left the line.
    pub(super) fn leave(&mut self, numbers: impl Iterator<Item = PlaceNumber>) {
        let ranks: Vec<_> = numbers.filter_map(|number| self.order.rank(number)).map(PlaceNumber).collect();
        if !ranks.is_empty() {
            Arc::make_mut(&mut self.ranks).leave_all(ranks);
        }
    }

    /// Those who come before the holder of a number that is in the line, of whom
    /// `rank` tells who is out.
    fn ahead(&self, number: PlaceNumber, rank: &Rank) -> u64 {
        // Late comers have higher numbers than everybody in the draw.
        self.order.rank(number).map_or_else(|| rank.ahead(number), |at| self.ranks.ahead(PlaceNumber(at)))
    }

    /// Whose turn is next, at most `most` of them.
    fn lot(&self, most: u64) -> Lot {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut left = (self.ranks.base().0.max(1)..=self.order.count())
            .filter(|&at| !self.ranks.is_out(PlaceNumber(at)))
            .filter_map(|at| self.order.number(at));
        let turns = left.by_ref().take(most).collect();
        Lot { draw: Arc::clone(&self.draw), turns, whole: left.next().is_none() }
    }
}

impl View {
    /// Whether nobody knows yet in which order those present come.
    #[must_use]
    pub fn is_undrawn(&self) -> bool {
        self.settings.draw && self.drawn.is_none()
    }

    /// The position of a number that is in the line, 1 = next; `None` where
    /// nobody can know it yet.
    pub(super) fn position(&self, number: PlaceNumber) -> Option<u64> {
        self.standing.as_ref()?;
        let ahead = match &self.drawn {
            Some(drawn) => drawn.ahead(number, &self.rank),
            None if self.settings.draw => return None,
            None => self.rank.ahead(number),
        };
        Some(ahead + 1)
    }

    /// The draw, and whose turn is next by it.
    pub(super) fn lot(&self) -> Option<Lot> {
        // Some may have left unheard: then the tick is asked for again.
        let most = self.settings.batch.min(self.settings.capacity).saturating_mul(2).saturating_add(16);
        self.drawn.as_ref().filter(|drawn| drawn.epoch == self.epoch).map(|drawn| drawn.lot(most))
    }
}

impl Room {
    /// What this room draws by in a line; told to nobody before the draw.
    #[must_use]
    pub fn secret(&self, epoch: Epoch) -> Hash {
        let config = self.config();
        let opens_at = config.line.opening.map(|opening| opening.at).unwrap_or_default();
        draw::secret(&self.draw_key, &config.name, opens_at, epoch)
    }
}

/// Draws when it is time, and takes up what was drawn. The first gate's draw
/// stands, whichever of those who left meanwhile it counted as present.
pub(super) async fn learn(
    room: &Room,
    state: &mut State,
    standing: &Standing,
    rank: &Rank,
) -> Result<(), StoreError> {
    if state.drawn.as_ref().is_some_and(|drawn| drawn.epoch == standing.epoch) {
        return Ok(());
    }
    state.drawn = None;
    let Some(next) = standing.frozen else { return Ok(()) };
    let name = room.config().name.clone();
    if !standing.drawn {
        let draw = Draw::new(room.secret(standing.epoch), next, |number| !rank.is_out(number));
        match room.store.draw(&name, &draw).await {
            // Tried again at the next step, as a full store admits nobody anyway.
            Err(StoreError::Full) => return Ok(()),
            drawn => drawn?,
        }
    }
    if let Some(draw) = room.store.drawn(&name).await? {
        tracing::info!(room = %name, count = draw.count(), "the order of those present was drawn");
        state.drawn = Some(Drawn::of(standing.epoch, draw, rank).await);
    }
    Ok(())
}
