//! Pictures: tensors to files, and files to tensors.

use std::path::Path;

use image::DynamicImage;
use image::imageops::FilterType;
use tch::{Device, Kind, Tensor};

use crate::engine::EngineError;
use crate::imagery::png_text::{TextChunk, TextKind};
use crate::library::picture;
use crate::units::Size;

/// A picture as bytes: red, green, blue, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Three bytes a pixel.
    pub bytes: Vec<u8>,
}

impl Rgb {
    /// Returns the bytes of `picture [3, H, W]`, −1…1, rounded as diffusers rounds.
    #[must_use]
    pub fn from_tensor(picture: &Tensor) -> Option<Self> {
        let (_, height, width) = picture.size3().ok()?;
        let unit = (picture.to_kind(Kind::Float) / 2.0 + 0.5).clamp(0.0, 1.0);
        let bytes = (unit * 255.0).round().to_kind(Kind::Uint8).permute([1, 2, 0]).contiguous().to_device(Device::Cpu);
        let bytes = Vec::<u8>::try_from(bytes.flatten(0, -1)).ok()?;
        Some(Self { width: u32::try_from(width).ok()?, height: u32::try_from(height).ok()?, bytes })
    }

    /// Returns a PNG file that carries these texts.
    pub fn to_png(&self, texts: &[TextChunk]) -> Result<Vec<u8>, png::EncodingError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        for TextChunk { keyword, text, kind } in texts {
            match kind {
                TextKind::Latin1 => encoder.add_text_chunk((*keyword).to_owned(), text.clone())?,
                TextKind::International => encoder.add_itxt_chunk((*keyword).to_owned(), text.clone())?,
            }
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.bytes)?;
        writer.finish()?;
        Ok(file)
    }
}

/// Returns the picture at `path`, upright, cut and scaled to `size`, as `[1, 3, H, W]` in −1…1 on the processor.
pub fn read(path: &Path, size: Size) -> Result<Tensor, EngineError> {
    let picture = picture::read_upright(path)?;
    let fitted = fit(&picture, size).into_rgb8();
    let shape = [i64::from(size.height()), i64::from(size.width()), 3];
    let pixels = Tensor::from_slice(fitted.as_raw()).view(shape).permute([2, 0, 1]).to_kind(Kind::Float);
    Ok((pixels / 127.5 - 1.0).unsqueeze(0))
}

/// Scales the picture so that it covers `size`, and cuts what stands out on both sides.
fn fit(picture: &DynamicImage, size: Size) -> DynamicImage {
    if (picture.width(), picture.height()) == (size.width(), size.height()) {
        return picture.clone();
    }
    picture.resize_to_fill(size.width(), size.height(), FilterType::Lanczos3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let bytes: Vec<u8> = (0..8 * 16 * 3u32).map(|i| (i * 7 % 256) as u8).collect();
        let picture = Rgb { width: 16, height: 8, bytes };
        let chunk = |keyword, text: &str, kind| TextChunk { keyword, text: text.to_owned(), kind };
        let texts = [chunk("parameters", "a moon", TextKind::Latin1), chunk("perilune", "月", TextKind::International)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, picture.to_png(&texts).unwrap()).unwrap();
        let tensor = read(&path, Size::new(16, 8).unwrap()).unwrap();
        assert_eq!(tensor.size(), [1, 3, 8, 16]);
        assert_eq!(Rgb::from_tensor(&tensor.get(0)).unwrap(), picture);
    }

    #[test]
    fn pictures_of_another_shape_are_cut_not_stretched() {
        // Left half black, right half white, twice as wide as asked for: the middle stays.
        let wide = image::RgbImage::from_fn(32, 8, |x, _| image::Rgb([if x < 16 { 0 } else { 255 }; 3]));
        let fitted = fit(&DynamicImage::ImageRgb8(wide), Size::new(16, 8).unwrap()).into_rgb8();
        assert_eq!((fitted.width(), fitted.height()), (16, 8));
        assert_eq!((fitted.get_pixel(0, 4).0[0], fitted.get_pixel(15, 4).0[0]), (0, 255));
    }

    #[test]
    fn a_file_that_is_no_picture_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no.png");
        std::fs::write(&path, b"not a picture").unwrap();
        let error = read(&path, Size::new(8, 8).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }
}
