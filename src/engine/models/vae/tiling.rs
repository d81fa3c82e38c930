//! The autoencoder in stripes of rows, for pictures that would not fit: the same numbers up to rounding, in a part of the memory.
//!
//! Maps lie in the host's memory. A stripe of one goes to the compute device with as many rows on either side as
//! convolutions reach, which are cut off afterwards. A group norm looks at the whole map, so what comes before it is
//! done for all stripes once more, only to gather its moments. Attention, at the coarsest level, sees everything.

use std::collections::VecDeque;
use std::ops::Range;

use tch::{Device, Tensor};

use super::Vae;
use super::layers::{Level, Resample, Resampling, Resnet};
use super::model::{Half, channels_last};
use crate::engine::EngineError;
use crate::engine::heap;
use crate::engine::nn::Moments;
use crate::engine::residency::{Held, Residency};
use crate::units::BlockIndex;

/// How large a stripe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stripes {
    /// Values that a map of a stripe has at most; about five such maps are alive at a time.
    pub values: i64,
    /// Rows that it has at least, however wide they are: what is done twice is their edges.
    pub rows: i64,
}

impl Stripes {
    /// 48 MiB a map in fp32: with the finest map of 1024 × 640 pixels a quarter of what that takes in one piece.
    pub const USUAL: Self = Self { values: 12 << 20, rows: 16 };
}

impl Vae {
    /// Does what [`Vae::decode`] does, in stripes.
    pub fn decode_in_stripes(&self, residency: &Residency, latent: &Tensor, stripes: Stripes) -> Result<Tensor, EngineError> {
        let decoder = &self.decoder;
        let latent = self.before_decoder(residency, latent)?;
        let coarsest = decoder.middle.forward(residency, &decoder.begin(residency, &latent)?)?;
        let mut sheet = Sheet::new(residency, stripes, &coarsest);
        drop((latent, coarsest));
        for (number, level) in decoder.levels.iter().enumerate().rev() {
            for block in &level.blocks {
                sheet.resnet(block)?;
                sheet.keep()?;
            }
            sheet.resample(level, Resample::Up)?;
            // What enters the finest level has twice the channels of what leaves it: the largest map of all is never kept.
            if number > 1 {
                sheet.keep()?;
            }
        }
        let moments = sheet.moments()?;
        sheet.then(Step::Out { half: decoder, moments })?;
        sheet.whole()
    }

    /// Does what [`Vae::encode`] does, in stripes.
    pub fn encode_in_stripes(&self, residency: &Residency, picture: &Tensor, stripes: Stripes) -> Result<Option<Tensor>, EngineError> {
        let Some(encoder) = &self.encoder else { return Ok(None) };
        let mut sheet = Sheet::new(residency, stripes, &channels_last(picture));
        sheet.then(Step::In(encoder))?;
        for (number, level) in encoder.levels.iter().enumerate() {
            for block in &level.blocks {
                sheet.resnet(block)?;
                // Of the finest level nothing is kept: a map of it is a third of what the whole takes.
                if number > 0 {
                    sheet.keep()?;
                }
            }
            sheet.resample(level, Resample::Down)?;
            sheet.keep()?;
        }
        let coarsest = sheet.whole()?;
        drop(sheet);
        let h = encoder.middle.forward(residency, &coarsest)?;
        self.mean(residency, encoder.end(residency, &h)?).map(Some)
    }
}

