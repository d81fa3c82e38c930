//! The mouse: off until it is asked for, and then it selects and scrolls, and does nothing else.

use perilune::tui::Options;
use perilune::tui::effect::Effect;
use perilune::tui::message::Message;
use perilune::tui::pointer::{Gesture, Pointer};
use perilune::tui::screens::Screen as Which;
use perilune::tui::screens::offload::Pane as Tuned;
use perilune::tui::screens::overview::Pane;
use perilune::units::{DeviceId, JobId};
use perilune::wire::{Reply, Request};
use portable_pty::CommandBuilder;
use rustix::process::Signal;

use super::support::daemon::Home;
use super::support::fixtures;
use super::support::screen::{Screen, options};
use super::support::terminal::Terminal;

fn on(keys: &str, width: u16, height: u16) -> Screen {
    Screen::with(Options { mouse: true, ..options() }, width, height).told(fixtures::busy()).keys(keys)
}

/// Does something with the mouse where a text stands on the screen.
fn at(mut screen: Screen, text: &str, gesture: Gesture) -> Screen {
    let shown = screen.text();
    let place = shown.lines().enumerate().find_map(|(row, line)| line.find(text).map(|at| (row, line[..at].chars().count())));
    let (row, column) = place.unwrap_or_else(|| panic!("{text} is not on\n{shown}"));
    screen.tell(Message::Pointed(Pointer { gesture, column: u16::try_from(column).unwrap(), row: u16::try_from(row).unwrap() }));
    screen
}

fn click(screen: Screen, text: &str) -> Screen {
    at(screen, text, Gesture::Click)
}

#[test]
fn a_click_selects_a_row_and_does_nothing_else() {
    for (width, height) in [(80, 24), (120, 36), (160, 48)] {
        for (text, job) in [("    44 ", 44), ("    40 ", 40), ("    41 ", 41)] {
            let screen = click(on("6jj", width, height), text);
            assert_eq!(screen.model.job_at_hand(), Some(JobId(job)), "{width} {text}");
            assert_eq!(screen.asked(), []);
            assert!(screen.model.detail.is_none() && screen.model.confirm.is_none());
        }
    }
}

#[test]
fn a_click_selects_a_screen_and_a_panel() {
    assert_eq!(click(on("1", 120, 36), "6 Queue").model.screen, Which::Queue);
    assert_eq!(click(on("1", 80, 24), "8 Log").model.screen, Which::Log);
    let screen = click(on("1", 120, 36), "    43 ");
    assert_eq!((screen.model.overview.pane, screen.model.job_at_hand()), (Pane::Queue, Some(JobId(43))));
    let screen = click(screen, "cuda:1 RTX");
    assert_eq!((screen.model.overview.pane, screen.model.overview.device), (Pane::Devices, Some(DeviceId::Cuda(1))));
    let screen = click(on("7", 120, 36), "steps");
    assert_eq!(screen.model.compose.field().name(), "steps");
}

/// The tuner of the form's model, with the mouse on.
fn tuner(keys: &str, width: u16, height: u16) -> Screen {
    let mut screen = on("7ll5", width, height);
    screen.answer(|request| matches!(request, Request::Tune(_)).then(|| Ok(Reply::Tune(Box::new(fixtures::tune(DeviceId::Cpu))))));
    screen.keys(keys)
}

/// Clicks on a cell of the tuner's map, so many columns behind the first that is seen.
fn click_block(mut screen: Screen, row: &str, cells: usize) -> Screen {
    let shown = screen.text();
    let (y, line) = shown.lines().enumerate().find(|(_, l)| l.contains(row)).unwrap_or_else(|| panic!("{row} is not on\n{shown}"));
    let x = line[..line.find(row).unwrap()].chars().count() + 9 + cells;
    let (column, row) = (u16::try_from(x).unwrap(), u16::try_from(y).unwrap());
    screen.tell(Message::Pointed(Pointer { gesture: Gesture::Click, column, row }));
    screen
}

#[test]
fn a_click_selects_a_block_of_the_tuner() {
    for (width, height) in [(60, 16), (80, 24), (120, 36), (160, 48)] {
        for row in ["active   ", "draft    "] {
            for at in [0, 7, 41] {
                let screen = click_block(tuner("", width, height), row, at);
                assert_eq!((screen.model.offload.block, screen.model.offload.pane), (at, Tuned::Blocks), "{width} {row}");
                assert_eq!(screen.asked(), [Request::Models], "the form asked for them");
                let text = screen.keys("").text();
                assert!(text.contains(&format!("block {at} ")), "{text}");
            }
        }
    }
    // What has no block is none: the name of the row, and what lies behind the last.
    let screen = tuner("b5<enter>", 120, 36);
    let screen = click_block(click_block(at(screen, "active   ", Gesture::Click), "draft    ", 42), "block 5 ", 3);
    assert_eq!(screen.model.offload.block, 5);
    // While letters are typed, they are what is meant.
    let screen = click_block(tuner("i1gb", 120, 36), "draft    ", 9);
    assert_eq!((screen.model.offload.block, screen.model.offload.pane), (0, Tuned::Expression));
    let screen = click_block(tuner("P", 120, 36), "active   ", 3);
    assert!(screen.model.offload.presets.is_some() && screen.model.offload.block == 0, "a box lies above");
}

