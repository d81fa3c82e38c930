//! The vector that every reference program was given, and the short form of a digest.

use sha2::{Digest, Sha256};

/// Numbers of about a normal distribution, with a stretch of zeros, of a constant, of tiny and of positive numbers.
pub(super) fn input() -> Vec<f32> {
    let mut state = 1_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as i64
    };
    let mut values = Vec::with_capacity(4096);
    for _ in 0..4096 {
        let sum = draw() + draw() + draw() + draw() - 2 * ((1 << 24) - 1);
        values.push(sum as f32 * 2.0_f32.powi(-29));
    }
    values[1280..1536].fill(0.0);
    values[1536..1792].fill(0.01);
    values[1792..2048].iter_mut().for_each(|v| *v *= 2.0_f32.powi(-20));
    values[2048..2304].iter_mut().for_each(|v| *v = v.abs());
    values
}

/// Returns the first 16 digits of the bytes' SHA-256.
pub(super) fn hash(bytes: &[u8]) -> String {
    let first = Sha256::digest(bytes).iter().take(8).fold(0, |sum, b| sum << 8 | u64::from(*b));
    format!("{first:016x}")
}

/// Returns the hash of singles, little-endian.
pub(super) fn hash_f32(values: &[f32]) -> String {
    hash(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

#[test]
fn the_input_is_the_one_that_the_digests_are_of() {
    let values = input();
    let first: Vec<u32> = values[..4].iter().map(|v| v.to_bits()).collect();
    assert_eq!(first, [0xBA94_1D30, 0xBB2D_7008, 0x3C23_AE5E, 0x3B40_FED8]);
    assert_eq!(hash_f32(&values), "5fe91fda05b80700");
}
