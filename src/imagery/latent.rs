//! The latent that a picture was decoded from, kept in the picture's own file.
//!
//! A PNG file may hold chunks that other programs pass over: ancillary, private, and to be dropped by whoever changes the picture
//! (PNG specification, third edition, 5.4). Ours holds a safetensors file of one tensor, named as in the files of ComfyUI's
//! `LoadLatent`.

use std::fmt::Display;

use img_parts::Bytes;
use img_parts::png::{Png, PngChunk};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::ImageryError;

/// The chunk's type.
pub const CHUNK: [u8; 4] = *b"ltNT";

/// What the tensor is called.
const TENSOR: &str = "latent_tensor";

/// A latent: numbers, and how many there are each way.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptLatent {
    /// `[C, h, w]`.
    pub shape: Vec<usize>,
    /// Row by row.
    pub values: Vec<f32>,
}

/// Returns the PNG file `png` with a latent before its end.
pub fn keep(png: Vec<u8>, latent: &KeptLatent) -> Result<Vec<u8>, ImageryError> {
    let bytes: Vec<u8> = latent.values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensor = TensorView::new(Dtype::F32, latent.shape.clone(), &bytes).map_err(|e| unkept(&e))?;
    let stored = safetensors::serialize([(TENSOR, tensor)], None).map_err(|e| unkept(&e))?;
    let mut file = Png::from_bytes(Bytes::from(png)).map_err(|e| unkept(&e))?;
    let end = file.chunks().len().saturating_sub(1);
    file.chunks_mut().insert(end, PngChunk::new(CHUNK, Bytes::from(stored)));
    Ok(file.encoder().bytes().to_vec())
}

/// Returns the latent that a PNG file keeps, if it keeps one.
pub fn kept(png: &[u8]) -> Result<Option<KeptLatent>, ImageryError> {
    let file = Png::from_bytes(Bytes::copy_from_slice(png)).map_err(|e| unread(&e))?;
    let Some(chunk) = file.chunk_by_type(CHUNK) else { return Ok(None) };
    let stored = SafeTensors::deserialize(chunk.contents()).map_err(|e| unread(&e))?;
    let tensor = stored.tensor(TENSOR).map_err(|e| unread(&e))?;
    if tensor.dtype() != Dtype::F32 {
        return Err(unread(&format_args!("{TENSOR} is {:?} and not F32", tensor.dtype())));
    }
    let (numbers, _) = tensor.data().as_chunks();
    let values = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Some(KeptLatent { shape: tensor.shape().to_vec(), values }))
}

fn unkept(reason: &dyn Display) -> ImageryError {
    ImageryError::Unkept { reason: reason.to_string() }
}

fn unread(reason: &dyn Display) -> ImageryError {
    ImageryError::BadLatent { reason: reason.to_string() }
}

/// Adds up squares.
fn squared(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum()
}

/// Squares of latents and of their differences, added up; of several pictures, too.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LatentDifference {
    squared: f64,
    of_source: f64,
}

impl LatentDifference {
    /// Returns the difference of `other` from `source`, where both are of one shape.
    #[must_use]
    pub fn between(source: &KeptLatent, other: &KeptLatent) -> Option<Self> {
        let apart = source.values.iter().zip(&other.values).map(|(a, b)| f64::from(*a) - f64::from(*b));
        let of_source = source.values.iter().map(|v| f64::from(*v));
        (source.shape == other.shape).then(|| Self { squared: squared(apart), of_source: squared(of_source) })
    }

    /// Returns the norm of the difference as a share of the source's norm: relative L2.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.squared == 0.0 { 0.0 } else { (self.squared / self.of_source).sqrt() }
    }
}

impl std::iter::Sum for LatentDifference {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, d| Self { squared: sum.squared + d.squared, of_source: sum.of_source + d.of_source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 2, 1);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
        writer.finish().unwrap();
        file
    }

    fn latent(values: &[f32]) -> KeptLatent {
        KeptLatent { shape: vec![1, 2, values.len() / 2], values: values.to_vec() }
    }

    #[test]
    fn what_is_kept_comes_back_and_the_picture_is_the_same() {
        let file = keep(picture(), &latent(&[0.5, -1.0e-30, f32::MAX, 3.0])).unwrap();
        assert_eq!(kept(&file).unwrap(), Some(latent(&[0.5, -1.0e-30, f32::MAX, 3.0])));
        let pixels = |file: &[u8]| image::load_from_memory(file).unwrap().into_rgb8().into_raw();
        assert_eq!(pixels(&file), pixels(&picture()));
        assert_eq!(kept(&picture()).unwrap(), None);
    }

    #[test]
    fn what_is_damaged_is_named() {
        assert!(kept(b"GIF89a").is_err());
        let mut file = Png::from_bytes(Bytes::from(picture())).unwrap();
        file.chunks_mut().insert(1, PngChunk::new(CHUNK, Bytes::from_static(b"no safetensors")));
        let message = kept(&file.encoder().bytes()).unwrap_err().to_string();
        assert!(message.starts_with("the picture's latent is not readable: "), "{message}");
    }

    #[test]
    fn differences_are_relative_to_the_source() {
        let apart = |other: &[f32]| LatentDifference::between(&latent(&[3.0, 4.0]), &latent(other));
        assert_eq!(apart(&[3.0, 4.0]).map(|d| d.relative()), Some(0.0));
        assert_eq!(apart(&[3.0, 5.0]).map(|d| d.relative()), Some(0.2));
        assert_eq!(apart(&[3.0, 4.0, 5.0, 6.0]), None, "another shape");
        let sum: LatentDifference = [apart(&[3.0, 4.0]), apart(&[6.0, 8.0])].into_iter().flatten().sum();
        assert!((sum.relative() - 0.5_f64.sqrt()).abs() < 1e-12);
    }
}
