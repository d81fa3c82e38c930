//! What cannot be seen: it is not acted upon, and it is said that it is there.

use perilune::jobs::{JobState, JobView};
use perilune::tui::effect::Effect;
use perilune::tui::message::Message;
use perilune::tui::pointer::{Gesture, Pointer};
use perilune::tui::screens::Screen as Which;
use perilune::units::JobId;
use perilune::wire::{Change, Request, Status};

use super::support::fixtures;
use super::support::screen::Screen;

fn busy() -> Screen {
    Screen::on(fixtures::busy(), 120, 40)
}

fn resized(mut screen: Screen, width: u16, height: u16) -> Screen {
    screen.tell(Message::Resized(width, height));
    screen.resize();
    screen
}

#[test]
fn a_terminal_too_small_to_show_anything_lets_no_key_act() {
    for size in [(59, 40), (120, 15), (1, 1)] {
        let mut screen = resized(busy(), size.0, size.1).keys("6Cyp<enter>");
        screen.model.mouse = true;
        screen.tell(Message::Pasted("Cy".to_owned()));
        screen.tell(Message::Pointed(Pointer { gesture: Gesture::WheelDown, column: 0, row: 0 }));
        assert_eq!(screen.asked(), [], "{size:?}");
        assert_eq!((screen.model.screen, screen.model.confirm.is_some()), (Which::Overview, false), "{size:?}");
        let screen = resized(screen, 60, 16).keys("6C");
        assert!(screen.model.confirm.is_some(), "with room to show it, it asks");
    }
}

#[test]
fn a_question_stays_unanswered_while_it_cannot_be_seen() {
    let screen = resized(busy().keys("6C"), 40, 10).keys("ynY<esc>");
    assert_eq!(screen.asked(), []);
    let mut screen = resized(screen, 120, 40);
    assert!(screen.text().contains("Cancel 3 waiting jobs?"));
    assert_eq!(screen.keys("y").asked().len(), 1);
}

#[test]
fn a_small_terminal_can_be_left_and_drawn_anew() {
    let screen = resized(busy(), 40, 10).keys("<ctrl-z><ctrl-l>");
    assert!(screen.wanted(|e| matches!(e, Effect::Suspend)) && screen.wanted(|e| matches!(e, Effect::Redraw)));
    for key in ["q", "<ctrl-c>"] {
        assert!(resized(busy(), 40, 10).keys(key).wanted(|e| matches!(e, Effect::Quit)), "{key}");
    }
    let mut screen = resized(busy().keys("7jia lighthouse<esc>"), 58, 10).keys("q");
    assert!(!screen.wanted(|e| matches!(e, Effect::Quit)));
    assert_eq!(screen.text().trim_end(), "needs 60x16, is 58x10; q again quits and loses a draft");
    assert!(screen.keys("q").wanted(|e| matches!(e, Effect::Quit)));
}

/// A box with one job that runs and so many that wait behind it.
fn crowded(waiting: i64) -> Status {
    let mut status = fixtures::busy();
    status.queue.jobs = vec![fixtures::running_job()];
    status.queue.jobs.extend((0..waiting).map(|n| fixtures::job(100 + n, "qwen-night", "a hill")));
    (status.queue.queued, status.queue.held) = (waiting.unsigned_abs(), 0);
    status
}

#[test]
fn the_overview_begins_with_what_runs_wherever_the_queue_s_cursor_is() {
    for (width, height) in [(80, 24), (160, 48)] {
        let mut screen = Screen::on(crowded(40), width, height).keys("6G1");
        let text = screen.text();
        let rows: Vec<&str> = text.lines().filter(|l| l.contains("qwen-night") && !l.contains("cuda:0 RTX")).collect();
        assert!(text.contains(" run ") && rows.iter().any(|l| l.contains(" 41 ")), "{text}");
        assert!(!text.contains(" above"), "{text}");
        let mut screen = screen.keys("<tab><tab>");
        let text = screen.text();
        assert!(
            text.contains(" above") && text.contains(" 139 "),
            "where keys act on it, the cursor is seen, and it is said what is not: {text}"
        );
        let text = screen.keys("gjj").text();
        assert!(text.contains(" 102 ") && text.contains(" 14/28") && !text.contains(" above"), "{text}");
    }
}

