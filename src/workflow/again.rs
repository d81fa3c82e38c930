//! From a job back to the draft that asks for it again, to be changed and submitted anew.

use super::{JobDraft, JobSpec};

impl JobDraft {
    /// Returns the draft that asks for this job again, its seed included.
    #[must_use]
    pub fn again(spec: &JobSpec) -> Self {
        if !spec.is_readable() {
            let model = spec.set.name.clone();
            return Self { model, prompt: spec.prompt.clone(), compute_device: Some(spec.compute), ..Self::default() };
        }
        let init = spec.init.as_ref();
        Self {
            model: spec.named.model.clone(),
            vae: spec.named.vae.clone(),
            variant: spec.named.variant.clone(),
            clip: spec.named.clip.clone(),
            encoders: spec.named.encoders.clone(),
            models: spec.named.models.clone(),
            prompt: spec.prompt.clone(),
            negative: spec.negative.clone(),
            dialect: Some(spec.dialect),
            weighting: Some(spec.weighting),
            steps: Some(spec.steps),
            cfg: Some(spec.cfg),
            guidance: spec.guidance,
            cfg_rescale: Some(spec.cfg_rescale),
            shift: spec.shift,
            sampler: Some(spec.sampler),
            schedule: Some(spec.schedule),
            prediction: Some(spec.prediction),
            seed: Some(spec.seed),
            size: Some(spec.size),
            batch: Some(spec.batch),
            precision: spec.asked_precision(),
            init_image: init.map(|i| i.path.clone()),
            denoise: init.map(|i| i.denoise),
            tiling: Some(spec.tiling),
            passes: Some(spec.passes),
            keep_latents: spec.keep_latents,
            output: Some(spec.output.clone()),
            priority: Some(spec.priority),
            compute_device: Some(spec.compute),
            offload: spec.offload.clone(),
            parts: spec.parts.clone(),
            held: false,
            owner: (!spec.owner.is_empty()).then(|| spec.owner.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::{Component, Description, Family, Role};
    use crate::quant::precision::Target;
    use crate::units::{Bytes, DeviceId, Seed};
    use crate::weights::DType;
    use crate::workflow::{Defaults, Inventory, Search, resolve};

    fn resolved(draft: &JobDraft) -> JobSpec {
        let part =
            |role| Component { role, precision: DType::F16, bytes: Bytes(1), tensors: 1, files: vec!["/m/night".into()], stored: None };
        let description = Description {
            family: Some(Family::Sd15),
            variant: None,
            could_be: Vec::new(),
            components: [Role::Denoiser, Role::ClipL, Role::Vae].map(part).to_vec(),
            missing: Vec::new(),
            precision: None,
            bytes: Bytes(3),
            blocks: 1,
            resolution: None,
            predicts_v: None,
        };
        let defaults = Defaults {
            steps: None,
            cfg: None,
            sampler: None,
            schedule: None,
            size: None,
            output: "/out".into(),
            compute: DeviceId::Cpu,
            seed: Seed(7),
        };
        let inventory = Inventory {
            name: "night".to_owned(),
            path: "/m/night".into(),
            description: Some(description),
            init_size: None,
            vocabularies: std::collections::BTreeMap::default(),
            notes: Vec::new(),
            search: Search::default(),
        };
        resolve(draft, &inventory, &defaults).unwrap()
    }

    #[test]
    fn what_is_asked_again_is_the_same_job() {
        let draft = JobDraft {
            model: "/m/night".to_owned(),
            vae: Some("eyes".to_owned()),
            models: vec!["/m".into()],
            prompt: "a hill".to_owned(),
            init_image: Some("/in.png".into()),
            denoise: Some(0.4),
            priority: Some(3),
            precision: Some(Target::Int8),
            ..JobDraft::default()
        };
        let spec = resolved(&draft);
        let again = JobDraft::again(&spec);
        assert_eq!((again.model.as_str(), again.vae.as_deref()), ("/m/night", Some("eyes")));
        assert_eq!(resolved(&again), spec);
    }
}