/// Something that is done to a map.
#[derive(Debug)]
enum Step<'a> {
    /// The first convolution of a half.
    In(&'a Half),
    /// A ResNet until its second norm.
    UntilSecondNorm(&'a Resnet, Moments),
    /// A ResNet, with what both of its norms must know.
    Resnet(&'a Resnet, Moments, Moments),
    /// A change of size.
    Resample(&'a Resampling, Resample),
    /// The end of a half.
    Out { half: &'a Half, moments: Moments },
}

impl Step<'_> {
    /// The block that its weights are in. Steps between two maps that are kept are of one block, so that it comes once for all stripes.
    fn block(&self) -> BlockIndex {
        match self {
            Self::In(half) => half.conv_in_at,
            Self::UntilSecondNorm(resnet, ..) | Self::Resnet(resnet, ..) => resnet.block,
            Self::Resample(resampling, _) => resampling.block,
            Self::Out { half, .. } => half.out_at,
        }
    }

    fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        match self {
            Self::In(half) => half.conv_in.forward(held, x),
            Self::UntilSecondNorm(resnet, first) => resnet.part_until_second_norm(held, x, first),
            Self::Resnet(resnet, first, second) => resnet.part(held, x, first, second),
            Self::Resample(Resampling { conv, .. }, resample) => resample.forward(conv, held, x),
            Self::Out { half, moments } => half.conv_out.forward(held, &half.norm_out.forward_part(held, x, moments).silu_()),
        }
    }

    /// The rows of its input that rows of its output are made of, as if there were rows beyond the edges.
    fn needs(&self, rows: &Range<i64>) -> Range<i64> {
        match self {
            Self::In(_) | Self::UntilSecondNorm(..) | Self::Out { .. } => rows.start - 1..rows.end + 1,
            Self::Resnet(..) => rows.start - 2..rows.end + 2,
            Self::Resample(_, Resample::Down) => 2 * rows.start..2 * rows.end + 1,
            Self::Resample(_, Resample::Up) => rows.start / 2 - 1..(rows.end + 1) / 2 + 1,
        }
    }

    /// The row of its output that comes first when its input begins with this row.
    fn first_row(&self, of_input: i64) -> i64 {
        match self {
            Self::Resample(_, Resample::Down) => of_input / 2,
            Self::Resample(_, Resample::Up) => of_input * 2,
            _ => of_input,
        }
    }

    /// The extent of what it makes of a map.
    fn extent(&self, held: &Held<'_>, of: Extent) -> Extent {
        let channels = match self {
            Self::In(Half { conv_in: conv, .. })
            | Self::Resample(Resampling { conv, .. }, _)
            | Self::Out { half: Half { conv_out: conv, .. }, .. } => conv.channels(held),
            Self::UntilSecondNorm(resnet, ..) | Self::Resnet(resnet, ..) => resnet.channels(held),
        };
        let (height, width) = match self {
            Self::Resample(_, Resample::Down) => (of.height / 2, of.width / 2),
            Self::Resample(_, Resample::Up) => (of.height * 2, of.width * 2),
            _ => (of.height, of.width),
        };
        Extent { channels, height, width }
    }
}

/// Channels, rows and columns of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    channels: i64,
    height: i64,
    width: i64,
}

impl Extent {
    fn values(&self) -> i64 {
        self.channels * self.height * self.width
    }
}

/// A map: what of it lies in memory, and the steps from there to it.
struct Sheet<'a> {
    residency: &'a Residency,
    device: Device,
    stripes: Stripes,
    kept: Kept,
    steps: Vec<Step<'a>>,
    /// Of what is kept, and after each step.
    extents: Vec<Extent>,
}

impl<'a> Sheet<'a> {
    fn new(residency: &'a Residency, stripes: Stripes, map: &Tensor) -> Self {
        let size = map.size();
        let extent = Extent { channels: size[1], height: size[2], width: size[3] };
        let mut kept = Kept::default();
        kept.push(map);
        Self { residency, device: map.device(), stripes, kept, steps: Vec::new(), extents: vec![extent] }
    }

    fn extent(&self) -> Extent {
        self.extents[self.extents.len() - 1]
    }

    /// Adds a step, which nothing computes yet.
    fn then(&mut self, step: Step<'a>) -> Result<(), EngineError> {
        let extent = step.extent(&self.residency.acquire(step.block())?, self.extent());
        self.extents.push(extent);
        self.steps.push(step);
        Ok(())
    }

    /// Adds a ResNet, for which everything before its norms is computed.
    fn resnet(&mut self, resnet: &'a Resnet) -> Result<(), EngineError> {
        let first = self.moments()?;
        self.then(Step::UntilSecondNorm(resnet, first))?;
        let second = self.moments()?;
        self.extents.pop();
        if let Some(Step::UntilSecondNorm(resnet, first)) = self.steps.pop() {
            self.then(Step::Resnet(resnet, first, second))?;
        }
        Ok(())
    }

    fn resample(&mut self, level: &'a Level, resample: Resample) -> Result<(), EngineError> {
        level.resample.iter().try_for_each(|resampling| self.then(Step::Resample(resampling, resample)))
    }

    /// The moments of the map.
    fn moments(&mut self) -> Result<Moments, EngineError> {
        let mut sum: Option<Moments> = None;
        for rows in self.cut() {
            let part = Moments::of(&self.rows(&rows)?);
            // Stripes of all sizes would leave holes in the heap that none of the next fits into.
            heap::trim();
            sum = Some(match sum {
                Some(sum) => sum.and(&part),
                None => part,
            });
        }
        sum.ok_or_else(|| EngineError::Torch { place: self.residency.place(), reason: "a map without rows".to_owned() })
    }

