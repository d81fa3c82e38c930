//! Filters of the lists: which rows they let through, and what is said while they are wrong.

use perilune::tui::screens::Screen as Which;
use perilune::tui::searching;
use perilune::wire::{Reply, Request};

use super::screens::Styles;
use super::screens::check_everywhere;
use super::support::fixtures;
use super::support::screen::Screen;

/// The screen of these keys with this filter kept, of a box that works.
fn filtered(keys: &str, filter: &str) -> Screen {
    let mut screen = Screen::on(fixtures::busy(), 120, 36).keys(keys);
    screen.answer(|request| match request {
        Request::Cache => Some(Ok(Reply::Cached(fixtures::cached()))),
        _ => None,
    });
    let typed: String = filter.chars().map(|c| if c == '<' { "<<>".to_owned() } else { c.to_string() }).collect();
    screen.keys(&format!("/{typed}<enter>"))
}

fn jobs(filter: &str) -> Vec<i64> {
    let screen = filtered("6", filter);
    screen.model.queue.shown(&screen.model.known).iter().map(|job| job.job.0).collect()
}

#[test]
fn jobs_are_found_by_what_is_true_of_them() {
    for (filter, expected) in [
        ("state=failed & owner=ana", &[40][..]),
        ("state=run", &[41]),
        ("state=queued | state=held", &[42, 43, 44]),
        ("owner=ci", &[43]),
        ("set~=flux & !state=failed", &[42]),
        ("temp>80 & set~=qwen & progress=50%", &[41]),
        ("age>11m", &[]),
        ("age<=10m & pri<5", &[43]),
        ("id>=43", &[43, 44]),
        ("lighthouse", &[41, 43, 39]),
        ("lighthouse dusk", &[41]),
        ("reason~=memory", &[40]),
        ("size=768x512 device=cuda:0 steps=28 fox state!=wait", &[40]),
    ] {
        assert_eq!(jobs(filter), expected, "{filter}");
    }
}

#[test]
fn every_list_has_fields_of_its_own() {
    let screen = filtered("4", "size>4GiB & precision=int8");
    assert_eq!(screen.model.cache.shown(&screen.model.known).len(), 1);
    let screen = filtered("4", "used>4d | state=damaged");
    assert_eq!(screen.model.cache.shown(&screen.model.known).len(), 3);
    let screen = filtered("4", "open=yes");
    assert_eq!(screen.model.cache.shown(&screen.model.known).len(), 1);
    let screen = filtered("3", "part=denoiser & device=cpu & size>19GiB");
    assert_eq!(screen.model.sets.shown(&screen.model.known).len(), 2);
    let screen = filtered("9", "steps=28 & took<2m & width=768");
    assert_eq!(screen.model.finished.entries(&screen.model.known).len(), 1);
    let screen = filtered("9", "age>1d");
    assert_eq!(screen.model.finished.entries(&screen.model.known).len(), 0);
    let screen = filtered("2", "memory>1GiB & whose!=ours");
    let found: Vec<u32> = screen.model.devices.shown(&screen.model.known).iter().map(|p| p.pid).collect();
    assert_eq!(found, [56_752]);
    let screen = filtered("2", "temp>80 & user=root & age=2h");
    assert_eq!(screen.model.devices.shown(&screen.model.known).len(), 1);
}

#[test]
fn the_log_is_searched_with_the_same_words() {
    let mut screen = filtered("8", "level>=warn & source=daemon").keys("n");
    assert!(screen.text().contains("2 lines of `level>=warn & source=daemon`"), "{}", screen.text());
    let first = perilune::tui::screens::log::update::value(&screen.model);
    let second = perilune::tui::screens::log::update::value(&screen.keys("n").model);
    assert_ne!(first, second);
}

/// Every field that a list names can be asked for, and says something of some row or is at least known to be unknown.
#[test]
fn every_field_can_be_asked_for() {
    use perilune::tui::filter::{Kind, parse};
    let mut asked = 0;
    for which in Which::ALL {
        for field in searching::fields(*which).into_iter().flatten() {
            let value = match field.kind {
                Kind::Text => "x",
                Kind::Number => "1",
                Kind::Bytes => "1GiB",
                Kind::Share => "50%",
                Kind::Span => "1h",
                Kind::Degrees => "80C",
                Kind::Flag => "yes",
                Kind::Rank(words) => words[0],
            };
            for name in field.names {
                let filter = parse(&format!("{name}={value}"), searching::fields(*which).unwrap());
                assert!(filter.is_ok(), "{which:?} {name}: {filter:?}");
                asked += 1;
            }
        }
    }
    assert!(asked > 60, "{asked}");
}

/// While a filter is wrong every row stays, and enter does not keep it.
#[test]
fn a_wrong_filter_is_told_while_it_is_typed_and_not_kept() {
    let mut screen = Screen::on(fixtures::busy(), 80, 24).keys("6/colour=red");
    let text = screen.text();
    let lines: Vec<&str> = text.lines().collect();
    let typed = lines.iter().position(|l| l.starts_with(" /colour=red")).unwrap();
    assert!(lines[typed + 1].starts_with("  ^ there is no field `colour`; there are id, set, state"), "{text}");
    assert_eq!(screen.model.queue.shown(&screen.model.known).len(), 6);
    let screen = screen.keys("<enter>");
    assert!(screen.model.queue.filter.typing && screen.model.toasts.iter().any(|t| t.text.starts_with("there is no field")));
    let mut screen = screen.keys("<ctrl-u>dusk & size><enter>");
    assert!(screen.model.queue.filter.typing);
    let text = screen.text();
    let caret = text.lines().find(|l| l.trim_start().starts_with('^')).unwrap();
    assert!(caret.trim_start().starts_with("^ size has no order; it takes = != ~="), "{text}");
    assert_eq!(caret.find('^'), Some(2 + "dusk & size".len()));
    let screen = screen.keys("<backspace>=768x512<enter>");
    assert!(!screen.model.queue.filter.typing);
    assert_eq!(screen.model.queue.shown(&screen.model.known).len(), 1);
}

#[test]
fn a_filter_that_is_typed() {
    check_everywhere("filter_wrong", Styles::Not, |options, w, h| {
        Screen::with(options, w, h).told(fixtures::busy()).keys("6/night & colour=red")
    });
    check_everywhere("filter_fields", Styles::Not, |options, w, h| {
        Screen::with(options, w, h).told(fixtures::busy()).keys("6/state=failed & owner=ana")
    });
}
