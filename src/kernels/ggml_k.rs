//! The K types: sub-blocks are searched side by side, and each superblock is then laid out as `quant::ggml_k` does.

#![expect(clippy::inline_always, reason = "what is not part of the caller has not the caller's instructions")]

use super::ggml_lanes::{Lanes, MOST};
use super::ggml_search::Batch;
use crate::quant::ggml::LONG;
use crate::quant::ggml_fit::{SEARCH_2, SEARCH_4, SEARCH_5};
use crate::quant::ggml_k::{Found, store_q2, store_q3, store_q4, store_q5, store_q6};

/// Most numbers of sub-blocks that are searched together: sixteen of 32.
const MOST_TOGETHER: usize = MOST * 32;

/// A K type. No closures: a compiler need not make them part of their caller, and then they lack its instructions.
pub(super) trait Kind<const SUB: usize, const SIZE: usize, const BYTES: usize> {
    /// Searches every sub-block of a batch.
    fn search<L: Lanes>(batch: &mut Batch<SIZE>);
    /// Lays out a superblock.
    fn store(x: &[f32; LONG], found: &mut Found<SUB>, out: &mut [u8; BYTES]);
}

macro_rules! kinds {
    ($($kind:ident $sub:literal of $size:literal in $bytes:literal: $store:ident, |$batch:ident| $search:expr;)*) => {
        $(
            /// The type of this name.
            pub(super) struct $kind;

            impl Kind<$sub, $size, $bytes> for $kind {
                #[inline(always)]
                fn search<L: Lanes>($batch: &mut Batch<$size>) {
                    $search
                }

                #[inline(always)]
                fn store(x: &[f32; LONG], found: &mut Found<$sub>, out: &mut [u8; $bytes]) {
                    $store(x, found, out);
                }
            }
        )*
    };
}

kinds! {
    Q2 16 of 16 in 84: store_q2, |batch| {
        batch.weigh_magnitudes::<L>();
        batch.affine::<L>(&SEARCH_2);
    };
    Q3 16 of 16 in 110: store_q3, |batch| batch.swept::<L>();
    Q4 8 of 32 in 144: store_q4, |batch| {
        batch.weigh_above_root_mean_square::<L>();
        batch.affine::<L>(&SEARCH_4);
    };
    Q5 8 of 32 in 176: store_q5, |batch| {
        batch.weigh_above_root_mean_square::<L>();
        batch.affine::<L>(&SEARCH_5);
    };
    Q6 16 of 16 in 210: store_q6, |batch| batch.symmetric::<L>();
}

/// Takes as many superblocks at a time as fill the lanes, or the lanes as often as a superblock does.
#[inline(always)]
pub(super) fn store<L: Lanes, K: Kind<SUB, SIZE, BYTES>, const SUB: usize, const SIZE: usize, const BYTES: usize>(
    values: &[f32],
    out: &mut [u8],
) {
    let lanes = L::COUNT * SIZE;
    let together = lanes.max(LONG);
    let mut batch = Batch::new();
    let mut padded = [0.0; MOST_TOGETHER];
    for (values, out) in values.chunks(together).zip(out.chunks_mut(together / LONG * BYTES)) {
        let whole = if values.len() == together {
            values
        } else {
            padded[..values.len()].copy_from_slice(values);
            &padded[..together]
        };
        let mut found: [Found<SUB>; MOST_TOGETHER / LONG] = [Found::default(), Found::default()];
        for (turn, piece) in whole.chunks_exact(lanes).enumerate() {
            batch.take(piece);
            K::search::<L>(&mut batch);
            for lane in 0..L::COUNT {
                let sub = turn * L::COUNT + lane;
                let (found, sub) = (&mut found[sub / SUB], sub % SUB);
                found.scales[sub] = batch.scales[lane];
                found.minima[sub] = batch.minima[lane];
                batch.levels(lane, &mut found.levels[sub * SIZE..][..SIZE]);
            }
        }
        let (values, _) = values.as_chunks();
        let (out, _) = out.as_chunks_mut();
        for ((x, out), found) in values.iter().zip(out).zip(&mut found) {
            K::store(x, found, out);
        }
    }
}
