//! Model sets as users see them.

use perilune::tui::Options;
use perilune::units::DeviceId;
use perilune::wire::{Reply, Request, Status};
use perilune::workflow::{JobDraft, Kind, Refusal};

use super::screens::{Styles, check, check_everywhere};
use super::support::fixtures;
use super::support::screen::{Screen, options};

fn on(status: Status, options: Options, width: u16, height: u16) -> Screen {
    Screen::with(options, width, height).told(status).keys("3")
}

#[test]
fn sets() {
    check_everywhere("sets_empty", Styles::Not, |options, w, h| on(fixtures::empty(), options, w, h));
    check_everywhere("sets_busy", Styles::Too, |options, w, h| on(fixtures::sharing(), options, w, h).keys("j"));
    check_everywhere("sets_error", Styles::Not, |options, w, h| {
        let mut status = fixtures::broken();
        status.sets[0].components[0].bytes = perilune::units::Bytes::gib(3);
        status.sets[0].bytes = status.sets[0].components.iter().map(|part| part.bytes).sum();
        status.sets[0].alone = status.sets[0].bytes;
        on(status, options, w, h).down().later(12)
    });
    check("sets_never_up", |w, h| Screen::open(w, h).down().keys("3"));
}

#[test]
fn sets_are_found_opened_and_copied() {
    let mut screen = on(fixtures::busy(), options(), 120, 36).keys("/flux vae<enter>");
    assert!(screen.text().contains("filter: flux vae") && !screen.text().contains("denoiser"), "{}", screen.text());
    screen = screen.keys("<enter>");
    assert!(screen.text().contains("Set flux-dev"), "{}", screen.text());
    screen = screen.keys("<esc>y");
    assert!(screen.text().contains("copied: flux-dev"));
}

#[test]
fn what_opens_above_the_sets() {
    check("sets_keep", |w, h| on(fixtures::sharing(), options(), w, h).keys("jjjjjtj"));
    check("sets_load", |w, h| on(fixtures::busy(), options(), w, h).keys("Lflux"));
    check("sets_unload", |w, h| on(fixtures::sharing(), options(), w, h).keys("jjjjjx"));
    check("sets_set", |w, h| on(fixtures::sharing(), options(), w, h).keys("<enter>"));
    check("sets_help", |w, h| on(fixtures::busy(), options(), w, h).keys("?"));
}

/// What keys ask of the daemon, on the second set of the first card.
#[track_caller]
fn asks(keys: &str, request: Request) {
    let screen = on(fixtures::sharing(), options(), 120, 36).keys("jjjjj").keys(keys);
    assert_eq!(screen.asked(), [request], "{keys}");
}

#[test]
fn keys_ask_for_the_set_at_hand_by_its_number() {
    let noon = "qwen-noon@cuda:0".to_owned();
    asks("p", Request::PinSet(noon.clone()));
    // A part of it is the set at hand, too.
    asks("jxy", Request::UnloadSet(noon.clone()));
    asks("tg<enter>", Request::KeepSet { set: noon.clone(), for_s: Some(600.0) });
    asks("tj<enter>", Request::KeepSet { set: noon.clone(), for_s: Some(3600.0) });
    asks("tjjjjjj<enter>", Request::KeepSet { set: noon, for_s: None });
    asks("gp", Request::UnpinSet("qwen-night@cuda:0".to_owned()));
    for keys in ["xn", "t<esc>"] {
        assert_eq!(on(fixtures::sharing(), options(), 120, 36).keys("jjjjj").keys(keys).asked(), [], "{keys}");
    }
}

#[test]
fn a_model_is_found_and_loaded_once() {
    let load = |model: &str| Request::LoadSet(Box::new(JobDraft { model: model.to_owned(), ..JobDraft::default() }));
    let mut screen = on(fixtures::empty(), options(), 120, 36).keys("Lflux<enter>");
    assert_eq!(screen.asked(), [Request::Models, load("flux-dev")]);
    assert!(screen.text().contains("Sets ─ loading"), "{}", screen.text());
    screen = screen.keys("Lflux<enter>");
    assert_eq!(screen.asked().iter().filter(|r| **r == load("flux-dev")).count(), 1);
    assert!(screen.text().contains("flux-dev is being loaded"));
    screen.answer(|request| (*request == load("flux-dev")).then(|| Ok(Reply::Sets(vec![fixtures::set("flux-dev")]))));
    assert!(screen.text().contains("flux-dev is loaded"));
    screen = screen.keys("Y");
    assert!(screen.text().contains("copied: perilune sets load flux-dev"), "{}", screen.text());
    // A path that no folder lists.
    assert!(on(fixtures::empty(), options(), 120, 36).keys("L/x.gguf<enter>").asked().contains(&load("/x.gguf")));
}

