//! From a job back to the draft that asks for it again, to be changed and submitted anew.

use std::path::PathBuf;

use super::{JobDraft, JobSpec};
use crate::families::Role;

impl JobDraft {
    /// Returns the draft that asks for this job again, its seed included.
    ///
    /// A part that lies in another file than the diffusion network is named as an override.
    #[must_use]
    pub fn again(spec: &JobSpec) -> Self {
        let files = |role: Role| spec.set.component(role).map(|c| c.files.as_slice()).unwrap_or_default();
        let own = files(Role::Denoiser);
        let elsewhere = |role: Role| -> Option<String> {
            let file = files(role).first()?;
            (!own.contains(file)).then(|| file.display().to_string())
        };
        let model = own.first().map_or_else(|| spec.set.name.clone(), |file| file.display().to_string());
        let clip = [Role::ClipL, Role::ClipG, Role::T5, Role::Qwen].into_iter().filter_map(elsewhere).collect();
        let init = spec.init.as_ref();
        Self {
            model,
            vae: elsewhere(Role::Vae),
            clip,
            prompt: spec.prompt.clone(),
            negative: spec.negative.clone(),
            steps: Some(spec.steps),
            cfg: Some(spec.cfg),
            sampler: Some(spec.sampler),
            schedule: Some(spec.schedule),
            prediction: Some(spec.prediction),
            seed: Some(spec.seed),
            size: Some(spec.size),
            batch: Some(spec.batch),
            precision: spec.precision,
            init_image: init.map(|i| PathBuf::clone(&i.path)),
            denoise: init.map(|i| i.denoise),
            tiling: Some(spec.tiling),
            output: Some(spec.output.clone()),
            priority: Some(spec.priority),
            compute_device: Some(spec.compute),
            held: false,
            owner: (!spec.owner.is_empty()).then(|| spec.owner.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::{Component, Description, Family};
    use crate::sampling::{Sampler, Schedule};
    use crate::units::{Bytes, DeviceId, Seed, Size};
    use crate::weights::DType;
    use crate::workflow::{Defaults, Inventory, resolve};

    fn component(role: Role, file: &str) -> Component {
        let files = if file.is_empty() { Vec::new() } else { vec![PathBuf::from(file)] };
        Component { role, precision: DType::F16, bytes: Bytes(1), tensors: 1, files }
    }

    fn resolved(draft: &JobDraft, components: Vec<Component>) -> JobSpec {
        let description = Description {
            family: Some(Family::Sd15),
            variant: None,
            components,
            missing: Vec::new(),
            precision: None,
            bytes: Bytes(3),
            blocks: 1,
            resolution: None,
            predicts_v: None,
        };
        let defaults = Defaults {
            steps: 20,
            cfg: 7.0,
            sampler: Sampler::Euler,
            schedule: Schedule::Normal,
            size: Size::new(512, 512).unwrap(),
            output: PathBuf::from("/out"),
            compute: DeviceId::Cpu,
            seed: Seed(7),
        };
        let inventory = Inventory { name: "night".to_owned(), description: Some(description) };
        resolve(draft, &inventory, &defaults).unwrap()
    }

    #[test]
    fn what_is_asked_again_is_the_same_job() {
        let draft = JobDraft {
            model: "night".to_owned(),
            prompt: "a hill".to_owned(),
            init_image: Some("/in.png".into()),
            denoise: Some(0.4),
            priority: Some(3),
            ..JobDraft::default()
        };
        let parts = || vec![component(Role::Denoiser, "/m/night.safetensors"), component(Role::Vae, "/m/vae.safetensors")];
        let spec = resolved(&draft, parts());
        let again = JobDraft::again(&spec);
        assert_eq!((again.model.as_str(), again.vae.as_deref()), ("/m/night.safetensors", Some("/m/vae.safetensors")));
        assert_eq!(resolved(&again, parts()), spec);
    }

    #[test]
    fn a_model_without_files_is_named() {
        let spec = resolved(&JobDraft::default(), vec![component(Role::Denoiser, "")]);
        assert_eq!(JobDraft::again(&spec).model, "night");
    }
}
