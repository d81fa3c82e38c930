//! Prompts to what networks read.

use tch::{Device, Tensor};

use super::reader::Reader;
use crate::engine::EngineError;
use crate::engine::loading::LoadedEncoder;
use crate::families::Role;
use crate::tokens::chunks::Window;
use crate::workflow::JobSpec;
use crate::workflow::text::windows;

/// A prompt as a network reads it.
#[derive(Debug)]
pub struct Said {
    /// Token by token, `[1, L, C]`.
    pub context: Tensor,
    /// As a whole, `[1, P]`, where the family has that.
    pub pooled: Option<Tensor>,
}

/// What the picture shows and must not show.
#[derive(Debug)]
pub struct Conditioning {
    /// What it shows.
    pub positive: Said,
    /// What it must not show, where anybody asks.
    pub negative: Option<Said>,
    /// What the operator is told of it.
    pub notes: Vec<String>,
}

/// Finds the encoder of a role.
pub type Encoders<'a> = dyn Fn(Role) -> Result<&'a LoadedEncoder, EngineError> + 'a;

/// Reads both prompts; the second only where guidance asks for it.
pub fn condition(spec: &JobSpec, encoders: &Encoders<'_>, device: Device) -> Result<Conditioning, EngineError> {
    let mut positive = windows(&spec.prompt, spec.dialect);
    let mut negative = spec.is_guided().then(|| windows(&spec.negative, spec.dialect));
    if let Some(negative) = &mut negative {
        let longest = positive.len().max(negative.len());
        positive.resize_with(longest, Window::empty);
        negative.resize_with(longest, Window::empty);
    }
    let mut reader = Reader::new(spec, encoders, device);
    let positive = reader.read(&spec.prompt, &positive)?;
    let negative = negative.map(|windows| reader.read(&spec.negative, &windows)).transpose()?;
    Ok(Conditioning { positive, negative, notes: reader.notes })
}
