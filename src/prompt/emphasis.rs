//! Marks to weighted segments.

use super::dialect::Dialect;
use super::syntax::{Mark, Strength, marks};

/// A stretch of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Segment {
    /// Words of one weight, never none. Tokens are made of each segment alone.
    Text {
        /// The words, free of syntax.
        text: String,
        /// How much they count; 1 is normal.
        weight: f64,
    },
    /// What follows starts a new window.
    Break,
}

/// The largest weight, either way: a thousand levels of brackets must not become infinity.
const LARGEST: f64 = 1e6;
/// Weights closer than this are one: `[(a)]` is the plain `a`.
const SAME: f64 = 1e-9;

/// Returns the segments of a prompt. Every text is a prompt; what is not syntax is words.
///
/// Neighbours of one weight are one segment in [`Dialect::A1111`], so `(cat)(walk)` is one word; in
/// [`Dialect::Comfy`] brackets part them.
#[must_use]
pub fn parse(text: &str, dialect: Dialect) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut weights = vec![1.0_f64];
    let mut joins = false;
    for mark in marks(text, dialect) {
        let weight = weights.last().copied().unwrap_or(1.0);
        match mark {
            Mark::Text(text) => {
                add(&mut segments, text, weight, joins);
                joins = true;
            }
            Mark::Break => {
                segments.push(Segment::Break);
                joins = false;
            }
            Mark::Open(strength) => {
                weights.push(inside(strength, weight));
                joins &= brackets_join(dialect);
            }
            Mark::Close => {
                weights.pop();
                joins &= brackets_join(dialect);
            }
        }
    }
    segments
}

fn inside(strength: Strength, around: f64) -> f64 {
    let weight = match strength {
        Strength::Times(factor) => around * factor,
        Strength::Exactly(weight) => weight,
    };
    weight.clamp(-LARGEST, LARGEST)
}

fn brackets_join(dialect: Dialect) -> bool {
    match dialect {
        Dialect::A1111 => true,
        Dialect::Comfy => false,
    }
}

fn add(segments: &mut Vec<Segment>, text: String, weight: f64, joins: bool) {
    match segments.last_mut() {
        Some(Segment::Text { text: before, weight: same }) if joins && (*same - weight).abs() <= SAME * same.abs() => {
            before.push_str(&text);
        }
        Some(Segment::Text { .. } | Segment::Break) | None => segments.push(Segment::Text { text, weight }),
    }
}

