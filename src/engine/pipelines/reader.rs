//! What each family makes of a text with its encoders.

use tch::{Device, Kind, Tensor};

use super::text::{Encoders, Said, Text};
use crate::engine::EngineError;
use crate::engine::loading::LoadedEncoder;
use crate::families::{Family, Role};
use crate::prompt::{Dialect, Weighting};
use crate::tokens::chunks::{Filler, Window};
use crate::tokens::sequence::Length;
use crate::tokens::{TokenId, VocabularyError, chat};
use crate::workflow::JobSpec;
use crate::workflow::text::sequence;

/// Reads texts with the encoders of a family.
pub(super) struct Reader<'a, 'e> {
    spec: &'a JobSpec,
    encoders: &'a Encoders<'e>,
    device: Device,
    /// What the operator is told of the text that is read.
    notes: Vec<String>,
}

/// What an encoder of CLIP's kind makes of a prompt.
struct Clipped {
    /// The last state after the final norm, `[1, 77·n, C]`.
    last: Tensor,
    /// The output of the second last layer, `[1, 77·n, C]`.
    penultimate: Tensor,
    /// The first window as a whole, projected, `[1, P]`; no weight counts there.
    pooled: Tensor,
    /// The same before the projection, `[1, C]`.
    unprojected: Tensor,
}

impl<'a, 'e> Reader<'a, 'e> {
    pub(super) fn new(spec: &'a JobSpec, encoders: &'a Encoders<'e>, device: Device) -> Self {
        Self { spec, encoders, device, notes: Vec::new() }
    }

    /// Reads a text.
    pub(super) fn read(&mut self, text: &Text<'_>) -> Result<Said, EngineError> {
        let Text { words, windows } = text;
        let (context, pooled) = match self.spec.set.family {
            Family::Sd15 | Family::Sd2 | Family::SdxlRefiner => (self.clip(Role::ClipL, windows)?.last, None),
            Family::Sdxl => {
                let (one, two) = (self.clip(Role::ClipL, windows)?, self.clip(Role::ClipG, windows)?);
                (Tensor::cat(&[one.penultimate, two.penultimate], 2), Some(two.pooled))
            }
            Family::Sd3 => self.sd3(words, windows)?,
            Family::Flux => {
                let pooled = self.clip(Role::ClipL, windows)?.unprojected;
                (self.t5(words)?, Some(pooled))
            }
            Family::ZImage => (self.qwen(words)?, None),
        };
        Ok(Said { context, pooled, notes: std::mem::take(&mut self.notes) })
    }

    /// Both CLIPs beside each other, filled up with zeros to T5's width, and T5 behind them where it is there.
    /// Source: diffusers `pipelines/stable_diffusion_3/pipeline_stable_diffusion_3.py`, `encode_prompt`.
    fn sd3(&mut self, text: &str, windows: &[Window]) -> Result<(Tensor, Option<Tensor>), EngineError> {
        let (one, two) = (self.clip(Role::ClipL, windows)?, self.clip(Role::ClipG, windows)?);
        let clips = Tensor::cat(&[wide(&one.penultimate), wide(&two.penultimate)], 2);
        let context = if self.spec.set.component(Role::T5).is_some() {
            let t5 = self.t5(text)?;
            let missing = t5.size()[2] - clips.size()[2];
            Tensor::cat(&[clips.constant_pad_nd([0, missing]), t5], 1)
        } else {
            // The network's own width comes later, when it is there.
            clips.constant_pad_nd([0, 0, 0, unread(self.spec.dialect)])
        };
        Ok((context, Some(Tensor::cat(&[wide(&one.pooled), wide(&two.pooled)], 1))))
    }

    /// Reads all windows in one pass; the one of no text comes last where weights need it.
    fn clip(&self, role: Role, windows: &[Window]) -> Result<Clipped, EngineError> {
        let LoadedEncoder::Clip(clip) = (self.encoders)(role)? else { return Err(EngineError::not_loaded(role)) };
        let weighted = windows.iter().any(Window::is_weighted);
        let empty = Window::empty();
        let read = || windows.iter().chain(weighted.then_some(&empty));
        let filler = if role == Role::ClipG { Filler::Zero } else { Filler::End };
        let ids: Vec<i64> = read().flat_map(|w| w.filled(filler)).map(TokenId::as_i64).collect();
        let count = read().count() as i64;
        let tokens = Tensor::from_slice(&ids).view([count, -1]).to_device(self.device);
        let output = clip.model.forward(&clip.residency, &tokens)?;
        let weights: Vec<&[f64]> = windows.iter().map(|w| w.weights.as_slice()).collect();
        let in_a_row = |states: Tensor| {
            let text = states.narrow(0, 0, windows.len() as i64);
            let empty = || states.narrow(0, count - 1, 1);
            let text = if weighted { weigh(&text, &empty(), &weights, self.spec.weighting) } else { text };
            text.reshape([1, -1, states.size()[2]])
        };
        Ok(Clipped {
            last: in_a_row(output.last),
            penultimate: in_a_row(output.penultimate),
            pooled: output.pooled.narrow(0, 0, 1),
            unprojected: output.unprojected.narrow(0, 0, 1),
        })
    }

