//! When a run reads its text: before the diffusion network comes, where memory is short.

use super::EngineError;
use super::device::Compute;
use super::loading::Asks;
use super::runner::{Run, Runner};
use super::sets::Loading;
use crate::cache::Embeddings;
use crate::families::Role;
use crate::jobs::Phase;
use crate::library::network;
use crate::units::Bytes;
use crate::weights::Precision;

impl Runner {
    /// Has the text read before the diffusion network comes, and lets go of its encoders, where there is no memory for all of them. A
    /// network that is there already leaves for as long.
    pub(super) fn read_first_where_short(
        &mut self,
        run: &mut Run<'_>,
        precision: Precision,
        asks: &Asks,
        unread: bool,
    ) -> Result<(), EngineError> {
        let spec = &run.order.spec;
        let Some(free) = self.compute.free_for_weights() else { return Ok(()) };
        let held = self.sets.holders(self.compute.id).into_iter().filter(|(role, _)| *role != Role::Vae).map(|(_, bytes)| bytes);
        // What other sets hold leaves for the network before the text is read first for it.
        let free = free + (held.sum::<Bytes>() - self.sets.in_map()) + self.obtainable();
        let needed = network::beside(spec, Role::Vae, precision)?;
        if free >= needed {
            return Ok(());
        }
        if unread {
            self.sets.rest(|role| !role.is_encoder());
            self.compute.trim();
            self.phase(run.order.run, Phase::Encoding);
            let how = |me: &mut Self| me.sets.condition(spec, &loading(&me.compute, me.texts.as_ref(), precision, asks, run));
            let seconds = self.timed(Role::ClipL, how)?.1;
            run.timing.encode += self.without_loading(&mut run.timing, seconds);
            tracing::info!(run = run.order.run.0, "{free} are free and {needed} would be needed at once: text is read first");
        }
        self.sets.rest(Role::is_encoder);
        self.compute.trim();
        if unread {
            self.phase(run.order.run, Phase::Loading);
        }
        Ok(())
    }
}

/// Returns how the parts of a run are loaded.
pub(super) fn loading<'a>(
    compute: &'a Compute,
    texts: Option<&'a Embeddings>,
    precision: Precision,
    asks: &'a Asks,
    run: &Run<'a>,
) -> Loading<'a> {
    Loading { compute, precision, asks, cancel: run.cancel, texts }
}