#[test]
fn what_is_done_or_refused_is_told_and_copied_as_a_command() {
    let mut screen = on(fixtures::sharing(), options(), 120, 36);
    assert!(screen.text().contains("1 pinned") && screen.text().contains("2 parts"), "{}", screen.text());
    screen = screen.keys("x");
    assert!(screen.text().contains("qwen-night is pinned; p lets it leave again") && screen.model.confirm.is_none());
    screen = screen.keys("Y");
    assert!(screen.text().contains("copied: perilune sets list"), "{}", screen.text());
    screen = screen.keys("p");
    screen.answer(|_| Some(Ok(Reply::Sets(Vec::new()))));
    screen = screen.keys("Y");
    assert!(screen.text().contains("qwen-night may leave again"), "{}", screen.text());
    assert!(screen.text().contains("copied: perilune sets unpin qwen-night"), "{}", screen.text());
    screen = on(fixtures::busy(), options(), 120, 36).keys("x");
    assert!(screen.text().contains("job 41 uses it now"), "{}", screen.text());
    screen = screen.keys("Yy");
    assert!(screen.text().contains("copied: perilune sets unload qwen-night"), "{}", screen.text());
    screen.answer(|_| Some(Err(Refusal::new(Kind::Refused, "job 41 uses set `qwen-night`", "wait for it"))));
    assert!(screen.text().contains("qwen-night not unloaded: job 41 uses set `qwen-night`; wait for it"), "{}", screen.text());
    screen = screen.keys("jjjjjtkkkY");
    assert!(screen.text().contains("copied: perilune sets keep flux-dev --for 1h"), "{}", screen.text());
    screen = screen.keys("<esc>p").down();
    assert!(screen.text().contains("look at flux-dev before you ask again"), "{}", screen.text());
    assert!(screen.keys("p").text().contains("the daemon does not answer"));
}

#[test]
fn the_palette_knows_the_verbs_of_sets() {
    for (typed, request) in [
        ("sets pin qwen-noon", Request::PinSet("qwen-noon@cuda:0".to_owned())),
        ("sets unpin qwen-night", Request::UnpinSet("qwen-night@cuda:0".to_owned())),
        ("sets load flux-dev", Request::LoadSet(Box::new(JobDraft { model: "flux-dev".to_owned(), ..JobDraft::default() }))),
    ] {
        let screen = Screen::on(fixtures::sharing(), 120, 36).keys(":").keys(&typed.replace(' ', "<space>")).keys("<enter>");
        assert_eq!(screen.asked(), [request], "{typed}");
    }
    let screen = Screen::on(fixtures::sharing(), 120, 36).keys(":sets<space>unload<space>flux-dev<enter>y");
    assert_eq!(screen.asked(), [Request::UnloadSet("flux-dev@cuda:2".to_owned())]);
    let screen = Screen::on(fixtures::sharing(), 120, 36).keys(":sets<space>keep<space>flux-dev<enter><enter>");
    assert!(matches!(&screen.asked()[..], [Request::KeepSet { set, .. }] if set == "flux-dev@cuda:2"), "{:?}", screen.asked());
}

#[test]
fn sets_of_one_name_are_told_apart() {
    let mut status = fixtures::busy();
    status.sets.push(perilune::wire::SetView { id: perilune::workflow::SetId("3f2a".to_owned()), ..fixtures::set("qwen-night") });
    let mut screen = on(status, options(), 120, 36).keys("Gp");
    assert_eq!(screen.asked(), [Request::PinSet("3f2a@cuda:0".to_owned())]);
    screen = screen.keys("Y<enter>");
    assert!(screen.text().contains("copied: perilune sets pin 3f2a@cuda:0"), "{}", screen.text());
    assert!(screen.text().contains("number      3f2a"), "{}", screen.text());
    screen = screen.keys("<esc>:sets<space>pin<space>qwen");
    assert!(screen.text().contains("sets pin 3f2a@cuda:0") && screen.text().contains("sets pin qwen-night@cuda:0"), "{}", screen.text());
}

#[test]
fn engines_stand_in_columns() {
    let mut status = fixtures::busy();
    status.engines.truncate(1);
    status.engines.push(status.engines[0].clone());
    (status.engines[0].device, status.engines[1].device) = (DeviceId::Sim(0), DeviceId::Cpu);
    let text = on(status, options(), 120, 36).text();
    let states: Vec<usize> = text.lines().filter(|l| l.contains("pid 88")).filter_map(|l| l.find("pid ")).collect();
    assert!(states.len() == 2 && states[0] == states[1], "{text}");
}
