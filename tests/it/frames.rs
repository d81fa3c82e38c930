//! What frames cost: bytes to the terminal, by the second and by the screen.

use perilune::devices::{DeviceReading, Memory};
use perilune::jobs::{Phase, Progress};
use perilune::tui::message::Message;
use perilune::tui::model::Model;
use perilune::tui::options::ColorDepth;
use perilune::tui::terminal::stage::{FRAME_BEGINS, FRAME_ENDS, Stage};
use perilune::tui::update::update;
use perilune::units::{Bytes, JobId, Timestamp};
use perilune::wire::Change;

use super::support::fixtures;
use super::support::screen::{Screen, XTERM, options};

/// Two cards, one of which works, as the issue has it.
fn two_cards(second: i64) -> Change {
    let n = u32::try_from(second).unwrap();
    let wave = f64::from(n) * 0.7;
    let memory = fixtures::busy_gpu().memory.map(|m| Memory { used: m.used - Bytes::mib(u64::from(n % 7) * 200), ..m });
    let busy = DeviceReading {
        utilization: Some(0.9 + 0.09 * wave.sin()),
        temperature_c: Some((74.0 + 4.0 * wave.cos()).round()),
        power_w: Some((400.0 + 20.0 * wave.sin()).round()),
        memory,
        ..fixtures::busy_gpu()
    };
    let other = DeviceReading {
        utilization: Some(0.5 + 0.4 * wave.cos()),
        power_w: Some((200.0 + 90.0 * wave.cos()).round()),
        ..fixtures::gpu(1, "NVIDIA GeForce RTX 3090", 1.4 + f64::from(n % 5), 24.0)
    };
    Change::Devices { devices: vec![busy, other, fixtures::cpu()], host: Box::new(fixtures::host()) }
}

struct Measured {
    model: Model,
    stage: Stage,
}

impl Measured {
    fn overview(columns: u16, rows: u16, depth: ColorDepth) -> Self {
        let mut options = options();
        options.terminal.colors = depth;
        let screen = Screen::with(options, columns, rows).told(fixtures::busy());
        Self { model: screen.model, stage: Stage::new((columns, rows)).unwrap() }
    }

    fn frame(&mut self) -> usize {
        self.stage.frame(&self.model).unwrap().map_or(0, |bytes| bytes.len())
    }

    fn second(&mut self, second: i64) {
        update(&mut self.model, Message::Tick(Timestamp(fixtures::NOW.0 + second * 1000)));
        update(&mut self.model, Message::Heard(Box::new(two_cards(second))));
        let progress =
            Progress { phase: Phase::Sampling, step: 14 + u32::try_from(second / 2).unwrap() % 14, steps: 28, step_s: Some(2.0) };
        update(&mut self.model, Message::Heard(Box::new(Change::Progress { job: JobId(41), progress })));
    }
}

#[test]
fn a_second_costs_little() {
    for (columns, rows, depth, most) in [
        (120, 40, ColorDepth::TrueColor, 2000),
        (120, 40, ColorDepth::Mono, 2000),
        (80, 24, ColorDepth::TrueColor, 1500),
        (160, 48, ColorDepth::TrueColor, 2500),
    ] {
        let mut screen = Measured::overview(columns, rows, depth);
        screen.second(0);
        let whole = screen.frame();
        let each: Vec<usize> = (1..60)
            .map(|second| {
                screen.second(second);
                screen.frame()
            })
            .collect();
        let mean = each.iter().sum::<usize>() / each.len();
        let worst = each.iter().max().copied().unwrap();
        println!("{columns}x{rows} {depth:?}: whole {whole}, each second {mean}, at most {worst}");
        assert!(whole <= 10_000 * usize::from(columns) * usize::from(rows) / 4_800, "{columns}x{rows}: {whole} bytes for a whole screen");
        assert!(worst <= most, "{columns}x{rows} {depth:?}: {worst} bytes for one second");
    }
}

#[test]
fn nothing_new_costs_nothing() {
    let mut screen = Measured::overview(120, 40, ColorDepth::TrueColor);
    assert!(screen.frame() > 0);
    assert_eq!(screen.frame(), 0);
    update(&mut screen.model, Message::Tick(Timestamp(fixtures::NOW.0 + 100)));
    assert_eq!(screen.frame(), 0, "the clock shows whole seconds");
}

#[test]
fn a_frame_is_one_piece_between_its_marks() {
    let screen = Screen::with(options(), 80, 24).told(fixtures::busy());
    let mut stage = Stage::new((80, 24)).unwrap();
    let frame = stage.frame(&screen.model).unwrap().unwrap();
    assert!(frame.starts_with(FRAME_BEGINS) && frame.ends_with(FRAME_ENDS));
    let marks = frame.windows(FRAME_BEGINS.len()).filter(|w| *w == FRAME_BEGINS).count();
    assert_eq!(marks, 1);
}

/// Only a theme that asks for it paints the background.
#[test]
fn no_background_is_set_by_default() {
    for theme in ["dark", "light", "mono"] {
        let options = perilune::tui::Options { theme: theme.to_owned(), terminal: XTERM, ..options() };
        let mut screen = Screen::with(options, 120, 40).told(fixtures::busy());
        let buffer = screen.draw();
        assert!(buffer.content.iter().all(|c| c.bg == ratatui::style::Color::Reset), "{theme}");
    }
}

/// A cursor is shown where text is typed, and nowhere else.
#[test]
fn the_cursor_follows_the_text() {
    let shown = |keys: &str| {
        let screen = Screen::on(fixtures::busy(), 80, 24).keys(keys);
        let mut stage = Stage::new((80, 24)).unwrap();
        let frame = stage.frame(&screen.model).unwrap().unwrap();
        let text = String::from_utf8_lossy(&frame).into_owned();
        text.contains("\u{1b}[?25h")
    };
    assert!(!shown("1") && !shown("7"));
    assert!(shown("7jia") && shown("6/dusk") && shown(":que") && shown("7<enter>"));
}