#[test]
fn a_job_that_is_taken_back_leaves_the_cursor_where_it_was() {
    let over = |screen: &mut Screen, id| {
        let job = screen.model.known.job(JobId(id)).unwrap().clone();
        screen.hear(Change::Job(Box::new(JobView { state: JobState::Cancelled, ..job })));
    };
    let mut screen = Screen::on(crowded(3), 120, 40).keys("6jjcy");
    assert_eq!(screen.model.job_at_hand(), Some(JobId(101)), "it is not over yet");
    over(&mut screen, 101);
    assert_eq!(screen.model.job_at_hand(), Some(JobId(102)));
    let mut screen = screen.keys("cy");
    over(&mut screen, 102);
    assert_eq!(screen.model.job_at_hand(), Some(JobId(100)), "behind the last that waits there is only what is finished");
    // What others take back is followed, as every job is.
    over(&mut screen, 100);
    assert_eq!(screen.model.job_at_hand(), Some(JobId(100)));
}

/// The same, but only so many of those that wait were told.
fn told_in_part(told: i64, waiting: u64) -> Status {
    let mut status = crowded(told);
    status.queue.queued = waiting;
    status
}

#[test]
fn jobs_that_were_not_told_are_said_not_to_be_searched_and_not_to_be_marked() {
    for width in [80, 160] {
        let mut screen = Screen::on(told_in_part(50, 169), width, 40).keys("6/harbour<enter>");
        let text = screen.text().replace('\n', " ");
        let words = ["No job is like that. 119 more wait", "not searched", "perilune queue list shows all", "esc drops"];
        assert!(words.iter().all(|words| text.contains(words)), "{text}");
        let text = screen.keys("<esc>/hill<enter>").text();
        assert!(text.contains("119 more wait and are not searched"), "{text}");
    }
    let mut screen = Screen::on(told_in_part(50, 169), 120, 40).keys("6*");
    let marked = "119 more wait and are not marked: perilune queue list shows all";
    assert_eq!(screen.model.toasts.last().map(|t| t.text.as_str()), Some(marked));
    screen = screen.keys("c");
    let consequence = &screen.model.confirm.as_ref().unwrap().consequence;
    assert!(consequence.ends_with("119 more wait and are not among them."), "{consequence}");
    let screen = Screen::on(told_in_part(50, 51), 120, 40).keys("6j<space><space>c");
    assert!(!screen.model.confirm.unwrap().consequence.contains("among"), "who marked two of them knows that there are more");
}

#[test]
fn the_palette_takes_a_number_that_no_row_has() {
    let screen = Screen::on(told_in_part(50, 169), 120, 40).keys("6:cancel 269<enter>");
    let confirm = screen.model.confirm.as_ref().unwrap();
    assert_eq!((confirm.question.as_str(), confirm.command.as_deref()), ("Cancel job 269?", Some("perilune queue cancel 269")));
    assert_eq!(screen.keys("y").asked(), [Request::Cancel(vec![JobId(269)])]);
    // A number means that job, not one whose number is like it.
    let screen = Screen::on(told_in_part(50, 169), 120, 40).keys("6:cancel 14<enter>");
    assert_eq!(screen.model.confirm.unwrap().question, "Cancel job 14?");
    let screen = Screen::on(told_in_part(50, 169), 120, 40).keys("6:show 269<enter>");
    assert_eq!(screen.asked(), [Request::Show(JobId(269))]);
    let screen = Screen::on(told_in_part(50, 169), 120, 40).keys("6:retry 269<enter>");
    assert_eq!(screen.model.toasts.last().unwrap().text, "job 269 is not shown here; `show 269` brings it");
    let screen = Screen::on(told_in_part(50, 169), 120, 40).keys("6:cancel 269").down().keys("<esc>:cancel 269<enter>");
    assert_eq!(screen.model.toasts.last().unwrap().text, "the daemon does not answer");
}

#[test]
fn a_silent_daemon_was_asked_for_all_that() {
    let told = |screen: &Screen| screen.model.toasts.last().map(|t| t.text.clone());
    for keys in ["p", "cy", "jH"] {
        let screen = busy().keys("6").later(8).keys(keys);
        assert_eq!(told(&screen).as_deref(), Some("asked; the daemon has not answered yet"), "{keys}");
    }
    assert_eq!(told(&busy().later(8).keys("67r")), None, "what only looks is nothing to wait for");
    assert_eq!(told(&busy().keys("6p")), None);
}

#[test]
fn nobody_says_when_jobs_end_that_wait_in_a_paused_queue() {
    let row = |status| Screen::on(status, 120, 40).keys("6").text().lines().find(|l| l.contains(" 102 ")).unwrap().to_owned();
    let mut status = crowded(3);
    assert!(row(status.clone()).contains(" ~"), "{}", row(status));
    status.queue.paused = true;
    assert!(!row(status.clone()).contains('~'), "{}", row(status));
}
