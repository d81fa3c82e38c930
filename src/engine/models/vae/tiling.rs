//! The autoencoder in tiles, for pictures that would not fit.
//!
//! Tiles overlap and are blended with weights that rise from their edges. The result differs from
//! the whole a little, since group norms see a tile only.

use tch::{Kind, Tensor};

use crate::engine::EngineError;

/// The layout of tiles over latent cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Cells along a tile's side.
    pub side: i64,
    /// Cells that neighbours share; less than half of a side.
    pub overlap: i64,
}

impl Tiles {
    /// 512-pixel tiles that share 128 pixels, as ComfyUI cuts them.
    pub const USUAL: Self = Self { side: 64, overlap: 16 };

    /// Returns the first cell of each tile along an axis of `length` cells.
    #[must_use]
    pub fn starts(self, length: i64) -> Vec<i64> {
        if length <= self.side {
            return vec![0];
        }
        let stride = self.side - self.overlap;
        let count = (length - self.overlap + stride - 1) / stride;
        // The last tile is moved back so that it is whole.
        (0..count).map(|n| (n * stride).min(length - self.side)).collect()
    }
}

/// Runs `work` on each tile of `input [B, C, h, w]` and blends its results.
///
/// `work` maps a tile to one `scale.0 / scale.1` times the size on each axis; `side` and `overlap` count input cells.
pub fn in_tiles(
    input: &Tensor,
    tiles: Tiles,
    scale: (i64, i64),
    mut work: impl FnMut(&Tensor) -> Result<Tensor, EngineError>,
) -> Result<Tensor, EngineError> {
    let size = input.size();
    let (height, width) = (size[2], size[3]);
    let scaled = |n: i64| n * scale.0 / scale.1;
    let mut sum: Option<(Tensor, Tensor)> = None;
    for y in tiles.starts(height) {
        for x in tiles.starts(width) {
            let (h, w) = (tiles.side.min(height), tiles.side.min(width));
            let part = work(&input.narrow(2, y, h).narrow(3, x, w))?.to_kind(Kind::Float);
            let options = (Kind::Float, part.device());
            let (total, weights) = sum.get_or_insert_with(|| {
                let channels = part.size()[1];
                let shape = [size[0], channels, scaled(height), scaled(width)];
                (Tensor::zeros(shape, options), Tensor::zeros([1, 1, shape[2], shape[3]], options))
            });
            let ramp = |length: i64, whole: bool| feather(length, if whole { 0 } else { scaled(tiles.overlap) }).to_device(part.device());
            let mask = ramp(scaled(h), h == height).unsqueeze(1) * ramp(scaled(w), w == width).unsqueeze(0);
            let place = |t: &Tensor| t.narrow(2, scaled(y), scaled(h)).narrow(3, scaled(x), scaled(w));
            // The views share memory with the sums; what the additions return is the views again.
            drop(place(total).g_add_(&(part * &mask)));
            drop(place(weights).g_add_(&mask.unsqueeze(0).unsqueeze(0)));
        }
    }
    // An input always has a tile.
    Ok(sum.map_or_else(|| input.shallow_clone(), |(total, weights)| total / weights))
}

/// Weights along a tile of `length`: 1 inside, rising over `edge` from each end, never 0.
fn feather(length: i64, edge: i64) -> Tensor {
    if edge == 0 {
        return Tensor::ones([length], (Kind::Float, tch::Device::Cpu));
    }
    let from_end = |i: i64| (i.min(length - 1 - i) + 1) as f32 / edge as f32;
    let weights: Vec<f32> = (0..length).map(|i| from_end(i).min(1.0)).collect();
    Tensor::from_slice(&weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_an_axis() {
        assert_eq!(Tiles::USUAL.starts(64), [0]);
        assert_eq!(Tiles::USUAL.starts(65), [0, 1]);
        assert_eq!(Tiles::USUAL.starts(128), [0, 48, 64]);
        for length in 1..400 {
            let starts = Tiles::USUAL.starts(length);
            let side = 64.min(length);
            assert_eq!(starts[0], 0);
            assert_eq!(starts[starts.len() - 1] + side, length);
            assert!(starts.windows(2).all(|w| w[1] > w[0] && w[1] - w[0] <= 48), "{length}: {starts:?}");
        }
    }

    #[test]
    fn blending_changes_nothing_where_tiles_agree() {
        let input = Tensor::rand([2, 3, 100, 70], (Kind::Float, tch::Device::Cpu));
        let whole = in_tiles(&input, Tiles::USUAL, (1, 1), |t| Ok(t.shallow_clone())).unwrap();
        assert!((whole - &input).abs().max().double_value(&[]) < 1e-6);
        let twice = in_tiles(&input, Tiles { side: 16, overlap: 4 }, (2, 1), |t| {
            Ok(t.upsample_nearest2d([t.size()[2] * 2, t.size()[3] * 2], None, None))
        });
        let expected = input.upsample_nearest2d([200, 140], None, None);
        assert!((twice.unwrap() - expected).abs().max().double_value(&[]) < 1e-6);
    }
}
