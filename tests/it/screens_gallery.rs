//! Finished pictures as users see them.

use std::path::PathBuf;
use std::sync::Arc;

use perilune::jobs::{ImageRecord, JobRow, JobState, JobView};
use perilune::tui::Options;
use perilune::tui::effect::Effect;
use perilune::tui::gallery::{Picture, Pixels};
use perilune::tui::message::Message;
use perilune::units::{JobId, Seed, Timestamp};
use perilune::wire::{Reply, Request, Status};

use super::screens::{Styles, check, check_everywhere};
use super::support::fixtures::{self, NOW};
use super::support::screen::{Screen, options};

/// A box that has painted: so many jobs, the newest first, one of them with three pictures.
fn painted(jobs: i64) -> Status {
    let mut status = fixtures::busy();
    let one = |n: i64| {
        let count = if n == 1 { 3 } else { 1 };
        let image = |k: u64| ImageRecord {
            path: PathBuf::from(format!("/home/ana/pictures/night-{:04}-{k}.png", 39 - n)),
            seed: Seed(7 + k),
            width: 768,
            height: 512,
        };
        let job = fixtures::done_job();
        let images = (0..count).map(image).collect();
        JobView { job: JobId(39 - n), images, finished: Some(Timestamp(NOW.0 - 940_000 - n * 60_000)), ..job }
    };
    status.queue.jobs.retain(|j| j.state != JobState::Done);
    status.queue.jobs.extend((0..jobs).map(one));
    status
}

fn on(status: Status, options: Options, width: u16, height: u16) -> Screen {
    let mut screen = Screen::with(options, width, height).told(status).keys("9");
    screen
        .answer(|request| matches!(request, Request::List { .. }).then(|| Ok(Reply::Rows { paused: false, rows: Vec::new(), next: None })));
    prepared(screen)
}

/// Makes every picture ready that is wanted: each another gradient.
fn prepared(mut screen: Screen) -> Screen {
    for _ in 0..60 {
        let Some(at) = screen.effects.iter().position(|e| matches!(e, Effect::Prepare(_))) else { return screen };
        let Effect::Prepare(order) = screen.effects.remove(at) else { panic!("it was one just now") };
        let name = format!("{:?}", order.wanted.source);
        let tint = name.bytes().fold(0u8, u8::wrapping_add);
        let pixel = |n: u32| [tint, u8::try_from(n % 48 * 5).unwrap(), u8::try_from(n / 48 * 8).unwrap()];
        let rgb = (0..48 * 32).flat_map(pixel).collect();
        let picture = Picture::Pixels(Arc::new(Pixels { width: 48, height: 32, rgb }));
        screen.tell(Message::Pictured { source: order.wanted.source, result: Ok(picture) });
    }
    panic!("pictures are wanted without end");
}

#[test]
fn gallery() {
    check_everywhere("gallery_empty", Styles::Not, |options, w, h| {
        let mut status = fixtures::busy();
        status.queue.jobs.retain(|j| j.state != JobState::Done);
        on(status, options, w, h)
    });
    check_everywhere("gallery_busy", Styles::Too, |options, w, h| on(painted(14), options, w, h).keys("l"));
    check_everywhere("gallery_error", Styles::Not, |options, w, h| {
        let mut screen = Screen::with(options, w, h).told(painted(2)).keys("9");
        for _ in 0..4 {
            let Some(at) = screen.effects.iter().position(|e| matches!(e, Effect::Prepare(_))) else { break };
            let Effect::Prepare(order) = screen.effects.remove(at) else { panic!("it was one just now") };
            let result = Err("cannot open: No such file or directory (os error 2)".to_owned());
            screen.tell(Message::Pictured { source: order.wanted.source, result });
        }
        screen.down().later(12)
    });
    check("gallery_large", |w, h| prepared(on(painted(14), options(), w, h).keys("ll<enter>")));
    check("gallery_never_up", |w, h| Screen::open(w, h).down().keys("9"));
}

#[test]
fn pictures_are_walked_through_copied_and_made_again() {
    let mut screen = on(painted(14), options(), 120, 36).keys("lly");
    assert!(screen.text().contains("copied: /home/ana/pictures/night-0038-1.png"), "{}", screen.text());
    screen = screen.keys("Y");
    let again = |e: &Effect| matches!(e, Effect::Copy(text) if text.contains("--seed 8") && text.contains("--batch 1"));
    assert!(screen.wanted(again), "{:?}", screen.effects);
    screen = screen.keys("d");
    let text = screen.text();
    assert!(text.contains("[7 Run]") && text.contains("a lighthouse at dawn"), "{text}");
    assert!(screen.wanted(|e| matches!(e, Effect::Copy(text) if text.contains("night-0038-1"))));
    let mut screen = on(painted(14), options(), 120, 36).keys("G/0026<enter>");
    assert!(screen.text().contains("1 picture, filter: 0026"), "{}", screen.text());
    assert!(screen.keys("<esc>").text().contains("16 pictures"));
}

#[test]
fn what_the_snapshot_does_not_hold_is_shown_when_it_comes_into_sight() {
    let row = |n: i64| JobRow {
        job: JobId(n),
        state: JobState::Done,
        priority: 0,
        model: "qwen-night".to_owned(),
        prompt: "an old lighthouse".to_owned(),
        owner: "ana".to_owned(),
        created: Timestamp(NOW.0 - 9_000_000),
        finished: Some(Timestamp(NOW.0 - 8_000_000 + n * 1000)),
    };
    let mut screen = Screen::with(options(), 120, 36).told(painted(1)).keys("9");
    screen.answer(|request| {
        let rows = || vec![row(3), row(4), row(39)];
        matches!(request, Request::List { .. }).then(|| Ok(Reply::Rows { paused: false, rows: rows(), next: None }))
    });
    assert!(screen.text().contains("job 4") && screen.text().contains("3 pictures"), "{}", screen.text());
    let show = |screen: &Screen| screen.asked().into_iter().filter(|r| matches!(r, Request::Show(_))).collect::<Vec<_>>();
    assert_eq!(show(&screen), [Request::Show(JobId(4))], "one after the other");
    screen.answer(|request| match request {
        Request::Show(job) => {
            let image = ImageRecord { path: PathBuf::from(format!("/old/{job}.png")), seed: Seed(1), width: 512, height: 512 };
            Some(Ok(Reply::Job(Box::new(JobView { job: *job, images: vec![image], ..fixtures::done_job() }))))
        }
        _ => None,
    });
    assert_eq!(show(&screen), [Request::Show(JobId(3))]);
    assert!(screen.text().contains("4.png"), "{}", screen.text());
    assert!(screen.keys("ly").text().contains("copied: /old/4.png"));
}

#[test]
fn pictures_of_another_machine_are_named_and_not_looked_for() {
    let mut screen = Screen::open(120, 36).told(painted(3)).keys("9");
    screen.tell(Message::Up { place: "ana@box".to_owned() });
    screen.effects.clear();
    let mut screen = screen.keys("l");
    assert!(!screen.wanted(|e| matches!(e, Effect::Prepare(_))));
    assert!(screen.text().contains("on ana@box"), "{}", screen.text());
}

#[test]
fn the_large_picture_says_how_it_is_left() {
    let mut screen = on(painted(3), options(), 120, 36).keys("<enter>");
    assert!(screen.text().lines().last().unwrap().starts_with("enter all pictures"), "{}", screen.text());
    assert!(screen.keys("<enter>").text().lines().last().unwrap().starts_with("enter large"));
}