/// Returns `text` so written that [`parse`] gives just these words back, at weight 1 and without a break.
#[must_use]
pub fn escape(text: &str, dialect: Dialect) -> String {
    let special = match dialect {
        Dialect::A1111 => "()[]\\",
        Dialect::Comfy => "()",
    };
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    match dialect {
        // A backslash that protects nothing vanishes, and the word with it inside is no BREAK.
        Dialect::A1111 => escaped.replace("BREAK", r"B\REAK"),
        Dialect::Comfy => escaped,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, dialect: Dialect, expected: &[(&str, f64)]) {
        let found: Vec<(String, f64)> = parse(text, dialect)
            .into_iter()
            .map(|segment| match segment {
                Segment::Text { text, weight } => (text, weight),
                Segment::Break => ("BREAK".to_owned(), -1.0),
            })
            .collect();
        let same = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.0 == e.0 && (f.1 - e.1).abs() < 1e-12);
        assert!(same, "{text:?} in {dialect}: {found:?} is not {expected:?}");
    }

    /// The examples in A1111's `modules/prompt_parser.py`, at `parse_prompt_attention`.
    #[test]
    fn the_documented_examples_of_a1111() {
        check("normal text", Dialect::A1111, &[("normal text", 1.0)]);
        check("an (important) word", Dialect::A1111, &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]);
        check(r"\(literal\]", Dialect::A1111, &[("(literal]", 1.0)]);
        check("(unnecessary)(parens)", Dialect::A1111, &[("unnecessaryparens", 1.1)]);
    }

    /// Two more of its examples leave a bracket open, which A1111 takes to reach to the end of the
    /// prompt. Here it is text, so all that came after is a level lower; with the bracket closed the
    /// weights are the documented ones to the last digit but the sum's order.
    #[test]
    fn an_unclosed_bracket_is_text_where_a1111_lets_it_reach_to_the_end() {
        check("(unbalanced", Dialect::A1111, &[("(unbalanced", 1.0)]);
        check("(unbalanced)", Dialect::A1111, &[("unbalanced", 1.1)]);

        let example = "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).";
        let documented = [
            ("a ", 1.0),
            ("house", 1.573),
            (" ", 1.1),
            ("on", 1.0),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641),
            (".", 1.1),
        ];
        check(&format!("{example})"), Dialect::A1111, &documented);
        let mut level_lower = documented.map(|(text, weight)| (text, weight / 1.1));
        level_lower[0] = ("a (", 1.0);
        check(example, Dialect::A1111, &level_lower);
    }

    #[test]
    fn comfy_numbers_replace_and_a1111_numbers_multiply() {
        check("((a:1.3) b)", Dialect::Comfy, &[("a", 1.3), (" b", 1.1)]);
        check("((a:1.3) b)", Dialect::A1111, &[("a", 1.43), (" b", 1.1)]);
        check("((a):1.3)", Dialect::Comfy, &[("a", 1.43)]);
        check("((a):1.3)", Dialect::A1111, &[("a", 1.43)]);
        check("(x (y:0.5) (z))", Dialect::Comfy, &[("x ", 1.1), ("y", 0.5), (" ", 1.1), ("z", 1.21)]);
    }

    #[test]
    fn brackets_part_words_in_comfy_only() {
        check("(cat)(walk)", Dialect::A1111, &[("catwalk", 1.1)]);
        check("(cat)(walk)", Dialect::Comfy, &[("cat", 1.1), ("walk", 1.1)]);
        check("cat(walk:1)", Dialect::A1111, &[("catwalk", 1.0)]);
        check("cat(walk:1)", Dialect::Comfy, &[("cat", 1.0), ("walk", 1.0)]);
        check("[(a)] b", Dialect::A1111, &[("a b", 1.0)]);
        check("a ( b", Dialect::Comfy, &[("a ( b", 1.0)]);
    }

    #[test]
    fn a_break_parts_segments_of_one_weight() {
        check("a BREAK b", Dialect::A1111, &[("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]);
        check("(a BREAK b:1.2)", Dialect::A1111, &[("a", 1.2), ("BREAK", -1.0), ("b", 1.2)]);
    }

    #[test]
    fn nothing_is_no_segment() {
        for dialect in Dialect::ALL {
            check("", *dialect, &[]);
            check("()", *dialect, &[]);
        }
        check("(:1.5)[]", Dialect::A1111, &[]);
    }

    #[test]
    fn deep_brackets_cost_neither_stack_nor_infinity() {
        for dialect in Dialect::ALL {
            let text = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
            check(&text, *dialect, &[("a", LARGEST)]);
            let open = "[".repeat(100_000) + &")".repeat(100_000);
            assert_eq!(parse(&open, *dialect), [Segment::Text { text: open, weight: 1.0 }]);
        }
        let zeros = format!("{}a{}", "(".repeat(9), ":99999999999999999999)".repeat(9));
        check(&zeros, Dialect::A1111, &[("a", LARGEST)]);
    }

    fn words(segments: &[Segment]) -> String {
        let text = |segment: &Segment| match segment {
            Segment::Text { text, .. } => text.clone(),
            Segment::Break => "BREAK".to_owned(),
        };
        segments.iter().map(text).collect()
    }

    fn syntax_soup() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            proptest::sample::select(vec!["(", ")", "[", "]", "\\", ":", "1.2", "-", " ", "BREAK", "a", "é", "\n", ":1.3)"])
                .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_text_is_a_prompt(text in syntax_soup()) {
            for dialect in Dialect::ALL {
                for segment in parse(&text, *dialect) {
                    if let Segment::Text { text, weight } = segment {
                        prop_assert!(!text.is_empty() && weight.is_finite());
                    }
                }
            }
        }

        #[test]
        fn escaped_text_is_its_own_words(text in syntax_soup()) {
            for dialect in Dialect::ALL {
                let segments = parse(&escape(&text, *dialect), *dialect);
                prop_assert_eq!(words(&segments), text.clone());
                prop_assert!(segments.len() <= 1);
            }
        }

        #[test]
        fn text_without_syntax_is_one_segment(text in "[^()\\[\\]\\\\B]+") {
            for dialect in Dialect::ALL {
                prop_assert_eq!(parse(&text, *dialect), [Segment::Text { text: text.clone(), weight: 1.0 }]);
            }
        }

        #[test]
        fn a_level_of_brackets_multiplies_every_weight(text in "[a-z (),\\[\\]]{0,30}") {
            let plain = parse(&format!("x{text}x"), Dialect::A1111);
            // Only where the text's own brackets are whole does a pair around it stay a pair.
            if !words(&plain).contains(['(', ')', '[', ']']) {
                let stronger = parse(&format!("(x{text}x)"), Dialect::A1111);
                prop_assert_eq!(plain.len(), stronger.len());
                for (a, b) in plain.iter().zip(&stronger) {
                    let (Segment::Text { weight: a, .. }, Segment::Text { weight: b, .. }) = (a, b) else { continue };
                    prop_assert!((a * 1.1 - b).abs() < 1e-9);
                }
            }
        }
    }
}
