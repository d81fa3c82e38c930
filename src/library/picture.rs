//! Pictures to start from, upright: cameras and phones store them as the sensor lies, and say beside them how they are held.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, ImageResult, Limits};

use super::{LibraryError, regular};

/// Returns how wide and high a picture is when it is held upright, from its header alone.
pub fn upright_size(path: &Path) -> Result<(u32, u32), LibraryError> {
    let reader = reader(path)?;
    let measured = reader.into_decoder().and_then(|mut decoder| Ok((decoder.dimensions(), decoder.orientation()?)));
    let ((width, height), orientation) = measured.map_err(|e| LibraryError::picture(path, &e))?;
    Ok(if is_on_its_side(orientation) { (height, width) } else { (width, height) })
}

/// Returns a picture, upright.
pub fn read_upright(path: &Path) -> Result<DynamicImage, LibraryError> {
    decode(reader(path)?).map_err(|e| LibraryError::picture(path, &e))
}

fn reader(path: &Path) -> Result<ImageReader<BufReader<File>>, LibraryError> {
    let reader = ImageReader::new(BufReader::new(regular::open(path)?));
    reader.with_guessed_format().map_err(|e| LibraryError::io(path, "reading it", e))
}

fn decode(reader: ImageReader<BufReader<File>>) -> ImageResult<DynamicImage> {
    let mut decoder = reader.into_decoder()?;
    // A header of a few bytes can announce a picture that no memory holds.
    let mut limits = Limits::default();
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// Returns whether width and height change places.
fn is_on_its_side(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms | Orientation::Rotate180 | Orientation::FlipHorizontal | Orientation::FlipVertical => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    use super::*;

    /// A photograph, 32 across and 16 down as it is stored: its left half is white, its right half black.
    fn photograph(folder: &Path, orientation: Option<u8>) -> PathBuf {
        let pixels: Vec<u8> = (0..32 * 16).flat_map(|i| [if i % 32 < 16 { 255 } else { 0 }; 3]).collect();
        let mut file = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
        if let Some(orientation) = orientation {
            // One entry: tag 0x0112, a short, one of them.
            let exif = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation], b"\0\0\0\0\0\0"].concat();
            encoder.set_exif_metadata(exif).unwrap();
        }
        encoder.write_image(&pixels, 32, 16, ExtendedColorType::Rgb8).unwrap();
        let path = folder.join("photograph.jpg");
        std::fs::write(&path, file).unwrap();
        path
    }

    #[test]
    fn photographs_stand_upright() {
        let folder = tempfile::tempdir().unwrap();
        // Where the white half is: an x and a y, and the size.
        let check = |orientation: Option<u8>, size: (u32, u32), white: (u32, u32), black: (u32, u32)| {
            let path = photograph(folder.path(), orientation);
            let picture = read_upright(&path).unwrap().into_rgb8();
            assert_eq!((upright_size(&path).unwrap(), picture.dimensions()), (size, size), "{orientation:?}");
            assert!(picture.get_pixel(white.0, white.1).0[0] > 200 && picture.get_pixel(black.0, black.1).0[0] < 50, "{orientation:?}");
        };
        check(None, (32, 16), (4, 8), (28, 8));
        check(Some(1), (32, 16), (4, 8), (28, 8));
        check(Some(3), (32, 16), (28, 8), (4, 8));
        check(Some(6), (16, 32), (8, 4), (8, 28));
        check(Some(8), (16, 32), (8, 28), (8, 4));
        check(Some(99), (32, 16), (4, 8), (28, 8));
    }

    #[test]
    fn a_header_that_announces_too_much_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.png");
        let mut file = Vec::new();
        let pixel = [0u8; 3];
        image::codecs::png::PngEncoder::new(&mut file).write_image(&pixel, 1, 1, ExtendedColorType::Rgb8).unwrap();
        // The header says 65536 by 65536; its checksum is not looked at before its size is.
        file[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        std::fs::write(&path, file).unwrap();
        let error = read_upright(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: no picture that can be read: ", path.display())), "{error}");
    }
}
