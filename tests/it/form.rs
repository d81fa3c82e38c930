//! The Run form: what its job would take, what is taken out of it, and what of it is not seen.

use perilune::jobs::{JobState, JobView};
use perilune::tui::effect::Effect;
use perilune::tui::screens::compose::Field;
use perilune::wire::{Change, Request};
use perilune::workflow::{Kind, Refusal};

use super::support::fixtures;
use super::support::screen::Screen;

/// A form that has been told what its job would take.
fn estimated() -> Screen {
    let mut screen = Screen::on(fixtures::busy(), 120, 40).keys("7<enter>night<enter>jia hill<esc>");
    screen.answer(|r| matches!(r, Request::Plan(_)).then(|| Err(Refusal::new(Kind::Refused, "no room", "free some"))));
    screen.effects.clear();
    screen
}

fn asks_for_a_plan(screen: &Screen) -> usize {
    screen.effects.iter().filter(|e| matches!(e, Effect::Call { request, .. } if matches!(**request, Request::Plan(_)))).count()
}

#[test]
fn an_estimate_is_asked_for_again_when_a_job_has_ended_and_when_the_operator_asks() {
    let mut screen = estimated();
    screen.hear(Change::Job(Box::new(JobView { state: JobState::Done, ..fixtures::running_job() })));
    assert_eq!(asks_for_a_plan(&screen), 1);
    assert!(screen.text().contains("no room"), "what was said stands until something else is");
    screen.hear(Change::Job(Box::new(JobView { state: JobState::Done, ..fixtures::running_job() })));
    assert_eq!(asks_for_a_plan(&screen), 1, "a job ends once");
    assert_eq!(asks_for_a_plan(&estimated().keys("r")), 1);
    assert_eq!(asks_for_a_plan(&estimated().keys("jk")), 0);
}

#[test]
fn what_was_taken_out_of_a_field_at_once_comes_back() {
    let text = |screen: &Screen| screen.model.compose.text(Field::Prompt).value().to_owned();
    for keys in ["x", "i<ctrl-u><esc>", "i<home><ctrl-k><esc>"] {
        let screen = estimated().keys(keys);
        assert_eq!(text(&screen), "", "{keys}");
        let mut screen = screen.keys("ju");
        assert_eq!((text(&screen).as_str(), screen.model.compose.field()), ("a hill", Field::Prompt), "{keys}");
        assert!(screen.text().contains("a hill"));
    }
    let screen = estimated().keys("u");
    assert_eq!(screen.model.toasts.last().unwrap().text, "nothing was taken out of a field");
}

#[test]
fn fields_that_are_not_seen_are_counted() {
    let mut screen = Screen::on(fixtures::busy(), 80, 24).keys("7");
    let text = screen.text();
    let rows = |text: &str| Field::ALL.iter().filter(|f| text.lines().any(|l| l.starts_with(f.name()))).count();
    assert!(text.contains(&format!("{} more below", Field::ALL.len() - rows(&text))), "{text}");
    let text = screen.keys("G").text();
    assert!(text.contains(&format!("{} more above", Field::ALL.len() - rows(&text))), "{text}");
    assert!(!Screen::on(fixtures::busy(), 160, 48).keys("7").text().contains(" more "));
}
