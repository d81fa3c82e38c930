//! How a source is named and joined in a GGUF file: the network as its makers have it, encoders as llama.cpp names them. Safetensors
//! files keep the names and tensors of their source.

use super::ConversionError;
use super::plan::{is_coded, is_gguf, is_number};
use super::source::{Opened, Part};
use crate::families::{FamilyError, Role, detect};
use crate::library::LibraryError;
use crate::quant::precision::Target;
use crate::weights::{Catalog, encoder_keys};

impl Opened {
    /// Returns the source as files of this target have it. What can become no such file stays as it is, and is refused where it is
    /// planned.
    pub fn for_target(mut self, target: &Target) -> Result<Self, ConversionError> {
        if !is_gguf(target) || is_coded(&self.stored().name) {
            return Ok(self);
        }
        match self.part {
            Part::One(Role::Denoiser) => {
                let path = self.origins.first().map_or_else(|| self.path.clone(), |origin| origin.path.clone());
                let wrong = |source: FamilyError| LibraryError::Family { path, source };
                if let Some((catalog, joined)) = detect::of_makers(&self.catalog).map_err(wrong)? {
                    (self.catalog, self.joined) = (catalog, joined);
                }
            }
            Part::One(Role::T5) => self.catalog = encoder_keys::t5_for_llama_cpp(&self.catalog),
            Part::One(Role::Qwen) => self.catalog = encoder_keys::language_model_for_llama_cpp(&self.catalog),
            Part::One(Role::ClipL | Role::ClipG | Role::Vae) | Part::Whole => {}
        }
        // Such files hold numbers; places of tokens and the like are known to everybody.
        let numbers: Vec<_> = self.catalog.iter().filter(|entry| is_number(entry.dtype)).cloned().collect();
        self.catalog = Catalog::new(numbers, self.catalog.metadata().clone());
        self.joined.retain(|joined| joined.parts.iter().all(|part| self.catalog.has(part)));
        Ok(self)
    }
}
