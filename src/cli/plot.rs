//! A curve as text, drawn by ratatui into memory.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use super::output::significant;

/// How large plots are.
const AREA: Rect = Rect { x: 0, y: 0, width: 76, height: 16 };

/// Two curves over the same axis, which begins at 0.
#[derive(Debug)]
pub struct Plot<'a> {
    /// What goes across, and its end in words.
    pub across: (&'a str, String),
    /// What goes up.
    pub up: &'a str,
    /// The curve below: its points are dots.
    pub lower: &'a [(f64, f64)],
    /// The curve above: its points are joined.
    pub upper: &'a [(f64, f64)],
}

/// Returns the plot, line by line.
#[must_use]
pub fn lines(plot: &Plot<'_>) -> String {
    let most = |value: fn(&(f64, f64)) -> f64| plot.upper.iter().map(value).fold(0.0, f64::max);
    // A curve without height or width is drawn at the edge of a plot that has some.
    let (right, top) = (most(|p| p.0).max(f64::MIN_POSITIVE), (most(|p| p.1) * 1.1).max(1e-9));
    let curve = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).data(plot.upper);
    let bound = Dataset::default().marker(Marker::Dot).graph_type(GraphType::Scatter).data(plot.lower);
    let (across, end) = &plot.across;
    let chart = Chart::new(vec![bound, curve])
        .x_axis(Axis::default().title(*across).bounds([0.0, right]).labels(["0".to_owned(), end.clone()]))
        .y_axis(Axis::default().title(plot.up).bounds([0.0, top]).labels(["0".to_owned(), significant(top / 2.0), significant(top)]))
        .legend_position(None);
    let mut buffer = Buffer::empty(AREA);
    chart.render(AREA, &mut buffer);
    let row = |y: u16| (0..AREA.width).filter_map(|x| buffer.cell((x, y)).map(ratatui::buffer::Cell::symbol)).collect::<String>();
    (0..AREA.height).map(|y| row(y).trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_to_the_right() {
        let upper: Vec<(f64, f64)> = (0..=4).map(|n| (f64::from(n), f64::from(1 + n * n))).collect();
        let lower: Vec<(f64, f64)> = (0..=4).map(|n| (f64::from(n), 1.0)).collect();
        let text = lines(&Plot { across: ("leaves", "4 GiB".to_owned()), up: "seconds", lower: &lower, upper: &upper });
        insta::assert_snapshot!(text, @r"
        18.7│seconds
            │                                                                    ⢀⡠⠔
            │                                                                 ⢀⠤⠒⠁
            │                                                              ⣀⠔⠊⠁
            │                                                          ⢀⡠⠔⠉
            │                                                       ⢀⠤⠒⠁
            │                                                   ⢀⡠⠔⠊⠁
        9.35│                                              ⢀⡠⠤⠒⠉⠁
            │                                         ⢀⡠⠤⠒⠉⠁
            │                                    ⢀⡠⠤⠒⠉⠁
            │                             ⣀⣀⠤⠤⠒⠒⠉⠁
            │                     ⣀⣀⠤⠤⠒⠒⠉⠉
            │•  ⣀⣀⣀⣀⣀⣀⠤⠤⠤⠤⠤⠤⠒⠒⠒⠒⠉⠉              •                 •                •
        0   │⠉⠉⠉                                                              leaves
            └───────────────────────────────────────────────────────────────────────
            0                                                                  4 GiB
        ");
    }

    #[test]
    fn no_curve_and_a_flat_one_are_no_trouble() {
        for points in [&[][..], &[(0.0, 0.0)], &[(0.0, 0.0), (0.0, 0.0)]] {
            let plot = Plot { across: ("leaves", String::new()), up: "seconds", lower: points, upper: points };
            assert_eq!(lines(&plot).lines().count(), usize::from(AREA.height));
        }
    }
}
