//! A small picture of what a latent will look like, without the autoencoder.

use tch::{Kind, Tensor};

use crate::families::LatentSpace;

/// Red, green and blue bytes, row by row, one pixel per latent cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Three bytes a pixel.
    pub rgb: Vec<u8>,
}

/// Returns the thumbnail of the first of `latents [B, C, h, w]`, through a linear map of channels to colours in −1…1.
///
/// Source of the method: ComfyUI `comfy/latent_formats.py`.
#[must_use]
pub fn thumbnail(latents: &Tensor, space: &LatentSpace) -> Option<Thumbnail> {
    let first = latents.get(0).to_device(tch::Device::Cpu).to_kind(Kind::Float);
    let (channels, height, width) = first.size3().ok()?;
    if u64::try_from(channels) != Ok(space.channels) {
        return None;
    }
    let flat: Vec<f32> = space.rgb.iter().flatten().map(|f| *f as f32).collect();
    let factors = Tensor::from_slice(&flat).view([channels, 3]);
    let rgb = first.permute([1, 2, 0]).matmul(&factors) + Tensor::from_slice(&space.bias.map(|b| b as f32));
    let bytes = ((rgb / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round().to_kind(Kind::Uint8).contiguous();
    let rgb = Vec::<u8>::try_from(bytes.flatten(0, -1)).ok()?;
    Some(Thumbnail { width: u32::try_from(width).ok()?, height: u32::try_from(height).ok()?, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Family;

    #[test]
    fn an_empty_latent_is_grey_and_rows_run_across() {
        let latent = Tensor::zeros([2, 4, 2, 3], (Kind::Float, tch::Device::Cpu));
        drop(latent.get(0).get(0).get(0).get(2).fill_(10.0));
        let small = thumbnail(&latent, Family::Sd15.latent_space()).unwrap();
        assert_eq!((small.width, small.height, small.rgb.len()), (3, 2, 18));
        assert_eq!(small.rgb[..3], [128, 128, 128]);
        assert_eq!(small.rgb[6..9], [255, 255, 255], "the third pixel of the first row");
    }
}
