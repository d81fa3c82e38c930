//! The text of a strange picture: taken apart, and what is read from it can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perilune::imagery::{Parameters, a1111_text, text_chunks};

fuzz_target!(|text: &str| {
    if let Ok(made) = a1111_text::parse(text).and_then(|read| read.parameters()) {
        let written = a1111_text::render(&made);
        a1111_text::parse(&written).expect("what we write is a text of ours");
        drop(text_chunks(&made));
    }
    if let Ok(made) = Parameters::from_json(text) {
        let again = Parameters::from_json(&made.to_json().expect("parameters are JSON"));
        assert_eq!(again, Ok(made));
    }
});
