//! A filter: every text is one or is refused at a place within it, whichever list it is for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perilune::tui::filter::{Filtered, Value, parse};
use perilune::tui::screens::Screen;
use perilune::tui::searching::fields;

/// A row of which only its line is known.
struct Row;

impl Filtered for Row {
    fn line(&self) -> String {
        "41 failed ana a lighthouse at dusk".to_owned()
    }

    fn value(&self, _field: &str) -> Value {
        Value::Unknown
    }
}

fuzz_target!(|text: &str| {
    for fields in Screen::ALL.iter().filter_map(|screen| fields(*screen)) {
        match parse(text, fields) {
            Ok(filter) => assert_eq!(filter.matches(&Row), filter.matches(&Row)),
            Err(error) => assert!(text.is_char_boundary(error.at)),
        }
    }
});
