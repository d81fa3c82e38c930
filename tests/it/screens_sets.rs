//! Model sets as users see them.

use perilune::tui::Options;
use perilune::wire::Status;

use super::screens::{Styles, check, check_everywhere};
use super::support::fixtures;
use super::support::screen::{Screen, options};

fn on(status: Status, options: Options, width: u16, height: u16) -> Screen {
    Screen::with(options, width, height).told(status).keys("3")
}

#[test]
fn sets() {
    check_everywhere("sets_empty", Styles::Not, |options, w, h| on(fixtures::empty(), options, w, h));
    check_everywhere("sets_busy", Styles::Too, |options, w, h| on(fixtures::busy(), options, w, h).keys("j"));
    check_everywhere("sets_error", Styles::Not, |options, w, h| {
        let mut status = fixtures::broken();
        status.sets[0].components[0].bytes = perilune::units::Bytes::gib(3);
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
