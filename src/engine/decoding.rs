//! From latents to pictures: whole or in tiles, and with more memory where there was too little.

use std::time::Instant;

use tch::Tensor;

use super::EngineError;
use super::image::Rgb;
use super::pipelines::autoencoder::{self, Cut};
use super::runner::{Run, Runner};
use crate::families::Role;
use crate::units::Bytes;
use crate::workflow::{JobSpec, Tiling};

impl Runner {
    /// Decodes, and returns the seconds, too. Where memory runs out, weights that it does not need give way once.
    pub(super) fn pictures(&mut self, run: &mut Run<'_>, latents: &Tensor) -> Result<(Vec<Rgb>, f64), EngineError> {
        self.room_here(run.order.run, autoencoder::decode_estimate(run.order.spec.size));
        match self.decoded(run, latents) {
            Err(EngineError::OutOfMemory { .. }) if self.others_leave(run.order.run, Bytes(u64::MAX)) > Bytes::ZERO => {
                self.pictures(run, latents)
            }
            Err(error @ EngineError::OutOfMemory { .. }) => {
                let freed = self.sets.rest(|role| role != Role::Vae);
                if freed == Bytes::ZERO {
                    return Err(error);
                }
                self.compute.trim();
                let text = format!("{error}; {freed} of weights that decoding does not need were let go, and it is tried again");
                self.warn(run.order.run, &text);
                run.warnings.push(text);
                self.decoded(run, latents)
            }
            other => other,
        }
    }

    fn decoded(&mut self, run: &mut Run<'_>, latents: &Tensor) -> Result<(Vec<Rgb>, f64), EngineError> {
        self.load_vae(run)?;
        let began = Instant::now();
        let one = |k: i64| self.decode(&run.order.spec, &latents.narrow(0, k, 1), &mut run.warnings);
        let pictures = (0..latents.size()[0]).map(one).collect::<Result<_, _>>()?;
        Ok((pictures, began.elapsed().as_secs_f64()))
    }

    fn decode(&self, spec: &JobSpec, latent: &Tensor, warnings: &mut Vec<String>) -> Result<Rgb, EngineError> {
        let vae = self.sets.vae()?;
        self.whole_or_tiled(spec, warnings, |cut| autoencoder::decode_picture(vae, spec.set.family.latent_space(), latent, cut))
    }

    /// Works on the whole picture where it fits, and in tiles where it does not or did not.
    pub(super) fn whole_or_tiled<T>(
        &self,
        spec: &JobSpec,
        warnings: &mut Vec<String>,
        work: impl Fn(Cut) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let needed = autoencoder::decode_estimate(spec.size);
        let short = self.compute.free_memory().is_some_and(|free| free < needed);
        let first = match spec.tiling {
            Tiling::Always => Cut::Tiled,
            Tiling::Auto if short => Cut::Tiled,
            Tiling::Auto | Tiling::Never => Cut::Whole,
        };
        if first == Cut::Tiled && spec.tiling == Tiling::Auto {
            note_tiles(warnings, &format!("the whole picture needs about {needed}"));
        }
        match self.guarded(Role::Vae, || work(first)) {
            Err(EngineError::OutOfMemory { .. }) if first == Cut::Whole && spec.tiling == Tiling::Auto => {
                note_tiles(warnings, "memory ran out on the whole picture");
                self.guarded(Role::Vae, || work(Cut::Tiled))
            }
            other => other,
        }
    }
}

fn note_tiles(warnings: &mut Vec<String>, why: &str) {
    let warning = format!("the autoencoder worked in tiles: {why}");
    if !warnings.contains(&warning) {
        warnings.push(warning);
    }
}
