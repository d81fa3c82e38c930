//! Makes a picture ready to be drawn: reads, shrinks and encodes it. Slow; runs on a thread of its own.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits, RgbImage};
use ratatui::layout::Size;
use ratatui_image::protocol::Protocol;
use ratatui_image::protocol::kitty::Kitty;
use ratatui_image::protocol::sixel::Sixel;

use super::gallery::{Graphics, Picture, PictureOrder, Pixels, Source, Wanted};
use super::options::Multiplexer;
use super::widgets::picture;

/// Sides of the picture that half blocks are made from: twice what the largest place shows.
const THUMBNAIL: u32 = 160;
/// Largest picture that is read, in pixels to a side.
const LARGEST: u32 = 16_384;
/// The number under which the terminal keeps the picture of a running job; the next one takes its place.
const KITTY_ID: u32 = 0x7065_7269;

/// Makes a picture ready.
pub fn prepare(order: &PictureOrder) -> Result<Picture, String> {
    let image = match (&order.pixels, &order.wanted.source) {
        (Some(pixels), _) => from_pixels(pixels)?,
        (None, Source::File(path)) => read(path)?,
        (None, Source::Running { .. }) => return Err("the preview is gone".to_owned()),
    };
    let size = (image.width(), image.height());
    let cells = picture::fitted(size, order.wanted.cells, order.cell);
    let area = Size { width: cells.0, height: cells.1 };
    let fitted = || {
        let (width, height) = (u32::from(cells.0) * u32::from(order.cell.0), u32::from(cells.1) * u32::from(order.cell.1));
        image.resize_exact(width.max(1), height.max(1), FilterType::Triangle)
    };
    let in_tmux = order.multiplexer == Multiplexer::Tmux;
    match order.graphics {
        Graphics::Off => Err("pictures are off".to_owned()),
        Graphics::HalfBlocks => Ok(Picture::Pixels(Arc::new(thumbnail(&image, order.wanted.cells)))),
        Graphics::Kitty { deflate } => {
            let kitty = Kitty::new(fitted(), area, kitty_id(&order.wanted), in_tmux, deflate).map_err(|e| e.to_string())?;
            Ok(Picture::Encoded(Box::new(Protocol::Kitty(kitty))))
        }
        Graphics::Sixel => {
            let sixel = Sixel::new(fitted(), area, in_tmux).map_err(|e| e.to_string())?;
            Ok(Picture::Encoded(Box::new(Protocol::Sixel(sixel))))
        }
    }
}

fn from_pixels(pixels: &Pixels) -> Result<DynamicImage, String> {
    let image = RgbImage::from_raw(pixels.width, pixels.height, pixels.rgb.clone());
    image.map(DynamicImage::ImageRgb8).ok_or_else(|| "the preview has the wrong size".to_owned())
}

fn read(path: &Path) -> Result<DynamicImage, String> {
    let mut reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(|e| format!("cannot open: {e}"))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST);
    limits.max_image_height = Some(LARGEST);
    reader.limits(limits);
    reader.decode().map_err(|e| format!("cannot read: {e}"))
}

/// The number under which the terminal keeps a picture: each file has one of its own, for each size.
fn kitty_id(wanted: &Wanted) -> u32 {
    match &wanted.source {
        Source::Running { .. } => KITTY_ID,
        Source::File(path) => {
            let mut hasher = DefaultHasher::new();
            (path, wanted.cells).hash(&mut hasher);
            // Zero is no number.
            ((hasher.finish() >> 32) as u32).max(1)
        }
    }
}

fn thumbnail(image: &DynamicImage, cells: (u16, u16)) -> Pixels {
    // A cell shows two pixels above each other; twice as many leave something to average.
    let side = (2 * u32::from(cells.0.max(cells.1.saturating_mul(2)))).clamp(1, THUMBNAIL);
    let small = image.thumbnail(side, side).to_rgb8();
    Pixels { width: small.width(), height: small.height(), rgb: small.into_raw() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::JobId;

    fn order(graphics: Graphics, source: Source, pixels: Option<Pixels>) -> PictureOrder {
        PictureOrder {
            wanted: Wanted { source, cells: (8, 4) },
            pixels: pixels.map(Arc::new),
            graphics,
            cell: (10, 20),
            multiplexer: Multiplexer::None,
        }
    }

    fn running(graphics: Graphics) -> PictureOrder {
        let pixels = Pixels { width: 2, height: 2, rgb: vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9] };
        order(graphics, Source::Running { job: JobId(1), step: 3 }, Some(pixels))
    }

    #[test]
    fn previews_are_encoded_for_kitty_and_sixel() {
        for graphics in [Graphics::Kitty { deflate: true }, Graphics::Kitty { deflate: false }, Graphics::Sixel] {
            let Ok(Picture::Encoded(protocol)) = prepare(&running(graphics)) else { panic!("{graphics:?}") };
            assert_eq!(protocol.size(), Size { width: 8, height: 4 });
        }
        assert!(matches!(prepare(&running(Graphics::HalfBlocks)), Ok(Picture::Pixels(p)) if p.at(0, 0) == [255, 0, 0]));
        assert!(prepare(&running(Graphics::Off)).is_err());
    }

    #[test]
    fn files_are_read_and_shrunk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        RgbImage::from_pixel(640, 320, image::Rgb([10, 20, 30])).save(&path).unwrap();
        let Ok(Picture::Pixels(pixels)) = prepare(&order(Graphics::HalfBlocks, Source::File(path), None)) else { panic!() };
        assert_eq!((pixels.width, pixels.height, pixels.at(5, 5)), (16, 8, [10, 20, 30]));
    }

    #[test]
    fn what_is_no_picture_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, b"not a picture").unwrap();
        for path in [path, folder.path().join("none.png")] {
            let error = prepare(&order(Graphics::HalfBlocks, Source::File(path), None)).unwrap_err();
            assert!(error.starts_with("cannot "), "{error}");
        }
    }
}
