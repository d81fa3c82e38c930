//! A prompt: every text is one, its weights are numbers, and escaped it means itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perilune::prompt::{Dialect, Segment, escape, parse};
use perilune::tokens::count;

fuzz_target!(|text: &str| {
    for dialect in Dialect::ALL {
        let finite = |segment: &Segment| matches!(segment, Segment::Text { weight, .. } if weight.is_finite());
        assert!(parse(text, *dialect).iter().all(|s| *s == Segment::Break || finite(s)));
        let escaped = parse(&escape(text, *dialect), *dialect);
        let itself = [Segment::Text { text: text.to_owned(), weight: 1.0 }];
        assert!(escaped == itself || (text.is_empty() && escaped.is_empty()));
    }
    std::hint::black_box(count(text));
});
