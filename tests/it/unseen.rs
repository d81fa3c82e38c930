//! What cannot be seen: it is not acted upon, and it is said that it is there.

use perilune::tui::effect::Effect;
use perilune::tui::message::Message;
use perilune::tui::pointer::{Gesture, Pointer};
use perilune::tui::screens::Screen as Which;

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
