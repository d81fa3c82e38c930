//! Screens as users see them: snapshots in two sizes and three states, each reached by keys.

use super::support::fixtures;
use super::support::screen::Screen;

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (160, 48);

fn compare(name: &str, text: String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Compares a screen in both sizes; `reach` leads to it.
fn check(name: &str, reach: impl Fn(u16, u16) -> Screen) {
    for (width, height) in [SMALL, LARGE] {
        compare(&format!("{name}_{width}x{height}"), reach(width, height).text());
    }
}

#[test]
fn overview() {
    check("overview_empty", |w, h| Screen::on(fixtures::empty(), w, h));
    check("overview_busy", |w, h| Screen::on(fixtures::busy(), w, h).keys("1"));
    check("overview_error", |w, h| Screen::on(fixtures::broken(), w, h).keys("1"));
}

#[test]
fn overview_when_there_is_nothing_to_tell_yet() {
    check("overview_first_second", Screen::open);
    check("overview_never_up", |w, h| Screen::open(w, h).down());
    check("overview_down", |w, h| Screen::on(fixtures::busy(), w, h).down().later(12));
}

#[test]
fn overview_without_gpus() {
    check("overview_no_driver", |w, h| {
        let mut status = fixtures::empty();
        status.devices.remove(0);
        status.host.gpu_problem = Some(fixtures::gpu_problem());
        (status.host.driver, status.host.cuda) = (None, None);
        Screen::on(status, w, h)
    });
}

#[test]
fn queue() {
    check("queue_empty", |w, h| Screen::on(fixtures::empty(), w, h).keys("6"));
    check("queue_busy", |w, h| Screen::on(fixtures::busy(), w, h).keys("6j "));
    check("queue_error", |w, h| Screen::on(fixtures::broken(), w, h).keys("6jjjj").down().later(8));
}

#[test]
fn job_details() {
    check("job_failed", |w, h| Screen::on(fixtures::broken(), w, h).keys("6jjjj<enter>"));
    check("job_done", |w, h| Screen::on(fixtures::busy(), w, h).keys("6G<enter>"));
}

#[test]
fn run() {
    check("run_empty", |w, h| Screen::on(fixtures::empty(), w, h).keys("7"));
    check("run_busy", |w, h| Screen::on(fixtures::busy(), w, h).keys("7ljia lighthouse, it's dusk<tab>fog<esc>jji12<esc>"));
    check("run_error", |w, h| Screen::on(fixtures::busy(), w, h).keys("7jia lighthouse<esc>jji513x512<tab>many<esc>Gi0.5<esc>").down());
}

#[test]
fn log() {
    check("log_empty", |w, h| {
        let mut screen = Screen::on(fixtures::empty(), w, h).keys("8");
        screen.model.known.log.clear();
        screen
    });
    check("log_busy", |w, h| Screen::on(fixtures::busy(), w, h).keys("8+"));
    check("log_error", |w, h| Screen::on(fixtures::broken(), w, h).keys("8/memory<enter>n").down().later(65));
}

#[test]
fn help_and_palette() {
    check("help", |w, h| Screen::on(fixtures::busy(), w, h).keys("6?"));
    check("palette", |w, h| Screen::on(fixtures::busy(), w, h).keys("6:queue 42"));
    check("confirm", |w, h| Screen::on(fixtures::busy(), w, h).keys("6c"));
    check("choices", |w, h| Screen::on(fixtures::busy(), w, h).keys("7<enter>"));
    check("device", |w, h| Screen::on(fixtures::busy(), w, h).keys("1<enter>"));
}