#[test]
fn the_wheel_goes_up_and_down() {
    let screen = at(on("6", 120, 36), "    41 ", Gesture::WheelDown);
    assert_eq!(screen.model.job_at_hand(), Some(JobId(44)));
    let screen = at(screen, "    41 ", Gesture::WheelUp);
    assert_eq!(screen.model.job_at_hand(), Some(JobId(41)));
    let screen = at(on("6?", 80, 24), "Jobs", Gesture::WheelDown);
    assert_eq!(screen.model.help.as_ref().unwrap().scroll, 3);
}

/// A question is answered by its keys, and what lies under a box is not reached through it.
#[test]
fn boxes_keep_the_mouse_from_what_is_below() {
    let screen = click(click(on("6c", 80, 24), "yes"), "8 Log");
    assert!(screen.model.confirm.is_some() && screen.model.screen == Which::Queue);
    assert_eq!(screen.asked(), []);
    let screen = click(on("6?", 120, 36), "1 Overview");
    assert_eq!(screen.model.screen, Which::Queue);
    let screen = click(on("7<enter>", 120, 36), "flux-dev");
    assert!(screen.model.confirm.is_none() && screen.model.screen == Which::Compose);
}

#[test]
fn it_is_off_until_it_is_asked_for() {
    let screen = Screen::on(fixtures::busy(), 120, 36).keys("6");
    let screen = click(screen, "    44 ");
    assert_eq!(screen.model.job_at_hand(), Some(JobId(41)));
    let mut screen = screen.keys("M");
    assert!(screen.wanted(|e| matches!(e, Effect::Mouse(true))));
    screen.model.mouse = true;
    assert!(screen.keys("M").wanted(|e| matches!(e, Effect::Mouse(false))));
}

fn dashboard(kind: &str) -> Terminal {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_perilune-fake-dashboard"));
    command.arg(kind);
    command.env("RUST_BACKTRACE", "0");
    Terminal::of(command, 80, 24)
}

#[test]
fn the_terminal_gets_its_mouse_back() {
    let mut terminal = dashboard("dark");
    terminal.wait_for("cuda:0 RTX 4090");
    assert!(!terminal.gives_mouse(), "off by default");
    terminal.press("M");
    terminal.wait_until("on", Terminal::gives_mouse);
    terminal.press("q");
    terminal.wait_for_end();
    terminal.check_restored();
    // From the start it is on once the terminal was asked what it can do.
    let mut terminal = dashboard("mouse");
    terminal.wait_until("on", |t| t.gives_mouse() && t.text().contains("cuda:0 RTX 4090"));
    // A click on the tab of the queue, in the second row.
    let column = terminal.text().lines().nth(1).unwrap().find("6 Queue").unwrap() + 2;
    terminal.press(&format!("\x1b[<0;{column};2M\x1b[<0;{column};2m"));
    terminal.wait_for("Job 41");
    terminal.press("M");
    terminal.wait_until("off", |t| !t.gives_mouse());
    terminal.press("Mq");
    terminal.wait_for_end();
    terminal.check_restored();
}

#[test]
fn whatever_ends_it_the_mouse_is_given_back() {
    let mut terminal = dashboard("mouse");
    terminal.wait_for("cuda:0 RTX 4090");
    terminal.wait_until("on", Terminal::gives_mouse);
    terminal.signal(Signal::TERM);
    terminal.wait_for_end();
    terminal.check_restored();
    let mut terminal = dashboard("mouse-panics");
    terminal.wait_for("cuda:0 RTX 4090");
    terminal.press("7jiboom");
    terminal.wait_for_end();
    terminal.check_restored();
}

#[test]
fn ctrl_z_gives_the_mouse_back_and_fg_takes_it_again() {
    let mut shell = CommandBuilder::new("/bin/sh");
    shell.arg("-i");
    shell.env("PS1", "prompt> ");
    let mut terminal = Terminal::of(shell, 100, 30);
    terminal.wait_for("prompt>");
    terminal.press(&format!("{} mouse\n", env!("CARGO_BIN_EXE_perilune-fake-dashboard")));
    terminal.wait_until("up", |t| t.gives_mouse() && t.text().contains("cuda:0 RTX 4090"));
    terminal.press("\x1a");
    terminal.wait_until("stopped", |t| !t.modes().0 && !t.gives_mouse() && t.text().contains("topped"));
    terminal.press("fg\n");
    terminal.wait_until("back", |t| t.modes().0 && t.gives_mouse() && t.text().contains("cuda:0 RTX 4090"));
    terminal.press("q");
    terminal.wait_until("left", |t| !t.modes().0 && !t.gives_mouse() && t.text().trim_end().ends_with("prompt>"));
    terminal.press("exit\n");
    terminal.wait_for_end();
}

#[test]
fn the_setting_is_shown_with_its_origin() {
    let home = Home::empty();
    home.config("mouse: true\n");
    let settings = home.run(&["config", "--json"]).json();
    assert_eq!(settings["settings"]["mouse"], serde_json::json!({"value": true, "origin": "file"}));
    home.config("mouse: sometimes\n");
    assert_eq!(home.run(&["config", "validate"]).code, 2);
}
