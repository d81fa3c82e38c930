//! Finds things by a few of their letters.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// Returns the places of those that match, the best first; all of them, in order, for an empty pattern.
#[must_use]
pub fn rank<T>(typed: &str, all: &[T], text: impl Fn(&T) -> String) -> Vec<usize> {
    if typed.trim().is_empty() {
        return (0..all.len()).collect();
    }
    let pattern = Pattern::parse(typed, CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut scratch = Vec::new();
    let mut scored: Vec<(u32, usize)> = all
        .iter()
        .enumerate()
        .filter_map(|(at, item)| Some((pattern.score(Utf32Str::new(&text(item), &mut scratch), &mut matcher)?, at)))
        .collect();
    scored.sort_by_key(|(score, at)| (std::cmp::Reverse(*score), *at));
    scored.into_iter().map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_letters_find_the_likeliest_first() {
        let commands = ["queue pause", "quit", "queue cancel 42", "queue cancel others"];
        let found = |typed: &str| rank(typed, &commands, |c| (*c).to_owned()).into_iter().map(|i| commands[i]).collect::<Vec<_>>();
        assert_eq!(found("qc42"), ["queue cancel 42"]);
        assert_eq!(found("pause"), ["queue pause"]);
        assert_eq!(found(" ").len(), 4);
        assert!(found("zzz").is_empty());
    }
}
