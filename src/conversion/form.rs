//! What a tensor becomes, and how a chunk of it gets there.

use std::ops::Range;

use super::chunk::Rows;
use super::feed::Feed;
use super::journal::Loss;
use crate::kernels::{self, Deviation};
use crate::quant::nf4::{self, NF4};
use crate::quant::quant_state::{FourBit, QuantState};
use crate::quant::sdnq_type::WeightsType;
use crate::quant::{QuantError, Tally};
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
    /// Blocks of ggml. The shape is that of the rows as they are stored.
    Blocks(DType, Shape),
    /// 4 bits a number by bitsandbytes' codebook; the type is what they are widened to.
    Nf4(DType),
    /// bitsandbytes' integers with a scale for each row.
    Int8,
    /// SDNQ's codes, so many of a row with a scale.
    Sdnq(WeightsType, u64),
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
    #[must_use]
    pub fn is_by_row(&self) -> bool {
        matches!(self, Self::Int8 | Self::Sdnq(..))
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
            Self::Blocks(dtype, shape) => vec![product(name, *dtype, shape.clone())],
            Self::Nf4(dtype) => nf4_products(name, *dtype, &feed.shape),
            Self::Int8 => {
                let layer = name.strip_suffix(".weight").unwrap_or(name);
                let rows = Rows::of(&feed.shape).count;
                let row_wise =
                    Product { constant: Some(vec![0]), ..product(&format!("{layer}.weight_format"), DType::U8, Shape::default()) };
                vec![product(name, DType::I8, feed.shape.clone()), product(&format!("{layer}.SCB"), DType::F32, [rows].into()), row_wise]
            }
            Self::Sdnq(kind, group) => sdnq_products(name, *kind, *group, &feed.shape),
        }
    }

    /// Returns where in each product what becomes of element `first` begins, of those that are made of the numbers.
    fn starts(&self, first: u64, width: u64) -> Vec<u64> {
        let bytes = |dtype: &DType| dtype.bytes_of(first).unwrap_or(0);
        match self {
            Self::Copy => Vec::new(),
            Self::Float(dtype) | Self::Blocks(dtype, _) => vec![bytes(dtype)],
            Self::ScaledFp8 => vec![first, 0],
            Self::Nf4(_) => vec![first / 2, first / nf4::BLOCK as u64 * SINGLE],
            Self::Int8 => vec![first, first / width.max(1) * SINGLE],
            Self::Sdnq(kind, group) => {
                let codes = kind.bytes_of(first as usize).unwrap_or(0) as u64;
                let scales = first / group.max(&1) * SINGLE;
                if kind.signed { vec![codes, scales] } else { vec![codes, scales, scales] }
            }
        }
    }
}

/// The bytes of a single.
const SINGLE: u64 = 4;

fn nf4_products(name: &str, dtype: DType, shape: &Shape) -> Vec<Product> {
    let elements = shape.elements().unwrap_or(0);
    let product = |end: &str, dtype, shape, constant| Product { name: format!("{name}{end}"), dtype, shape, constant };
    let state = QuantState { code: FourBit::Nf4, block: nf4::BLOCK, dtype, shape: shape.clone(), nested: None }.to_json().into_bytes();
    let book = NF4.iter().flat_map(|value| value.to_le_bytes()).collect();
    vec![
        product("", DType::U8, [elements.div_ceil(2), 1].into(), None),
        product(".absmax", DType::F32, [elements.div_ceil(nf4::BLOCK as u64)].into(), None),
        product(".quant_map", DType::F32, [16].into(), Some(book)),
        product(FourBit::Nf4.key(), DType::U8, [state.len() as u64].into(), Some(state)),
    ]
}

fn sdnq_products(name: &str, kind: WeightsType, group: u64, shape: &Shape) -> Vec<Product> {
    let layer = name.strip_suffix(".weight").unwrap_or(name);
    let Rows { count, width } = Rows::of(shape);
    let groups = width / group.max(1);
    let product = |name: String, dtype, shape| Product { name, dtype, shape, constant: None };
    let codes = match kind.is_packed() {
        // Words stand in rows, as many as are packed together.
        true => {
            let (weights, bytes) = kind.together();
            let words = bytes as u64 * 8 / bits(kind.storage());
            let packs = count * width / (weights as u64).max(1);
            if words == 1 { [packs].into() } else { [packs, words].into() }
        }
        false if groups > 1 => [count, groups, group].into(),
        false => [count, width].into(),
    };
    let scales: Shape = if groups > 1 { [count, groups, 1].into() } else { [count, 1].into() };
    let mut products = vec![product(name.to_owned(), kind.storage(), codes), product(format!("{layer}.scale"), DType::F32, scales.clone())];
    if !kind.signed {
        products.push(product(format!("{layer}.zero_point"), DType::F32, scales));
    }
    products
}

