//! The dashboard in a terminal of its own: what it leaves behind, whatever ends it.
//!
//! The tests start `perilune-fake-dashboard`, the dashboard on a link that is not there, in a
//! pseudo-terminal.

use portable_pty::{CommandBuilder, native_pty_system};
use rustix::process::Signal;

use crate::support::terminal::{DEADLINE, Terminal, pty_size};
use crate::support::wait::within;

const PROGRAM: &str = env!("CARGO_BIN_EXE_perilune-fake-dashboard");

/// The dashboard of one kind; see the program's own first lines.
fn dashboard_command(kind: &str) -> CommandBuilder {
    let mut command = CommandBuilder::new(PROGRAM);
    command.arg(kind);
    command.env("RUST_BACKTRACE", "0");
    command
}

fn dashboard(kind: &str, columns: u16, rows: u16) -> Terminal {
    Terminal::of(dashboard_command(kind), columns, rows)
}

#[test]
fn q_leaves_the_terminal_as_it_was() {
    let mut terminal = dashboard("dark", 80, 24);
    terminal.wait_for("cuda:0 RTX 4090");
    assert!(terminal.modes().0, "it draws on the alternate screen");
    terminal.press("6");
    terminal.wait_for("Job 41");
    terminal.press("q");
    terminal.wait_for_end();
    terminal.check_restored();
}

/// On a shared box a monitor must not be what fills the memory.
#[test]
fn it_stays_small() {
    let mut terminal = dashboard("dark", 160, 48);
    terminal.wait_for("cuda:0 RTX 4090");
    let screens = [
        ("2", "Processes"),
        ("t", "Last 10 min"),
        ("3", "Engines"),
        ("4", "c convert"),
        ("6", "Job 41"),
        ("7", "ctrl-s submit"),
        ("8", "following"),
        ("9", "night-0039.png"),
        ("1", "Events"),
    ];
    for (key, sign) in screens {
        terminal.press(key);
        terminal.wait_for(sign);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", terminal.child.process_id().unwrap())).unwrap();
    let resident = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes <= 20_000, "{kilobytes} kB");
    terminal.press("q");
    terminal.wait_for_end();
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut terminal = dashboard("dark", 80, 24);
        terminal.wait_for("cuda:0 RTX 4090");
        terminal.signal(signal);
        terminal.wait_for_end();
        terminal.check_restored();
    }
}

#[test]
fn a_panic_leaves_the_terminal_as_it_was_and_is_told() {
    let mut terminal = dashboard("panics", 80, 24);
    terminal.wait_for("cuda:0 RTX 4090");
    terminal.press("7jiboom");
    terminal.wait_for_end();
    terminal.check_restored();
    terminal.wait_for("the counter failed");
}

#[test]
fn a_terminal_that_goes_away_ends_it() {
    let pair = native_pty_system().openpty(pty_size(80, 24)).unwrap();
    let mut child = pair.slave.spawn_command(dashboard_command("dark")).unwrap();
    drop(pair.slave);
    let mut output = pair.master.try_clone_reader().unwrap();
    let mut parser = vt100::Parser::new(24, 80, 0);
    let mut bytes = [0; 4096];
    while !parser.screen().contents().contains("cuda:0 RTX 4090") {
        let count = output.read(&mut bytes).unwrap();
        parser.process(&bytes[..count]);
    }
    // With its last copy gone the terminal hangs up.
    drop((output, pair.master));
    assert!(within(DEADLINE, || child.try_wait().unwrap().is_some()), "it goes on without a terminal");
}

#[test]
fn sizes_of_all_kinds_are_survived() {
    let mut terminal = dashboard("dark", 120, 40);
    terminal.wait_for("cuda:0 RTX 4090");
    for n in 0..60u16 {
        let (columns, rows) = if n % 7 == 0 { (0, 0) } else { (20 + n * 3, 3 + n) };
        terminal.master.resize(pty_size(columns, rows)).unwrap();
    }
    terminal.master.resize(pty_size(100, 30)).unwrap();
    terminal.parser.lock().unwrap().screen_mut().set_size(30, 100);
    terminal.wait_until("fits again", |t| t.text().lines().next().is_some_and(|l| l.trim_end().ends_with("UTC")));
    terminal.press("q");
    terminal.wait_for_end();
    terminal.check_restored();
}

#[test]
fn an_unknown_size_counts_as_eighty_by_twenty_four() {
    let mut terminal = dashboard("dark", 0, 0);
    terminal.wait_for("cuda:0 RTX 4090");
    terminal.press("q");
    terminal.wait_for_end();
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_and_fg_brings_it_back() {
    let mut shell = CommandBuilder::new("/bin/sh");
    shell.arg("-i");
    shell.env("PS1", "prompt> ");
    let mut terminal = Terminal::of(shell, 100, 30);
    terminal.wait_for("prompt>");
    terminal.press(&format!("{PROGRAM}\n"));
    terminal.wait_for("cuda:0 RTX 4090");
    terminal.press("\x1a");
    terminal.wait_until("stopped", |t| !t.modes().0 && t.text().contains("prompt> ") && t.text().contains("topped"));
    terminal.press("fg\n");
    terminal.wait_until("back", |t| t.modes().0 && t.text().contains("cuda:0 RTX 4090"));
    terminal.press("q");
    // What is typed before the shell asks could still be read by the dashboard's end.
    terminal.wait_until("left", |t| !t.modes().0 && t.text().trim_end().ends_with("prompt>"));
    terminal.press("exit\n");
    terminal.wait_for_end();
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_gets_a_line() {
    let home = tempfile::tempdir().unwrap();
    for term in ["dumb", ""] {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_perilune"));
        command.env("PERILUNE_HOME", home.path());
        command.env("TERM", term);
        let mut terminal = Terminal::of(command, 80, 24);
        terminal.wait_for("error: TERM names no terminal that the dashboard can draw on");
        terminal.wait_for_end();
        assert_eq!(terminal.modes(), (false, false, false));
    }
    assert!(!home.path().join("run").exists(), "no daemon was started for it");
}

/// crossterm under `NO_COLOR` would end reverse video together with the colours.
#[test]
fn without_colours_the_selection_is_still_seen() {
    let mut command = dashboard_command("mono");
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::of(command, 80, 24);
    terminal.press("6");
    terminal.wait_for("Job 41");
    {
        let parser = terminal.parser.lock().unwrap();
        let screen = parser.screen();
        let row = screen.rows(0, 80).position(|r| r.contains("41 qwen-night")).unwrap() as u16;
        let cell = screen.cell(row, 10).unwrap();
        assert!(cell.inverse() && cell.fgcolor() == vt100::Color::Default);
    }
    terminal.press("q");
    terminal.wait_for_end();
}
