//! Weighted tokens to the one sequence that T5 reads: tokens, an end mark, and padding.

use super::token::TokenId;

/// The mark after every text.
pub const END: TokenId = TokenId(1);
/// What fills a sequence up.
pub const PAD: TokenId = TokenId(0);

/// How long a sequence is, its end mark counted. Programs differ, and so do the pictures.
///
/// | | diffusers | ComfyUI |
/// |---|---|---|
/// | SD3 | 256 exactly | 77 at least |
/// | Flux.1 dev | 512 exactly | 256 at least |
/// | Flux.1 schnell | 256 exactly | 256 at least |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// Shorter texts are filled up to this.
    pub least: usize,
    /// Longer ones are cut; the end mark stays.
    pub most: Option<usize>,
}

impl Length {
    /// Returns the rule for sequences that all have this length.
    #[must_use]
    pub fn exactly(length: usize) -> Self {
        Self { least: length, most: Some(length) }
    }

    /// Returns the rule for sequences of at least this length.
    #[must_use]
    pub fn at_least(length: usize) -> Self {
        Self { least: length, most: None }
    }
}

/// What T5 reads at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Its tokens, with end mark and padding.
    pub ids: Vec<TokenId>,
    /// The weight of each; those of mark and padding are 1.
    pub weights: Vec<f64>,
    /// How many are text.
    pub used: usize,
    /// How many tokens of text were cut off.
    pub cut: usize,
}

impl Sequence {
    /// Returns the sequence of these pieces, each of one weight.
    #[must_use]
    pub fn of(pieces: &[(Vec<TokenId>, f64)], length: Length) -> Self {
        let all = || pieces.iter().flat_map(|(ids, weight)| ids.iter().map(move |id| (*id, *weight)));
        let count = all().count();
        let used = length.most.map_or(count, |most| count.min(most.saturating_sub(1)));
        let (mut ids, mut weights): (Vec<_>, Vec<_>) = all().take(used).unzip();
        ids.push(END);
        ids.resize(ids.len().max(length.least), PAD);
        weights.resize(ids.len(), 1.0);
        Self { ids, weights, used, cut: count - used }
    }

    /// Returns the sequence of no text and of the same length: the one to weigh it against.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::of(&[], Length::exactly(self.ids.len()))
    }

    /// Returns whether any weight matters.
    #[must_use]
    pub fn is_weighted(&self) -> bool {
        // Exact on purpose: a weight that was never touched is 1.0.
        self.weights.iter().any(|w| w.to_bits() != 1.0_f64.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u32]) -> Vec<TokenId> {
        numbers.iter().map(|n| TokenId(*n)).collect()
    }

    #[test]
    fn texts_are_ended_and_filled_up_or_cut() {
        let pieces = [(ids(&[5, 6]), 1.0), (ids(&[7]), 1.5)];
        let filled = Sequence::of(&pieces, Length::at_least(6));
        assert_eq!(filled.ids, ids(&[5, 6, 7, 1, 0, 0]));
        assert_eq!(filled.weights, [1.0, 1.0, 1.5, 1.0, 1.0, 1.0]);
        assert_eq!((filled.used, filled.cut, filled.is_weighted()), (3, 0, true));
        assert_eq!(filled.emptied().ids, ids(&[1, 0, 0, 0, 0, 0]));
        let cut = Sequence::of(&pieces, Length::exactly(3));
        assert_eq!((cut.ids.clone(), cut.used, cut.cut, cut.is_weighted()), (ids(&[5, 6, 1]), 2, 1, false));
        let long = Sequence::of(&pieces, Length::at_least(2));
        assert_eq!(long.ids, ids(&[5, 6, 7, 1]));
        assert_eq!(Sequence::of(&[], Length::at_least(0)).ids, ids(&[1]));
    }
}