fn bits(dtype: DType) -> u64 {
    let (together, bytes) = dtype.block();
    bytes * 8 / together
}

/// Bytes of one product.
#[derive(Debug, Default)]
pub struct Made {
    /// Where they begin in it.
    pub at: u64,
    memory: Vec<u8>,
    held: usize,
}

impl Made {
    /// Returns them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[..self.held]
    }

    /// Returns room for `more` bytes behind what there is. What it holds is left from before.
    fn grown(&mut self, more: usize) -> &mut [u8] {
        let start = self.held;
        self.held += more;
        if self.memory.len() < self.held {
            self.memory.resize(self.held, 0);
        }
        &mut self.memory[start..self.held]
    }

    fn append(&mut self, values: &[f32]) {
        let bytes = self.grown(values.len() * SINGLE as usize);
        for (value, stored) in values.iter().zip(bytes.as_chunks_mut().0) {
            *stored = value.to_le_bytes();
        }
    }
}

/// Memory of one thread, used again for every chunk.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The products of the last chunk.
    pub made: Vec<Made>,
    /// The bytes that the next chunk is made of.
    pub source: Vec<u8>,
    values: Vec<f32>,
    again: Vec<f32>,
    scales: Vec<f32>,
    zeros: Vec<f32>,
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
    /// Returns where in each product what becomes of element `first` begins, of those that are made of the numbers.
    #[must_use]
    pub fn starts(self, first: u64) -> Vec<u64> {
        self.form.starts(first, Rows::of(&self.feed.shape).width)
    }

    /// Returns a chunk as the pieces that are converted at once: they stay in a core's cache on their way.
    pub fn pieces(self, chunk: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
        let (step, end) = (self.step(), chunk.end);
        (chunk.start..end).step_by(step as usize).map(move |start| start..(start + step).min(end))
    }

    fn step(self) -> u64 {
        let width = Rows::of(&self.feed.shape).width;
        if self.form.is_by_row() { (AT_ONCE / width.max(1)).max(1) * width.max(1) } else { AT_ONCE }
    }

    /// Converts `bytes`, which are these elements of the tensor, into `scratch`.
    pub fn encode(self, bytes: &[u8], elements: &Range<u64>, scratch: &mut Scratch) -> Result<Loss, QuantError> {
        self.begin(elements.start, scratch);
        let step = self.step();
        let mut loss = Loss::default();
        let mut at = 0;
        while at < elements.end - elements.start {
            let length = step.min(elements.end - elements.start - at);
            let from = self.feed.bytes_of(&(0..at)) as usize;
            let part = &bytes[from..from + self.feed.bytes_of(&(0..length)) as usize];
            scratch.values.resize(length as usize, 0.0);
            self.feed.widen(part, &mut scratch.values)?;
            let (tally, deviation) = self.part(scratch)?;
            loss.add(deviation.error, deviation.signal, tally);
            at += length;
        }
        Ok(loss)
    }

    /// Makes the products empty.
    fn begin(self, first: u64, scratch: &mut Scratch) {
        let starts = self.starts(first);
        scratch.made.resize_with(starts.len(), Made::default);
        for (made, at) in scratch.made.iter_mut().zip(starts) {
            made.at = at;
            made.held = 0;
        }
        if self.form == &Form::ScaledFp8 && first == 0 {
            scratch.made[1].append(&[self.scale]);
        }
    }

    /// Converts the values in `scratch`, and says what that cost.
    fn part(self, Scratch { made, values, again, scales, zeros, .. }: &mut Scratch) -> Result<(Tally, Deviation), QuantError> {
        match self.form {
            Form::Copy => Ok(Default::default()),
            Form::Float(dtype) => {
                let bytes = made[0].grown(dtype.bytes_of(values.len() as u64).unwrap_or(0) as usize);
                kernels::narrow_measured(*dtype, values, bytes)
            }
            Form::ScaledFp8 => {
                let bytes = made[0].grown(values.len());
                kernels::narrow_scaled_measured(DType::F8_E4M3, values, self.scale, bytes)
            }
            Form::Blocks(dtype, _) => {
                let bytes = made[0].grown(dtype.bytes_of(values.len() as u64).unwrap_or(0) as usize);
                again.resize(values.len(), 0.0);
                let tally = blocks(*dtype, values, bytes, again)?;
                Ok((tally, kernels::compare(values, again)))
            }
            Form::Nf4(_) => {
                let codes = made[0].grown(values.len().div_ceil(2));
                scales.resize(values.len().div_ceil(nf4::BLOCK), 0.0);
                let measured = kernels::nf4_measured(values, nf4::BLOCK, codes, scales)?;
                made[1].append(scales);
                Ok(measured)
            }
            Form::Int8 => {
                let width = Rows::of(&self.feed.shape).width as usize;
                let codes = made[0].grown(values.len());
                scales.resize(values.len() / width.max(1), 0.0);
                let measured = kernels::int8_measured(values, width, codes, scales)?;
                made[1].append(scales);
                Ok(measured)
            }
            Form::Sdnq(kind, group) => {
                let group = *group as usize;
                let codes = made[0].grown(kind.bytes_of(values.len()).unwrap_or(0));
                scales.resize(values.len() / group.max(1), 0.0);
                zeros.resize(if kind.signed { 0 } else { scales.len() }, 0.0);
                let measured = kernels::sdnq_measured(*kind, values, group, codes, scales, zeros)?;
                made[1].append(scales);
                if let Some(made) = made.get_mut(2) {
                    made.append(zeros);
                }
                Ok(measured)
            }
        }
    }
}

