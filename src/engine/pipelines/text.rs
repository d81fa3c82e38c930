//! Prompts to what networks read.

use tch::{Device, Tensor};

use super::reader::Reader;
use crate::engine::EngineError;
use crate::engine::embeddings::Readings;
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
    /// What the operator is told of it.
    pub notes: Vec<String>,
}

/// What the picture shows and must not show.
#[derive(Debug)]
pub struct Conditioning {
    /// What it shows.
    pub positive: Said,
    /// What it must not show, where anybody asks.
    pub negative: Option<Said>,
    /// What the operator is told of both.
    pub notes: Vec<String>,
}

/// A prompt before it is read.
#[derive(Debug)]
pub struct Text<'a> {
    /// As it was written.
    pub words: &'a str,
    /// As encoders of CLIP's kind read it: in as many windows as the longer of both prompts has.
    pub windows: Vec<Window>,
}

/// Finds the encoder of a role.
pub type Encoders<'a> = dyn Fn(Role) -> Result<&'a LoadedEncoder, EngineError> + 'a;

/// Reads both prompts; the second only where guidance asks for it. What is kept already is not read again, and what is read is kept.
pub fn condition(
    spec: &JobSpec,
    encoders: &Encoders<'_>,
    device: Device,
    kept: Option<&Readings<'_>>,
) -> Result<Conditioning, EngineError> {
    let mut reader = Reader::new(spec, encoders, device);
    both(spec, |text| {
        if let Some(said) = kept.and_then(|kept| kept.find(text)) {
            return Ok(said);
        }
        let said = reader.read(text)?;
        if let Some(kept) = kept {
            kept.keep(text, &said);
        }
        Ok(said)
    })
}

/// Returns both prompts as they were read before, where both were.
#[must_use]
pub fn recall(spec: &JobSpec, kept: &Readings<'_>) -> Option<Conditioning> {
    both(spec, |text| kept.find(text).ok_or(())).ok()
}

fn both<E>(spec: &JobSpec, mut read: impl FnMut(&Text<'_>) -> Result<Said, E>) -> Result<Conditioning, E> {
    let text = |words| Text { words, windows: windows(words, spec.dialect) };
    let mut positive = text(spec.prompt.as_str());
    let mut negative = spec.is_guided().then(|| text(spec.negative.as_str()));
    if let Some(negative) = &mut negative {
        let longest = positive.windows.len().max(negative.windows.len());
        positive.windows.resize_with(longest, Window::empty);
        negative.windows.resize_with(longest, Window::empty);
    }
    let positive = read(&positive)?;
    let negative = negative.map(|text| read(&text)).transpose()?;
    let notes = std::iter::once(&positive).chain(&negative).flat_map(|said| said.notes.clone()).collect();
    Ok(Conditioning { positive, negative, notes })
}
