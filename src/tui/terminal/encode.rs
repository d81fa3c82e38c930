//! Cells as the bytes that draw them: as few as there can be, for slow lines.
//!
//! Whoever draws from left to right changes colours at every other word of a table. Where it is shorter, cells of one style are
//! drawn together, wherever they lie: a frame is shown only when it is whole. Source: ECMA-48, 8.3 (CHA, CUF, CUP, SGR).

use ratatui::buffer::Cell;
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr;

/// A cell and where it lies: column and row from 0.
pub type Placed<'a> = (u16, u16, &'a Cell);

/// Returns the bytes that draw these cells on a terminal that has no style on, and leave it so.
#[must_use]
pub fn encode(mut cells: Vec<Placed<'_>>) -> String {
    let as_they_lie = in_turn(&cells);
    // What is wide lies over its neighbour, so that the order counts.
    if cells.iter().any(|(.., cell)| cell.symbol().width() != 1) {
        return as_they_lie;
    }
    cells.sort_by_cached_key(|(x, y, cell)| (Look::of(cell).after(&Look::default()), *y, *x));
    let together = in_turn(&cells);
    if together.len() < as_they_lie.len() { together } else { as_they_lie }
}

fn in_turn(cells: &[Placed<'_>]) -> String {
    let mut out = String::new();
    let mut look = Look::default();
    let mut last: Option<Placed<'_>> = None;
    for &(x, y, cell) in cells {
        out += &step(last, x, y);
        let next = Look::of(cell);
        out += &next.after(&look);
        look = next;
        out += cell.symbol();
        last = Some((x, y, cell));
    }
    out + &Look::default().after(&look)
}

/// Returns what brings the cursor here from behind the cell that was drawn last.
fn step(last: Option<Placed<'_>>, x: u16, y: u16) -> String {
    match last {
        Some((before, row, _)) if (before + 1, row) == (x, y) => String::new(),
        // Where a symbol that is not plain has left the cursor, terminals disagree about.
        Some((before, row, cell)) if row == y && before < x && cell.symbol().is_ascii() => match x - before - 1 {
            1 => "\x1b[C".to_owned(),
            gap => shorter(format!("\x1b[{gap}C"), format!("\x1b[{}G", x + 1)),
        },
        Some((_, row, _)) if row == y => format!("\x1b[{}G", x + 1),
        _ if x == 0 => format!("\x1b[{}H", y + 1),
        _ => format!("\x1b[{};{}H", y + 1, x + 1),
    }
}

fn shorter(one: String, other: String) -> String {
    if other.len() < one.len() { other } else { one }
}

/// How a cell looks, beside what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Look {
    fg: Color,
    bg: Color,
    modifier: Modifier,
}

/// Numbers of SGR that turn modifiers on.
const MODIFIERS: [(Modifier, &str); 9] = [
    (Modifier::BOLD, "1"),
    (Modifier::DIM, "2"),
    (Modifier::ITALIC, "3"),
    (Modifier::UNDERLINED, "4"),
    (Modifier::SLOW_BLINK, "5"),
    (Modifier::RAPID_BLINK, "6"),
    (Modifier::REVERSED, "7"),
    (Modifier::HIDDEN, "8"),
    (Modifier::CROSSED_OUT, "9"),
];

impl Look {
    fn of(cell: &Cell) -> Self {
        Self { fg: cell.fg, bg: cell.bg, modifier: cell.modifier }
    }

    /// Returns what turns a terminal that draws in that look to this one. Nothing where both are the same.
    fn after(&self, that: &Self) -> String {
        if self == that {
            return String::new();
        }
        let anew = self.changes(&Self::default(), &[""]);
        // A number that turns bold off turns dim off, too: whoever takes something away starts anew.
        if !that.modifier.difference(self.modifier).is_empty() {
            return anew;
        }
        shorter(anew, self.changes(that, &[]))
    }

    fn changes(&self, that: &Self, first: &[&str]) -> String {
        let mut numbers: Vec<String> = first.iter().map(|number| (*number).to_owned()).collect();
        let new = self.modifier.difference(that.modifier);
        numbers.extend(MODIFIERS.iter().filter(|(modifier, _)| new.contains(*modifier)).map(|(_, number)| (*number).to_owned()));
        for (colour, old, plain) in [(self.fg, that.fg, 30), (self.bg, that.bg, 40)] {
            if colour != old {
                numbers.push(number_of(colour, plain));
            }
        }
        format!("\x1b[{}m", numbers.join(";"))
    }
}

