//! A picture: as half blocks, or as what Kitty and sixel draw.
//!
//! ```text
//!  ▀▀▀▀▀▀   each cell shows two pixels: the upper one as foreground,
//!  ▀▀▀▀▀▀   the lower one as background
//! ```

use ratatui::Frame as Screen;
use ratatui::layout::{Position, Rect, Size};

use crate::theme::Role;
use crate::tui::gallery::{Frame, Picture, Pixels};
use crate::tui::paint::Paint;
use crate::tui::widgets::line;

/// Draws a picture, or says why there is none.
pub fn draw(screen: &mut Screen, area: Rect, paint: &Paint, frame: &Frame<'_>) {
    let words = match frame {
        Frame::Picture(Picture::Pixels(pixels)) => return half_blocks(screen, area, paint, pixels),
        Frame::Picture(Picture::Encoded(protocol)) => {
            let Size { width, height } = protocol.size();
            let place = centre(area, (width, height));
            return screen.render_widget(ratatui_image::Image::new(protocol), place);
        }
        Frame::Coming => crate::tui::wording::PENDING,
        Frame::None(reason) => reason,
    };
    let place = Rect { y: area.y + area.height / 2, height: area.height.min(1), ..area };
    screen.render_widget(line::text(paint, Role::Dim, words).centered(), place);
}

/// Returns the largest number of cells, within an area, that keep the shape of a picture. A cell is twice as high as wide.
#[must_use]
pub fn fitted(pixels: (u32, u32), area: (u16, u16), cell: (u16, u16)) -> (u16, u16) {
    let (across, down) = (f64::from(pixels.0.max(1)), f64::from(pixels.1.max(1)));
    let room = (f64::from(area.0) * f64::from(cell.0), f64::from(area.1) * f64::from(cell.1));
    let scale = (room.0 / across).min(room.1 / down);
    #[expect(clippy::cast_sign_loss, reason = "sizes are not negative")]
    let cells = |pixels: f64, cell: u16, most: u16| ((pixels * scale / f64::from(cell)).round() as u16).clamp(1, most.max(1));
    (cells(across, cell.0, area.0), cells(down, cell.1, area.1))
}

fn centre(area: Rect, (width, height): (u16, u16)) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

fn half_blocks(screen: &mut Screen, area: Rect, paint: &Paint, pixels: &Pixels) {
    if area.width == 0 || area.height == 0 {
        return;
    }
    let (columns, rows) = fitted((pixels.width, pixels.height), (area.width, area.height), (1, 2));
    let place = centre(area, (columns, rows));
    let buffer = screen.buffer_mut();
    for y in 0..place.height {
        for x in 0..place.width {
            let pixel = |half: u16| average(pixels, (x, y * 2 + half), (place.width, place.height * 2));
            let Some(style) = paint.pixels(pixel(0), pixel(1)) else { return };
            if let Some(cell) = buffer.cell_mut(Position { x: place.x + x, y: place.y + y }) {
                cell.set_symbol("▀").set_style(style);
            }
        }
    }
}

/// The mean colour of the part of a picture that one of `grid` cells shows.
fn average(pixels: &Pixels, at: (u16, u16), grid: (u16, u16)) -> [u8; 3] {
    let span = |at: u16, grid: u16, size: u32| {
        let first = u32::from(at) * size / u32::from(grid.max(1));
        let end = (u32::from(at) + 1) * size / u32::from(grid.max(1));
        first..end.max(first + 1).min(size.max(first + 1))
    };
    let mut sums = [0u32; 3];
    let mut count = 0;
    for y in span(at.1, grid.1, pixels.height) {
        for x in span(at.0, grid.0, pixels.width) {
            for (sum, channel) in sums.iter_mut().zip(pixels.at(x, y)) {
                *sum += u32::from(channel);
            }
            count += 1;
        }
    }
    sums.map(|sum| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_shape() {
        assert_eq!(fitted((512, 512), (24, 12), (1, 2)), (24, 12));
        assert_eq!(fitted((512, 768), (24, 12), (1, 2)), (16, 12));
        assert_eq!(fitted((1024, 256), (24, 12), (1, 2)), (24, 3));
        assert_eq!(fitted((0, 0), (0, 0), (1, 2)), (1, 1));
    }

    #[test]
    fn each_half_is_the_mean_of_its_part() {
        let pixels = Pixels { width: 2, height: 2, rgb: vec![0, 0, 0, 100, 100, 100, 200, 200, 200, 40, 40, 40] };
        assert_eq!(average(&pixels, (0, 0), (1, 1)), [85; 3]);
        assert_eq!(average(&pixels, (1, 0), (2, 2)), [100; 3]);
        assert_eq!(average(&pixels, (5, 3), (8, 4)), [40; 3], "a picture smaller than its place repeats pixels");
    }
}
