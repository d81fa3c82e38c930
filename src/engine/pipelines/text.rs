//! Text to context.

use tch::{Device, Kind, Tensor};

use crate::engine::EngineError;
use crate::engine::loading::{LoadedClip, LoadedEncoder};
use crate::families::Role;
use crate::prompt::Weighting;
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
    let LoadedEncoder::Clip(clip) = encoders(Role::ClipL)?;
    let read = |windows: &[Window]| Ok::<_, EngineError>(Said { context: encode(clip, windows, spec.weighting, device)?, pooled: None });
    Ok(Conditioning { positive: read(&positive)?, negative: read(&negative)? })
}

/// Returns the context of these windows, `[1, 77·n, C]` in the type that the encoder gives.
fn encode(clip: &LoadedClip, windows: &[Window], weighting: Weighting, device: Device) -> Result<Tensor, EngineError> {
    let weighted = windows.iter().any(Window::is_weighted);
    let empty = Window::empty();
    // One pass over all windows; the empty one comes last where weights need it.
    let read = || windows.iter().chain(weighted.then_some(&empty));
    let ids: Vec<i64> = read().flat_map(|w| w.ids.iter().map(|id| id.as_i64())).collect();
    let count = read().count() as i64;
    let tokens = Tensor::from_slice(&ids).view([count, -1]).to_device(device);
    let hidden = clip.model.forward(&clip.residency, &tokens)?.last;
    let text = hidden.narrow(0, 0, windows.len() as i64);
    let text = if weighted { weigh(&text, &hidden.narrow(0, count - 1, 1), windows, weighting) } else { text };
    Ok(text.reshape([1, -1, hidden.size()[2]]))
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
