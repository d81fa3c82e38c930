//! What a tensor becomes, and how a chunk of it gets there.

use std::ops::Range;

use super::chunk::Rows;
use super::feed::Feed;
use super::journal::Loss;
use crate::quant::{QuantError, Tally, floats, fp8};
use crate::weights::{DType, Shape};

/// Numbers that are converted at once: they stay in a core's cache on their way.
pub(super) const AT_ONCE: u64 = 64 << 10;

/// What a tensor becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// The same bytes.
    Copy,
    /// Every number in this type.
    Float(DType),
    /// 8-bit floats and one scale for the tensor, as ComfyUI loads them.
    ScaledFp8,
}

/// A tensor of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: DType,
    /// Its extents.
    pub shape: Shape,
    /// Its bytes, where they do not depend on the source's.
    pub constant: Option<Vec<u8>>,
}

impl Product {
    /// Returns its size. Products are made of whole blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shape.elements().and_then(|n| self.dtype.bytes_of(n)).unwrap_or(u64::MAX)
    }
}

impl Form {
    /// Returns whether bytes stay as they are.
    #[must_use]
    pub fn copies(&self) -> bool {
        matches!(self, Self::Copy)
    }

    /// Returns whether a chunk cannot be converted before all of the tensor was looked at.
    #[must_use]
    pub fn needs_scale(&self) -> bool {
        matches!(self, Self::ScaledFp8)
    }

    /// Returns whether whole rows belong together.
    fn is_by_row(&self) -> bool {
        false
    }

    /// Returns what a tensor called `name` becomes, what depends on its numbers first, in the order in which
    /// [`Scratch::made`] has it.
    #[must_use]
    pub fn products(&self, name: &str, feed: &Feed) -> Vec<Product> {
        let product = |name: &str, dtype, shape| Product { name: name.to_owned(), dtype, shape, constant: None };
        match self {
            Self::Copy => vec![product(name, feed.dtype, feed.shape.clone())],
            Self::Float(dtype) => vec![product(name, *dtype, feed.shape.clone())],
            Self::ScaledFp8 => {
                let layer = name.strip_suffix(".weight").unwrap_or(name);
                let scale = product(&format!("{layer}.scale_weight"), DType::F32, Shape::default());
                vec![product(name, DType::F8_E4M3, feed.shape.clone()), scale]
            }
        }
    }
}

/// Bytes of one product.
#[derive(Debug, Default)]
pub struct Made {
    /// Where they begin in it.
    pub at: u64,
    /// They themselves.
    pub bytes: Vec<u8>,
}

/// Memory of one thread, used again for every chunk.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The products of the last chunk.
    pub made: Vec<Made>,
    values: Vec<f32>,
    again: Vec<f32>,
}

/// Converts chunks of one tensor.
#[derive(Debug, Clone, Copy)]
pub struct Encoder<'a> {
    /// What it becomes.
    pub form: &'a Form,
    /// What it is.
    pub feed: &'a Feed,
    /// The scale of the whole tensor, where the form has one.
    pub scale: f32,
}

impl Encoder<'_> {
    /// Converts `bytes`, which are these elements of the tensor, into `scratch`.
    pub fn encode(self, bytes: &[u8], elements: &Range<u64>, scratch: &mut Scratch) -> Result<Loss, QuantError> {
        self.begin(elements.start, scratch);
        let width = Rows::of(&self.feed.shape).width;
        let step = if self.form.is_by_row() { (AT_ONCE / width.max(1)).max(1) * width } else { AT_ONCE };
        let mut loss = Loss::default();
        let mut at = 0;
        while at < elements.end - elements.start {
            let length = step.min(elements.end - elements.start - at);
            let from = self.feed.bytes_of(&(0..at)) as usize;
            let part = &bytes[from..from + self.feed.bytes_of(&(0..length)) as usize];
            scratch.values.resize(length as usize, 0.0);
            self.feed.widen(part, &mut scratch.values)?;
            let tally = self.part(scratch)?;
            let (error, power) = difference(&scratch.values, &scratch.again);
            loss.add(error, power, tally);
            at += length;
        }
        Ok(loss)
    }

    /// Makes the products empty.
    fn begin(self, first: u64, scratch: &mut Scratch) {
        let starts: &[u64] = match self.form {
            Form::Copy => &[],
            Form::Float(dtype) => &[dtype.bytes_of(first).unwrap_or(0)],
            Form::ScaledFp8 => &[first, 0],
        };
        scratch.made.resize_with(starts.len(), Made::default);
        for (made, at) in scratch.made.iter_mut().zip(starts) {
            made.at = *at;
            made.bytes.clear();
        }
        if self.form == &Form::ScaledFp8 && first == 0 {
            scratch.made[1].bytes.extend(self.scale.to_le_bytes());
        }
    }

    /// Converts the values in `scratch`, and back.
    fn part(self, Scratch { made, values, again }: &mut Scratch) -> Result<Tally, QuantError> {
        again.resize(values.len(), 0.0);
        match self.form {
            Form::Copy => Ok(Tally::default()),
            Form::Float(dtype) => {
                let bytes = grown(&mut made[0].bytes, dtype.bytes_of(values.len() as u64).unwrap_or(0) as usize);
                let tally = floats::narrow(*dtype, values, bytes)?;
                floats::widen(*dtype, bytes, again)?;
                Ok(tally)
            }
            Form::ScaledFp8 => {
                let bytes = grown(&mut made[0].bytes, values.len());
                let tally = fp8::narrow_scaled(DType::F8_E4M3, values, self.scale, bytes)?;
                fp8::widen_scaled(DType::F8_E4M3, bytes, self.scale, again)?;
                Ok(tally)
            }
        }
    }
}

/// Returns room for `more` bytes behind what there is.
fn grown(bytes: &mut Vec<u8>, more: usize) -> &mut [u8] {
    let held = bytes.len();
    bytes.resize(held + more, 0);
    &mut bytes[held..]
}

/// Returns Σ (again − values)² and Σ values², of numbers that are finite on both sides.
fn difference(values: &[f32], again: &[f32]) -> (f64, f64) {
    let (mut error, mut power) = ([0.0_f64; 8], [0.0_f64; 8]);
    for (values, again) in values.chunks(8).zip(again.chunks(8)) {
        for (lane, (value, again)) in values.iter().zip(again).enumerate() {
            let (value, again) = (f64::from(*value), f64::from(*again));
            let off = again - value;
            let counts = off.is_finite();
            error[lane] += if counts { off * off } else { 0.0 };
            power[lane] += if counts { value * value } else { 0.0 };
        }
    }
    (error.iter().sum(), power.iter().sum())
}
