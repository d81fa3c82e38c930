//! Weighted tokens to the windows of 77 that CLIP reads: a begin mark, at most 75 tokens, an end mark,
//! and end marks to the full length.
//!
//! The two rules for what does not fit differ, and so do the pictures: see [`Chunking`].

use super::clip_bpe::{BEGIN, COMMA, END, encode};
use super::token::TokenId;

/// Length of a window, marks included.
pub const WINDOW: usize = 77;
/// Tokens of text in a window.
pub const USABLE: usize = WINDOW - 2;
/// ComfyUI, `comfy/sd1_clip.py`: shorter groups are kept in one window.
const SPLITS_FROM: usize = 8;
/// A1111's default setting `comma_padding_backtrack`.
const COMMA_REACH: usize = 20;

/// A stretch of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Tokens of one weight.
    Words {
        /// The tokens, without marks.
        ids: Vec<TokenId>,
        /// How much they count; 1 is normal.
        weight: f64,
    },
    /// What follows starts a new window.
    Break,
}

impl Piece {
    /// Returns the piece of `text`.
    #[must_use]
    pub fn words(text: &str, weight: f64) -> Self {
        Self::Words { ids: encode(text), weight }
    }
}

/// The rule for pieces that do not fit into the rest of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chunking {
    /// A1111: windows are filled to the last place; but where the last comma is at most 20 tokens back,
    /// what follows it moves to the next window.
    #[default]
    A1111,
    /// ComfyUI: a piece of fewer than 8 tokens moves to the next window whole, a longer one is split.
    Comfy,
}

/// What an encoder reads at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Its tokens, [`WINDOW`] of them, marks included.
    pub ids: Vec<TokenId>,
    /// The weight of each; those of marks are 1.
    pub weights: Vec<f64>,
    /// How many are text.
    pub used: usize,
}

impl Window {
    /// Returns the window of no text: the one to weigh others against, and the filler where prompts
    /// have different numbers of windows.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(&[])
    }

    /// Returns its tokens with another filling behind the end mark.
    pub fn padded(&self, filling: TokenId) -> impl Iterator<Item = TokenId> {
        let text = self.used + 2;
        self.ids.iter().enumerate().map(move |(place, id)| if place < text { *id } else { filling })
    }

    /// Returns whether any weight matters.
    #[must_use]
    pub fn is_weighted(&self) -> bool {
        // Exact on purpose: a weight that was never touched is 1.0.
        self.weights.iter().any(|w| w.to_bits() != 1.0_f64.to_bits())
    }

    fn of(tokens: &[(TokenId, f64)]) -> Self {
        let mut ids = vec![END; WINDOW];
        let mut weights = vec![1.0; WINDOW];
        ids[0] = BEGIN;
        for (place, (id, weight)) in tokens.iter().take(USABLE).enumerate() {
            ids[place + 1] = *id;
            weights[place + 1] = *weight;
        }
        Self { ids, weights, used: tokens.len().min(USABLE) }
    }
}

/// Returns the windows of a prompt; never none.
#[must_use]
pub fn windows(pieces: &[Piece], chunking: Chunking) -> Vec<Window> {
    let mut filling = Filling::default();
    for piece in pieces {
        match piece {
            Piece::Break => filling.close(),
            Piece::Words { ids, weight } => match chunking {
                Chunking::A1111 => ids.iter().for_each(|id| filling.take_token(*id, *weight)),
                Chunking::Comfy => filling.take_group(ids, *weight),
            },
        }
    }
    filling.finish()
}

/// The window being filled, and those that are full.
#[derive(Default)]
struct Filling {
    full: Vec<Window>,
    current: Vec<(TokenId, f64)>,
    last_comma: Option<usize>,
}

impl Filling {
    fn close(&mut self) {
        self.full.push(Window::of(&self.current));
        self.current.clear();
        self.last_comma = None;
    }

    fn finish(mut self) -> Vec<Window> {
        if !self.current.is_empty() || self.full.is_empty() {
            self.close();
        }
        self.full
    }

    fn take_token(&mut self, id: TokenId, weight: f64) {
        if id == COMMA {
            self.last_comma = Some(self.current.len());
        } else if self.current.len() == USABLE
            && let Some(comma) = self.last_comma
            && USABLE - comma <= COMMA_REACH
        {
            let tail = self.current.split_off(comma + 1);
            self.close();
            self.current = tail;
        }
        if self.current.len() == USABLE {
            self.close();
        }
        self.current.push((id, weight));
    }

    fn take_group(&mut self, mut ids: &[TokenId], weight: f64) {
        let splits = ids.len() >= SPLITS_FROM;
        while ids.len() > USABLE - self.current.len() {
            if splits {
                let (fitting, rest) = ids.split_at(USABLE - self.current.len());
                self.current.extend(fitting.iter().map(|id| (*id, weight)));
                ids = rest;
            }
            self.close();
        }
        self.current.extend(ids.iter().map(|id| (*id, weight)));
    }
}

/// How much of its windows a prompt fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// Tokens of text.
    pub tokens: usize,
    /// Windows they fill.
    pub windows: usize,
    /// Tokens that would fit into as many windows.
    pub limit: usize,
}

impl TokenCount {
    /// Returns the count of windows already made.
    #[must_use]
    pub fn of(windows: &[Window]) -> Self {
        let tokens = windows.iter().map(|w| w.used).sum();
        Self { tokens, windows: windows.len(), limit: windows.len() * USABLE }
    }
}