/// The largest number of a half, which scales of blocks are.
const LARGEST: f32 = 65_504.0;

/// Stores values in blocks, and reads them back into `again`. One value that no block can hold would take all others of its block
/// with it: what is no number becomes 0, and what is too large the largest that surely fits. Those are counted.
fn blocks(dtype: DType, values: &mut [f32], bytes: &mut [u8], again: &mut [f32]) -> Result<Tally, QuantError> {
    let (mut tally, mut were) = (Tally::default(), Vec::new());
    let is_odd = |values: &[f32]| values.iter().fold(false, |odd, value| odd | !value.is_finite());
    let mut store = |values: &[f32]| {
        kernels::ggml::quantise(dtype, values, bytes)?;
        kernels::ggml::dequantise(dtype, bytes, again)?;
        Ok::<_, QuantError>(is_odd(again))
    };
    let mut tame = |values: &mut [f32], is_wild: &dyn Fn(f32) -> bool| {
        for (at, value) in values.iter_mut().enumerate().filter(|(_, value)| is_wild(**value)) {
            were.push((at, *value));
            (tally.not_a_number, tally.clipped) =
                (tally.not_a_number + u64::from(value.is_nan()), tally.clipped + u64::from(!value.is_nan()));
            *value = if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) };
        }
    };
    if is_odd(values) {
        tame(values, &|value| !value.is_finite());
    }
    if store(values)? {
        tame(values, &|value| value.abs() > LARGEST);
        store(values)?;
    }
    // What they were is what they are compared with.
    for (at, value) in were.into_iter().rev() {
        values[at] = value;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quant::sdnq;

    const WIDTH: u64 = 512;

    fn forms(rows: u64) -> Vec<Form> {
        let blocks = |dtype: &DType| Form::Blocks(*dtype, [rows, WIDTH].into());
        let writable = [
            DType::Q4_0,
            DType::Q4_1,
            DType::Q5_0,
            DType::Q5_1,
            DType::Q8_0,
            DType::Q2_K,
            DType::Q3_K,
            DType::Q4_K,
            DType::Q5_K,
            DType::Q6_K,
        ];
        let sdnq = ["int8", "uint8", "int7", "uint6", "int5", "uint4", "uint3", "int2"];
        let sdnq = sdnq.iter().filter_map(|name| WeightsType::parse(name).ok()).filter(|kind| sdnq::can_write(*kind));
        let floats = [DType::F32, DType::F16, DType::Bf16, DType::F8_E4M3, DType::F8_E5M2].map(Form::Float);
        floats
            .into_iter()
            .chain([Form::ScaledFp8, Form::Nf4(DType::Bf16), Form::Int8])
            .chain(writable.iter().map(blocks))
            .chain(sdnq.flat_map(|kind| [Form::Sdnq(kind, 32), Form::Sdnq(kind, WIDTH)]))
            .collect()
    }

    /// Converts these ranges of rows one after another; every product must go on where it ended.
    fn encoded(form: &Form, bytes: &[u8], rows: &[u64]) -> (Vec<Vec<u8>>, Loss) {
        let feed = Feed {
            name: "lin.weight".to_owned(),
            file: 0,
            start: 0,
            dtype: DType::F32,
            shape: [rows.iter().sum(), WIDTH].into(),
            scale: None,
        };
        let (mut whole, mut loss, mut row) = (Vec::<Vec<u8>>::new(), Loss::default(), 0);
        let mut scratch = Scratch::default();
        for count in rows {
            let elements = row * WIDTH..(row + count) * WIDTH;
            let encoder = Encoder { form, feed: &feed, scale: 0.125 };
            loss.join(encoder.encode(feed.slice(bytes, &elements), &elements, &mut scratch).unwrap());
            whole.resize(scratch.made.len(), Vec::new());
            for (all, made) in whole.iter_mut().zip(&scratch.made) {
                assert!(made.bytes().is_empty() || made.at == all.len() as u64, "{form:?}: a part begins where the one before ended");
                all.extend(made.bytes());
            }
            row += count;
        }
        let products = form.products("lin.weight", &feed);
        let wanted: Vec<u64> = products.iter().filter(|p| p.constant.is_none()).map(Product::bytes).collect();
        assert_eq!(whole.iter().map(|all| all.len() as u64).collect::<Vec<_>>(), wanted, "{form:?}: products are as long as they say");
        (whole, loss)
    }

    /// A value that cannot be stored costs its block's other values some of their precision, and no other block anything.
    #[test]
    fn what_no_block_holds_is_counted_and_takes_no_others_with_it() {
        let plain: Vec<f32> = (0..WIDTH).map(|n| (n as f32 * 0.37).sin()).collect();
        let types = forms(1).into_iter().filter_map(|form| if let Form::Blocks(dtype, _) = form { Some(dtype) } else { None });
        for dtype in types {
            let stored = |values: &[f32]| {
                let mut values = values.to_vec();
                let mut bytes = vec![0; dtype.bytes_of(WIDTH).unwrap() as usize];
                let mut again = vec![0.0; values.len()];
                let given: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
                let tally = blocks(dtype, &mut values, &mut bytes, &mut again).unwrap();
                assert_eq!(values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), given, "{dtype}");
                (tally, again)
            };
            let (none, before) = stored(&plain);
            assert_eq!(none, Tally::default());
            let mut wild = plain.clone();
            (wild[3], wild[4], wild[5]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
            let (tally, after) = stored(&wild);
            assert_eq!(tally, Tally { clipped: 2, not_a_number: 1 }, "{dtype}");
            assert!(after.iter().all(|v| v.is_finite()) && after[256..] == before[256..] && after[4] > 60_000.0, "{dtype}");
            wild = plain.clone();
            wild[9] = 1e9;
            let (tally, after) = stored(&wild);
            assert!(tally == Tally { clipped: 1, not_a_number: 0 } && after.iter().all(|v| v.is_finite()), "{dtype}: {tally:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn any_chunks_give_the_same_bytes_as_one(rows in prop::collection::vec(1_u64..7, 1..6), seed in any::<u32>()) {
            let count = rows.iter().sum::<u64>() * WIDTH;
            let mut state = seed | 1;
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from(i16::from_le_bytes([(state >> 16) as u8, (state >> 24) as u8])) / 65_536.0
            };
            let bytes: Vec<u8> = (0..count).flat_map(|_| next().to_le_bytes()).collect();
            for form in forms(rows.iter().sum()) {
                let (apart, loss) = encoded(&form, &bytes, &rows);
                let (one, all) = encoded(&form, &bytes, &[rows.iter().sum()]);
                prop_assert!(apart == one, "{:?} in {:?}", form, rows);
                prop_assert!((loss.relative() - all.relative()).abs() < 1e-9 && loss.clipped == all.clipped);
            }
        }
    }
}
