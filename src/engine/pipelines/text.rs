//! Text to context.

use tch::{Device, Kind, Tensor};

use crate::engine::EngineError;
use crate::engine::loading::LoadedEncoder;
use crate::families::{Family, Role};
use crate::prompt::Weighting;
use crate::tokens::TokenId;
use crate::tokens::chunks::Window;
use crate::tokens::clip_bpe::END;
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
    /// What it must not show.
    pub negative: Said,
}

/// Finds the encoder of a role.
pub type Encoders<'a> = dyn Fn(Role) -> Result<&'a LoadedEncoder, EngineError> + 'a;

/// Reads both prompts.
pub fn condition(spec: &JobSpec, encoders: &Encoders<'_>, device: Device) -> Result<Conditioning, EngineError> {
    let mut positive = windows(&spec.prompt, spec.dialect);
    let mut negative = windows(&spec.negative, spec.dialect);
    let longest = positive.len().max(negative.len());
    positive.resize_with(longest, Window::empty);
    negative.resize_with(longest, Window::empty);
    let reader = Reader { spec, encoders, device };
    Ok(Conditioning { positive: reader.read(&positive)?, negative: reader.read(&negative)? })
}

/// Reads windows with the encoders of a family.
struct Reader<'a, 'e> {
    spec: &'a JobSpec,
    encoders: &'a Encoders<'e>,
    device: Device,
}

/// What an encoder of CLIP's kind makes of a prompt.
struct Clipped {
    /// The last state after the final norm, `[1, 77·n, C]`.
    last: Tensor,
    /// The output of the second last layer, `[1, 77·n, C]`.
    penultimate: Tensor,
    /// The first window as a whole, `[1, P]`; no weight counts there.
    pooled: Tensor,
}

impl Reader<'_, '_> {
    fn read(&self, windows: &[Window]) -> Result<Said, EngineError> {
        match self.spec.set.family {
            Family::Sdxl => {
                let (one, two) = (self.clip(Role::ClipL, windows)?, self.clip(Role::ClipG, windows)?);
                Ok(Said { context: Tensor::cat(&[one.penultimate, two.penultimate], 2), pooled: Some(two.pooled) })
            }
            Family::Sd15 | Family::Sd2 | Family::SdxlRefiner | Family::Sd3 | Family::Flux | Family::ZImage => {
                Ok(Said { context: self.clip(Role::ClipL, windows)?.last, pooled: None })
            }
        }
    }

    /// Reads all windows in one pass; the one of no text comes last where weights need it.
    fn clip(&self, role: Role, windows: &[Window]) -> Result<Clipped, EngineError> {
        let LoadedEncoder::Clip(clip) = (self.encoders)(role)?;
        let weighted = windows.iter().any(Window::is_weighted);
        let empty = Window::empty();
        let read = || windows.iter().chain(weighted.then_some(&empty));
        let ids: Vec<i64> = read().flat_map(|w| w.padded(padding(role))).map(|id| id.as_i64()).collect();
        let count = read().count() as i64;
        let tokens = Tensor::from_slice(&ids).view([count, -1]).to_device(self.device);
        let output = clip.model.forward(&clip.residency, &tokens)?;
        let in_a_row = |states: Tensor| {
            let text = states.narrow(0, 0, windows.len() as i64);
            let empty = || states.narrow(0, count - 1, 1);
            let text = if weighted { weigh(&text, &empty(), windows, self.spec.weighting) } else { text };
            text.reshape([1, -1, states.size()[2]])
        };
        Ok(Clipped { last: in_a_row(output.last), penultimate: in_a_row(output.penultimate), pooled: output.pooled.narrow(0, 0, 1) })
    }
}

/// What fills a window after its end mark: another end mark, but for `OpenCLIP`, which was trained on zeros.
/// Source: ComfyUI `comfy/sdxl_clip.py`, and SDXL's `tokenizer_2/tokenizer_config.json`.
fn padding(role: Role) -> TokenId {
    if role == Role::ClipG { TokenId(0) } else { END }
}

/// Makes tokens count more or less; computed in fp32, since differences of near numbers are taken.
fn weigh(text: &Tensor, empty: &Tensor, windows: &[Window], weighting: Weighting) -> Tensor {
    let weights: Vec<f32> = windows.iter().flat_map(|w| w.weights.iter().map(|w| *w as f32)).collect();
    let weights = Tensor::from_slice(&weights).view([windows.len() as i64, -1, 1]).to_device(text.device());
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
