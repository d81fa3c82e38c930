//! One line of styled pieces, cut or padded to a width.

use ratatui::text::{Line, Span};

use crate::theme::{Glyphs, Role};
use crate::tui::paint::Paint;
use crate::tui::wording;

/// Returns a piece of text in a role. Whatever a terminal would obey is taken out.
#[must_use]
pub fn piece(paint: &Paint, role: Role, text: impl AsRef<str>) -> Span<'static> {
    Span::styled(wording::clean(text.as_ref()), paint.style(role))
}

/// Returns a line of one piece.
#[must_use]
pub fn text(paint: &Paint, role: Role, text: impl AsRef<str>) -> Line<'static> {
    Line::from(piece(paint, role, text))
}

/// Returns the columns that a line takes.
#[must_use]
pub fn width(line: &Line<'_>) -> usize {
    line.spans.iter().map(|s| wording::width(&s.content)).sum()
}

/// Returns the line in exactly so many columns: padded on the right, or cut with a mark.
#[must_use]
pub fn fit(line: Line<'static>, columns: usize, glyphs: &Glyphs) -> Line<'static> {
    let taken = width(&line);
    if taken <= columns {
        let mut line = line;
        line.spans.push(Span::raw(" ".repeat(columns - taken)));
        return line;
    }
    cut(line, columns, glyphs)
}

/// Returns the line in exactly so many columns, padded on the left.
#[must_use]
pub fn fit_right(line: Line<'static>, columns: usize, glyphs: &Glyphs) -> Line<'static> {
    let taken = width(&line);
    if taken > columns {
        return cut(line, columns, glyphs);
    }
    let mut spans = vec![Span::raw(" ".repeat(columns - taken))];
    spans.extend(line.spans);
    Line::from(spans)
}

fn cut(line: Line<'static>, columns: usize, glyphs: &Glyphs) -> Line<'static> {
    let mut left = columns;
    let mut spans: Vec<Span<'static>> = Vec::new();
    for span in line.spans {
        let wide = wording::width(&span.content);
        if wide < left {
            left -= wide;
            spans.push(span);
            continue;
        }
        // Something is cut off here or after here.
        let short = wording::cut(&format!("{}{}", span.content, "  "), left, glyphs);
        left = left.saturating_sub(wording::width(&short));
        spans.push(Span::styled(short, span.style));
        break;
    }
    spans.push(Span::raw(" ".repeat(left)));
    Line::from(spans)
}

/// Returns pieces with so many spaces between them.
#[must_use]
pub fn join(lines: impl IntoIterator<Item = Line<'static>>, gap: usize) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = Vec::new();
    for line in lines {
        if !spans.is_empty() {
            spans.push(Span::raw(" ".repeat(gap)));
        }
        spans.extend(line.spans);
    }
    Line::from(spans)
}

/// Returns one line with a left and a right end; the left end gives way.
#[must_use]
pub fn ends(left: Line<'static>, right: Line<'static>, columns: usize, glyphs: &Glyphs) -> Line<'static> {
    let room = columns.saturating_sub(width(&right) + 1);
    join([fit(left, room, glyphs), right], 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::theme::glyphs::UNICODE;

    fn line(parts: &[&str]) -> Line<'static> {
        Line::from(parts.iter().map(|p| Span::raw((*p).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn cuts_between_and_within_pieces() {
        assert_eq!(fit(line(&["ab", "cdef"]), 8, &UNICODE).to_string(), "abcdef  ");
        assert_eq!(fit(line(&["ab", "cdef"]), 4, &UNICODE).to_string(), "abc…");
        assert_eq!(fit(line(&["ab", "cdef"]), 2, &UNICODE).to_string(), "a…");
        assert_eq!(fit_right(line(&["ab"]), 4, &UNICODE).to_string(), "  ab");
        assert_eq!(ends(line(&["left side"]), line(&["right"]), 12, &UNICODE).to_string(), "left … right");
    }

    proptest! {
        #[test]
        fn a_fitted_line_has_its_width(parts in prop::collection::vec("\\PC{0,12}", 0..5), columns in 0usize..40) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            prop_assert_eq!(width(&fit(line(&parts), columns, &UNICODE)), columns);
            prop_assert_eq!(width(&fit_right(line(&parts), columns, &UNICODE)), columns);
        }
    }
}