    /// `[1, L, C]` of T5's last state.
    fn t5(&mut self, text: &str) -> Result<Tensor, EngineError> {
        let LoadedEncoder::T5(t5, vocabulary) = (self.encoders)(Role::T5)? else { return Err(EngineError::not_loaded(Role::T5)) };
        let read = sequence(text, self.spec.dialect, vocabulary, length(self.spec)).map_err(|e| unreadable(Role::T5, &e))?;
        if read.cut > 0 {
            self.notes.push(format!("T5 reads {} tokens of a prompt; the last {} were not read", read.used, read.cut));
        }
        let weighted = read.is_weighted();
        let empty = read.emptied();
        let ids: Vec<i64> = read.ids.iter().chain(weighted.then_some(&empty.ids).into_iter().flatten()).map(|id| id.as_i64()).collect();
        let tokens = Tensor::from_slice(&ids).view([-1, read.ids.len() as i64]).to_device(self.device);
        let states = t5.model.forward(&t5.residency, &tokens)?;
        let text = states.narrow(0, 0, 1);
        Ok(if weighted { weigh(&text, &states.narrow(0, 1, 1), &[&read.weights], self.spec.weighting) } else { text })
    }

    /// `[1, L, C]` of Qwen's second last layer. The text is read as it stands: weights mean nothing to a language model.
    fn qwen(&mut self, text: &str) -> Result<Tensor, EngineError> {
        let LoadedEncoder::Qwen(qwen, vocabulary) = (self.encoders)(Role::Qwen)? else { return Err(EngineError::not_loaded(Role::Qwen)) };
        let (ids, cut) = chat::encode(text, vocabulary).map_err(|e| unreadable(Role::Qwen, &e))?;
        if cut > 0 {
            self.notes.push(format!("Qwen reads {} tokens of a prompt; the last {cut} were not read", ids.len()));
        }
        let ids: Vec<i64> = ids.iter().map(|id| id.as_i64()).collect();
        let tokens = Tensor::from_slice(&ids).view([1, -1]).to_device(self.device);
        qwen.model.forward(&qwen.residency, &tokens)
    }
}

/// How many tokens of zeros stand for T5's where SD3 has none. Sources: diffusers `pipelines/stable_diffusion_3`,
/// `_get_t5_prompt_embeds`; ComfyUI `comfy/text_encoders/sd3_clip.py` leaves them out.
fn unread(dialect: Dialect) -> i64 {
    match dialect {
        Dialect::Comfy => 0,
        Dialect::A1111 => 256,
    }
}

/// How long T5's sequence is. Pads are read, too, so that the length is part of the picture.
fn length(spec: &JobSpec) -> Length {
    match (spec.dialect, spec.set.family, spec.set.variant.as_str()) {
        (Dialect::Comfy, Family::Sd3, _) => Length::at_least(77),
        (Dialect::Comfy, ..) => Length::at_least(256),
        (Dialect::A1111, Family::Flux, "schnell") | (Dialect::A1111, Family::Sd3, _) => Length::exactly(256),
        (Dialect::A1111, ..) => Length::exactly(512),
    }
}

fn wide(tensor: &Tensor) -> Tensor {
    tensor.to_kind(Kind::Float)
}

fn unreadable(role: Role, error: &VocabularyError) -> EngineError {
    EngineError::Torch { place: format!("reading the prompt with {role}"), reason: error.to_string() }
}

/// Makes tokens count more or less; computed in fp32, since differences of near numbers are taken.
fn weigh(text: &Tensor, empty: &Tensor, weights: &[&[f64]], weighting: Weighting) -> Tensor {
    let rows = weights.len() as i64;
    let weights: Vec<f32> = weights.iter().flat_map(|row| row.iter().map(|w| *w as f32)).collect();
    let weights = Tensor::from_slice(&weights).view([rows, -1, 1]).to_device(text.device());
    let (wide, empty) = (text.to_kind(Kind::Float), empty.to_kind(Kind::Float));
    let weighed = match weighting {
        Weighting::Interpolate => (&wide - &empty) * weights + empty,
        Weighting::Original => {
            let scaled = &wide * weights;
            let mean = |t: &Tensor| t.mean_dim(&[1i64, 2][..], true, Kind::Float);
            let (before, after) = (mean(&wide), mean(&scaled));
            scaled * (before / after)
        }
    };
    weighed.to_kind(text.kind())
}