/// Returns how much plain `text` fills: for a counter that follows typing. A prompt with weights is
/// parsed first and counted by [`windows`] and [`TokenCount::of`].
#[must_use]
pub fn count(text: &str) -> TokenCount {
    TokenCount::of(&windows(&[Piece::words(text, 1.0)], Chunking::default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAT: TokenId = TokenId(2368);

    fn words(n: usize) -> Piece {
        Piece::Words { ids: vec![CAT; n], weight: 1.0 }
    }

    fn comma() -> Piece {
        Piece::Words { ids: vec![COMMA], weight: 1.0 }
    }

    fn used(pieces: &[Piece], chunking: Chunking) -> Vec<usize> {
        windows(pieces, chunking).iter().map(|w| w.used).collect()
    }

    #[test]
    fn a_window_is_framed_and_filled_with_end_marks() {
        let windows = windows(&[Piece::words("a cat", 1.2), Piece::words(",", 1.0)], Chunking::A1111);
        assert_eq!(windows.len(), 1);
        assert_eq!(windows[0].ids[..6], [BEGIN, TokenId(320), CAT, COMMA, END, END]);
        assert_eq!(windows[0].weights[..5], [1.0, 1.2, 1.2, 1.0, 1.0]);
        assert_eq!((windows[0].ids.len(), windows[0].weights.len()), (77, 77));
        assert_eq!(windows[0].ids[76], END);
        assert!(windows[0].is_weighted() && !Window::empty().is_weighted());
    }

    #[test]
    fn nothing_is_one_empty_window() {
        for chunking in [Chunking::A1111, Chunking::Comfy] {
            assert_eq!(windows(&[], chunking), [Window::empty()]);
            assert_eq!(windows(&[words(0)], chunking), [Window::empty()]);
        }
    }

    #[test]
    fn a_break_ends_the_window_and_needs_text_after_it() {
        for chunking in [Chunking::A1111, Chunking::Comfy] {
            assert_eq!(used(&[words(3), Piece::Break, words(2)], chunking), [3, 2]);
            assert_eq!(used(&[words(3), Piece::Break], chunking), [3]);
            assert_eq!(used(&[Piece::Break, words(2)], chunking), [0, 2]);
            assert_eq!(used(&[words(75), Piece::Break, words(1)], chunking), [75, 1]);
        }
    }

    #[test]
    fn a1111_moves_what_follows_a_near_comma() {
        // The comma is token 60, so 15 tokens behind it fit and move when a 76th comes.
        assert_eq!(used(&[words(59), comma(), words(16)], Chunking::A1111), [60, 16]);
        assert_eq!(used(&[words(59), comma(), words(15)], Chunking::A1111), [75]);
        // At index 55 it is 20 back and near; at 54 it is too far.
        assert_eq!(used(&[words(55), comma(), words(20)], Chunking::A1111), [56, 20]);
        assert_eq!(used(&[words(54), comma(), words(21)], Chunking::A1111), [75, 1]);
        // Where the 76th is a comma itself, nothing moves.
        assert_eq!(used(&[words(59), comma(), words(15), comma(), words(1)], Chunking::A1111), [75, 2]);
        assert_eq!(used(&[words(74), comma(), words(1)], Chunking::A1111), [75, 1]);
    }

    #[test]
    fn comfy_keeps_short_groups_whole_and_splits_long_ones() {
        assert_eq!(used(&[words(70), words(7)], Chunking::Comfy), [70, 7]);
        assert_eq!(used(&[words(70), words(8)], Chunking::Comfy), [75, 3]);
        assert_eq!(used(&[words(75), words(8)], Chunking::Comfy), [75, 8]);
        assert_eq!(used(&[words(200)], Chunking::Comfy), [75, 75, 50]);
        assert_eq!(used(&[words(70), words(5), words(1)], Chunking::Comfy), [75, 1]);
    }

    #[test]
    fn counts_while_typing() {
        assert_eq!(count(""), TokenCount { tokens: 0, windows: 1, limit: 75 });
        assert_eq!(count("a photo of a cat"), TokenCount { tokens: 5, windows: 1, limit: 75 });
        assert_eq!(count(&"cat ".repeat(75)), TokenCount { tokens: 75, windows: 1, limit: 75 });
        assert_eq!(count(&"cat ".repeat(76)), TokenCount { tokens: 76, windows: 2, limit: 150 });
    }

    fn any_piece() -> impl Strategy<Value = Piece> {
        let id = prop_oneof![3 => Just(CAT), 1 => Just(COMMA)];
        prop_oneof![
            6 => (proptest::collection::vec(id, 0..100), 0.1..2.0_f64).prop_map(|(ids, weight)| Piece::Words { ids, weight }),
            1 => Just(Piece::Break),
        ]
    }

    proptest! {
        #[test]
        fn no_token_is_lost_or_moved(pieces in proptest::collection::vec(any_piece(), 0..8)) {
            let given: Vec<(TokenId, f64)> = pieces.iter().flat_map(|p| match p {
                Piece::Words { ids, weight } => ids.iter().map(|id| (*id, *weight)).collect(),
                Piece::Break => vec![],
            }).collect();
            for chunking in [Chunking::A1111, Chunking::Comfy] {
                let windows = windows(&pieces, chunking);
                let mut found = Vec::new();
                for window in &windows {
                    prop_assert!(window.ids.len() == WINDOW && window.weights.len() == WINDOW && window.used <= USABLE);
                    prop_assert_eq!(window.ids[0], BEGIN);
                    prop_assert!(window.ids[window.used + 1..].iter().all(|id| *id == END));
                    found.extend((1..=window.used).map(|i| (window.ids[i], window.weights[i])));
                }
                prop_assert_eq!(&found, &given);
            }
        }
    }
}
