//! A display that stands still: what it shows, what it refuses, and what is there when it goes on.

use perilune::jobs::{JobState, JobView};
use perilune::tui::message::Message;
use perilune::tui::terminal::stage::Stage;
use perilune::tui::update::update;
use perilune::units::{JobId, Timestamp};
use perilune::wire::{Change, Reply, Request, Status};

use super::support::fixtures;
use super::support::screen::Screen;

fn frozen(keys: &str) -> Screen {
    Screen::on(fixtures::busy(), 120, 36).keys(keys).keys("z")
}

/// The screen below its first line, where the clock goes on.
fn body(screen: &mut Screen) -> String {
    let text = screen.text();
    text.lines().skip(1).collect::<Vec<_>>().join("\n")
}

fn news(screen: &mut Screen) {
    screen.hear(Change::Job(Box::new(JobView { state: JobState::Cancelled, ..fixtures::job(42, "flux-dev", "gone") })));
    let Status { devices, host, .. } = fixtures::broken();
    screen.hear(Change::Devices { devices, host: Box::new(host) });
    screen.hear(Change::Log(fixtures::log_line(0, "error", "daemon", "something new")));
}

#[test]
fn what_is_shown_stands_still_on_every_screen_and_the_present_is_there_afterwards() {
    for keys in ["1", "2", "3", "6", "8", "9", "1a"] {
        let mut screen = frozen(keys);
        let before = body(&mut screen);
        let header = screen.text();
        assert!(header.lines().next().unwrap().contains("FROZEN since 14:02:11"), "{header}");
        news(&mut screen);
        let mut screen = screen.later(30);
        assert_eq!(body(&mut screen), before, "{keys}");
        assert!(screen.text().lines().next().unwrap().ends_with("14:02:41 UTC"), "the clock goes on");
        let mut screen = screen.keys("z");
        let after = screen.text();
        assert!(!after.contains("FROZEN"));
        assert_ne!(body(&mut screen), before, "{keys}");
        assert_eq!(screen.model.known.job(JobId(42)).map(|j| j.state), Some(JobState::Cancelled));
    }
}

#[test]
fn other_screens_can_be_looked_at_as_they_were() {
    let mut screen = frozen("1");
    news(&mut screen);
    let mut screen = screen.keys("8");
    assert!(!screen.text().contains("something new") && screen.text().contains("FROZEN"));
    let mut screen = screen.keys("<esc>");
    assert!(screen.text().contains("something new"), "esc shows the present");
}

#[test]
fn esc_closes_what_is_open_before_it_shows_the_present() {
    let screen = frozen("6").keys("/fox<esc>");
    assert!(screen.model.frozen.is_some());
    let screen = screen.keys("<enter><esc>");
    assert!(screen.model.frozen.is_some() && screen.model.detail.is_none());
    let screen = screen.keys("7i<esc>");
    assert!(screen.model.frozen.is_some(), "esc stops typing");
    assert!(screen.keys("<esc>").model.frozen.is_none());
}

#[test]
fn keys_that_act_are_refused_with_a_reason() {
    for keys in ["6c", "6jH", "6p", "6C", "3p", "3x", "4c", "7<ctrl-s>", "r", "6:queue pause<enter>", "6:sets unload flux<enter>"] {
        let mut screen = frozen("1").keys(keys);
        screen.answer(|request| matches!(request, Request::Cache).then(|| Ok(Reply::Cached(fixtures::cached()))));
        let told = screen.model.toasts.iter().any(|t| t.text.contains("the display is frozen, and things may have changed; z shows"));
        assert!(told, "{keys}: {:?}", screen.model.toasts);
        let asked = screen.asked();
        assert!(
            asked.iter().all(|r| matches!(r, Request::Models | Request::Cache | Request::List { .. } | Request::Watch(_))),
            "{keys}: {asked:?}"
        );
        assert!(screen.model.confirm.is_none(), "{keys}");
        assert!(screen.text().contains("frozen"), "{keys}");
    }
    let footer = frozen("6").text();
    assert!(!footer.lines().last().unwrap().contains("cancel"), "{footer}");
}

#[test]
fn what_arrives_costs_no_bytes_while_nothing_of_it_is_shown() {
    let mut screen = frozen("1");
    let mut stage = Stage::new((120, 36)).unwrap();
    assert!(stage.frame(&screen.model).unwrap().is_some());
    news(&mut screen);
    assert_eq!(stage.frame(&screen.model).unwrap(), None);
    update(&mut screen.model, Message::Tick(Timestamp(fixtures::NOW.0 + 1000)));
    let bytes = stage.frame(&screen.model).unwrap().unwrap();
    assert!(bytes.len() < 80, "only the clock: {} bytes", bytes.len());
}