/// Returns the numbers of a colour, of letters with 30 and of what is behind them with 40. The darker eight stay numbers of the
/// palette: terminals that draw bold in brighter colours do it with the short ones.
fn number_of(colour: Color, plain: u8) -> String {
    let palette = |index: u8| format!("{};5;{index}", plain + 8);
    let bright = |index: u8| (plain + 60 + index).to_string();
    match colour {
        Color::Reset => (plain + 9).to_string(),
        Color::Black => palette(0),
        Color::Red => palette(1),
        Color::Green => palette(2),
        Color::Yellow => palette(3),
        Color::Blue => palette(4),
        Color::Magenta => palette(5),
        Color::Cyan => palette(6),
        Color::Gray => palette(7),
        Color::DarkGray => bright(0),
        Color::LightRed => bright(1),
        Color::LightGreen => bright(2),
        Color::LightYellow => bright(3),
        Color::LightBlue => bright(4),
        Color::LightMagenta => bright(5),
        Color::LightCyan => bright(6),
        Color::White => bright(7),
        Color::Indexed(index) => palette(index),
        Color::Rgb(r, g, b) => format!("{};2;{r};{g};{b}", plain + 8),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::backend::{Backend, CrosstermBackend};

    use super::*;

    const SIZE: (u16, u16) = (20, 6);

    fn cells() -> impl Strategy<Value = Vec<(u16, u16, Cell)>> {
        let colour = prop_oneof![
            Just(Color::Reset),
            Just(Color::Red),
            Just(Color::LightCyan),
            Just(Color::White),
            any::<u8>().prop_map(Color::Indexed),
            any::<[u8; 3]>().prop_map(|[r, g, b]| Color::Rgb(r, g, b)),
        ];
        let symbol = prop_oneof!["[a-z0-9 ]", Just("█".to_owned()), Just("é".to_owned())];
        // Both bold and dim is what terminals disagree about.
        let modifier = prop_oneof![
            Just(Modifier::empty()),
            Just(Modifier::BOLD),
            Just(Modifier::DIM),
            Just(Modifier::REVERSED),
            Just(Modifier::BOLD | Modifier::REVERSED),
            Just(Modifier::ITALIC | Modifier::UNDERLINED | Modifier::DIM),
        ];
        let cell = (symbol, colour.clone(), colour, modifier).prop_map(|(symbol, fg, bg, modifier)| {
            let mut cell = Cell::default();
            cell.set_symbol(&symbol);
            (cell.fg, cell.bg, cell.modifier) = (fg, bg, modifier);
            cell
        });
        let placed = proptest::collection::btree_map((0..SIZE.1, 0..SIZE.0), cell, 0..60);
        placed.prop_map(|cells| cells.into_iter().map(|((y, x), cell)| (x, y, cell)).collect())
    }

    fn placed(cells: &[(u16, u16, Cell)]) -> Vec<Placed<'_>> {
        cells.iter().map(|(x, y, cell)| (*x, *y, cell)).collect()
    }

    /// What a terminal shows after these bytes, which must leave it without a style.
    fn shown(bytes: &[u8]) -> Vec<Option<vt100::Cell>> {
        let mut terminal = vt100::Parser::new(SIZE.1, SIZE.0, 0);
        terminal.process(bytes);
        let screen = terminal.screen();
        assert!(
            !screen.bold() && !screen.inverse() && screen.fgcolor() == vt100::Color::Default && screen.bgcolor() == vt100::Color::Default
        );
        (0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| (y, x))).map(|(y, x)| screen.cell(y, x).cloned()).collect()
    }

    proptest! {
        #[test]
        fn a_terminal_shows_what_ratatui_s_own_bytes_would_show(cells in cells()) {
            let mut theirs = Vec::new();
            crossterm::style::force_color_output(true);
            CrosstermBackend::new(&mut theirs).draw(placed(&cells).into_iter()).unwrap();
            let ours = encode(placed(&cells));
            prop_assert!(shown(ours.as_bytes()) == shown(&theirs), "{ours:?} is not {:?}", String::from_utf8_lossy(&theirs));
            prop_assert!(ours.len() <= theirs.len());
        }
    }

    #[test]
    fn one_style_is_turned_on_once() {
        let cell = |symbol: &str, fg| {
            let mut cell = Cell::default();
            cell.set_symbol(symbol);
            cell.fg = fg;
            cell
        };
        let (red, plain) = (cell("r", Color::LightRed), cell("p", Color::Reset));
        let mixed = vec![(0, 0, &red), (1, 0, &plain), (2, 0, &red), (4, 0, &plain), (9, 3, &red)];
        assert_eq!(encode(mixed), "\x1b[1;2Hp\x1b[2Cp\x1b[1G\x1b[91mr\x1b[Cr\x1b[4;10Hr\x1b[m");
        let wide = cell("月", Color::LightRed);
        assert_eq!(encode(vec![(0, 0, &wide), (2, 0, &plain)]), "\x1b[1H\x1b[91m月\x1b[3G\x1b[mp");
        assert_eq!(encode(Vec::new()), "");
    }
}