    /// Computes the map and keeps it instead of what it was made of, which leaves stripe by stripe.
    fn keep(&mut self) -> Result<(), EngineError> {
        if self.steps.is_empty() {
            return Ok(());
        }
        let mut kept = Kept::default();
        for rows in self.cut() {
            self.kept.forget_before(self.reach(&rows)[0].start);
            kept.push(&self.rows(&rows)?);
            heap::trim();
        }
        self.kept = kept;
        self.extents = vec![self.extent()];
        self.steps.clear();
        Ok(())
    }

    /// Computes the map in one piece on the compute device.
    fn whole(&self) -> Result<Tensor, EngineError> {
        let parts: Vec<Tensor> = self.cut().into_iter().map(|rows| self.rows(&rows)).collect::<Result<_, _>>()?;
        Ok(Tensor::cat(&parts, 2))
    }

    /// The map's rows, stripe by stripe; the largest map on the way to a stripe decides how many it has.
    fn cut(&self) -> Vec<Range<i64>> {
        let height = self.extent().height;
        let largest = self.extents.iter().map(Extent::values).max().unwrap_or(1);
        let rows = (self.stripes.values * height / largest.max(1)).max(self.stripes.rows).max(1);
        (0..height).step_by(usize::try_from(rows).unwrap_or(1)).map(|first| first..(first + rows).min(height)).collect()
    }

    /// Rows of what is kept and of what each step makes that these rows are made of, the rows themselves last.
    fn reach(&self, rows: &Range<i64>) -> VecDeque<Range<i64>> {
        let mut ranges = VecDeque::from([rows.clone()]);
        for (step, before) in self.steps.iter().zip(&self.extents).rev() {
            let needed = step.needs(&ranges[0]);
            ranges.push_front(needed.start.max(0)..needed.end.min(before.height));
        }
        ranges
    }

    /// Computes rows of the map.
    fn rows(&self, rows: &Range<i64>) -> Result<Tensor, EngineError> {
        let ranges = self.reach(rows);
        let mut part = self.kept.rows(&ranges[0]).to_device(self.device);
        for ((step, from), to) in self.steps.iter().zip(&ranges).zip(ranges.iter().skip(1)) {
            let held = self.residency.acquire(step.block())?;
            part = step.forward(&held, &part).narrow(2, to.start - step.first_row(from.start), to.end - to.start);
        }
        Ok(part)
    }
}

/// A map in the host's memory, in stripes; those from above that nothing needs any more are gone.
#[derive(Debug, Default)]
struct Kept {
    /// The number of the first row that is still there.
    first: i64,
    parts: VecDeque<Tensor>,
}

impl Kept {
    /// Adds rows below.
    fn push(&mut self, rows: &Tensor) {
        // A part of a larger tensor would keep all of that.
        self.parts.push_back(if rows.device() == Device::Cpu { rows.copy() } else { rows.to_device(Device::Cpu) });
    }

    /// Lets go of stripes that end before this row.
    fn forget_before(&mut self, row: i64) {
        while let Some(rows) = self.parts.front().map(|part| part.size()[2])
            && self.first + rows <= row
        {
            self.parts.pop_front();
            self.first += rows;
        }
    }

    /// Returns rows, which must be there.
    fn rows(&self, wanted: &Range<i64>) -> Tensor {
        let (mut first, mut parts) = (self.first, Vec::new());
        for part in &self.parts {
            let end = first + part.size()[2];
            let (from, to) = (wanted.start.max(first), wanted.end.min(end));
            if from < to {
                parts.push(part.narrow(2, from - first, to - from));
            }
            first = end;
        }
        if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(&parts, 2) }
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn rows_are_kept_until_nothing_needs_them() {
        let map = Tensor::arange(10, (Kind::Float, Device::Cpu)).view([1, 1, 10, 1]);
        let mut kept = Kept::default();
        for (first, rows) in [(0, 4), (4, 3), (7, 3)] {
            kept.push(&map.narrow(2, first, rows));
        }
        let check = |kept: &Kept, rows: Range<i64>| assert_eq!(kept.rows(&rows), map.narrow(2, rows.start, rows.end - rows.start));
        check(&kept, 0..10);
        check(&kept, 3..8);
        kept.forget_before(6);
        assert_eq!((kept.first, kept.parts.len()), (4, 2));
        check(&kept, 5..9);
        kept.forget_before(7);
        assert_eq!((kept.first, kept.parts.len()), (7, 1));
        check(&kept, 8..10);
    }
}
