//! Bars: how a memory is shared, how far a job is, how busy a device is.

use ratatui::text::{Line, Span};

use crate::theme::Role;
use crate::theme::glyphs::MemoryGlyphs;
use crate::tui::paint::Paint;
use crate::units::Bytes;

/// What holds a memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shares {
    /// Weights for the device's own computing.
    pub weights: Bytes,
    /// Weights held for another device.
    pub donated: Bytes,
    /// Activations and buffers of our engine.
    pub activation: Bytes,
    /// Whatever else.
    pub other: Bytes,
    /// All there is.
    pub total: Bytes,
}

/// Returns a bar of so many columns, split by what holds the memory.
#[must_use]
pub fn memory(paint: &Paint, shares: Shares, columns: u16) -> Line<'static> {
    let glyphs = &paint.glyphs.memory;
    let parts = [
        (shares.weights, glyphs.weights, Role::MemWeights),
        (shares.donated, glyphs.donated, Role::MemDonated),
        (shares.activation, glyphs.activation, Role::MemActivation),
        (shares.other, glyphs.other, Role::MemOther),
    ];
    let counts = cells(&parts.map(|(bytes, ..)| bytes.ratio_of(shares.total)), columns);
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut left = usize::from(columns);
    for ((_, glyph, role), count) in parts.into_iter().zip(counts) {
        left -= count;
        spans.push(Span::styled(glyph.repeat(count), paint.style(role)));
    }
    spans.push(Span::styled(glyphs.free.repeat(left), paint.style(Role::MemFree)));
    Line::from(spans)
}

/// Returns a bar with a warning in its last cell: too little of it is free.
#[must_use]
pub fn warned(paint: &Paint, mut bar: Line<'static>) -> Line<'static> {
    if let Some(last) = bar.spans.iter_mut().rev().find(|span| !span.content.is_empty()) {
        let mut kept = last.content.to_string();
        kept.pop();
        last.content = kept.into();
        bar.spans.push(Span::styled(WARNING, paint.style(Role::Warn)));
    }
    bar
}

/// The last cell of a bar of which too little is free.
const WARNING: &str = "!";

/// Returns a bar of so many columns, filled to a share.
#[must_use]
pub fn share(paint: &Paint, role: Role, share: f64, columns: u16) -> Line<'static> {
    let [count] = cells(&[share], columns);
    let [full, empty] = paint.glyphs.bar;
    Line::from(vec![
        Span::styled(full.repeat(count), paint.style(role)),
        Span::styled(empty.repeat(usize::from(columns) - count), paint.style(Role::MemFree)),
    ])
}

/// Returns whether a piece of text is a part of a bar.
#[must_use]
pub fn is_bar(paint: &Paint, text: &str) -> bool {
    let MemoryGlyphs { weights, donated, activation, other, free } = &paint.glyphs.memory;
    let [full, empty] = &paint.glyphs.bar;
    let parts = [weights, donated, activation, other, free, full, empty];
    let mut symbol = [0; 4];
    !text.is_empty() && text.chars().all(|c| parts.contains(&&&*c.encode_utf8(&mut symbol)))
}

/// Cells for each share, so that borders lie where the sums do, and what is there at all is seen.
fn cells<const N: usize>(shares: &[f64; N], columns: u16) -> [usize; N] {
    let width = f64::from(columns);
    let mut ends = 0.0;
    let mut used = 0;
    shares.map(|share| {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        ends += share * width;
        #[expect(clippy::cast_sign_loss, reason = "a sum of shares is never negative")]
        let end = (ends.round() as usize).min(usize::from(columns));
        let least = usize::from(share * width > 0.2 && used < usize::from(columns));
        let count = end.saturating_sub(used).max(least);
        used += count;
        count
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::theme::Theme;
    use crate::tui::options::{ColorChoice, Surroundings};
    use crate::tui::widgets::line;

    fn plain() -> Paint {
        Paint::new(&Theme::plain(), &Surroundings::default().traits(ColorChoice::Never))
    }

    #[test]
    fn parts_stand_in_their_order() {
        let shares = Shares { weights: Bytes(50), donated: Bytes(10), activation: Bytes(20), other: Bytes(10), total: Bytes(100) };
        assert_eq!(memory(&plain(), shares, 10).to_string(), "WWWWWDAAo.");
        assert_eq!(memory(&plain(), Shares { total: Bytes(100), ..Shares::default() }, 4).to_string(), "....");
        assert_eq!(warned(&plain(), memory(&plain(), shares, 10)).to_string(), "WWWWWDAAo!");
        assert_eq!(warned(&plain(), Line::default()).to_string(), "");
        assert_eq!(share(&plain(), Role::Bar, 0.5, 4).to_string(), "##..");
        assert_eq!(share(&plain(), Role::Bar, f64::NAN, 4).to_string(), "....");
    }

    proptest! {
        #[test]
        fn bars_have_their_width(parts in prop::array::uniform5(0u64..1 << 40), columns in 0u16..60) {
            let [weights, donated, activation, other, total] = parts.map(Bytes);
            let bar = memory(&plain(), Shares { weights, donated, activation, other, total }, columns);
            prop_assert_eq!(line::width(&bar), usize::from(columns));
        }
    }
}
