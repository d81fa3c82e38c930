//! How much a pass through a transformer computes, block by block.
//!
//! A weight is used once for every token that passes it, which is a multiplication and an addition; attention adds its two
//! products of tokens with tokens. Norms and activations are not counted.

use super::cost::Work;
use crate::weights::{BlockKind, BlockTable, Code, Effort};

/// What passes through a weight in a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Nothing: it is looked up or added.
    Never,
    /// One row for the whole picture, such as the time.
    Once,
    /// So many tokens.
    Tokens(u64),
    /// So many tokens, and what comes out attends: the first matrix of an attention.
    Attention {
        /// Tokens that pass the weight.
        tokens: u64,
        /// Width of what attends.
        width: u64,
        /// Tokens that attend to one another.
        all: u64,
    },
}

/// Returns what each block of a transformer computes in a step, in the table's order; `pass` says what passes a weight, by its
/// name.
pub(super) fn transformer_efforts(table: &BlockTable, work: Work, pass: impl Fn(&str) -> Pass) -> Vec<Effort> {
    let rows = work.rows as f64;
    let of_block = |block: &crate::weights::Block| {
        let mut effort = Effort::default();
        let weights = block.params.iter().filter(|p| p.entry.coded.as_ref().is_none_or(|c| c.code != Code::Part));
        for param in weights.filter(|p| p.entry.shape.rank() >= 2) {
            let tokens = match pass(&param.name) {
                Pass::Never => 0,
                Pass::Once => 1,
                Pass::Tokens(tokens) => tokens,
                Pass::Attention { tokens, width, all } => {
                    effort.add(BlockKind::Attention, 4.0 * all as f64 * all as f64 * width as f64 * rows);
                    tokens
                }
            };
            effort.add(kind_of(&param.name), 2.0 * param.entry.elements() as f64 * tokens as f64 * rows);
        }
        effort
    };
    table.blocks().iter().map(of_block).collect()
}

/// What a weight of this name is used for.
fn kind_of(tensor: &str) -> BlockKind {
    let attends = |part: &str| matches!(part, "q" | "k" | "v" | "attention") || part.ends_with("attn") || part.ends_with("attn2");
    if tensor.split('.').any(attends) { BlockKind::Attention } else { BlockKind::FeedForward }
}
