//! How SDNQ lays codes of odd widths into words (`sdnq/packed_int/pack.py`): most codes keep the low bits of a word to
//! themselves, and the last codes of a group are spread over the high bits. The first code has the lowest bits.

use super::QuantError;
use super::error::part;

/// Packs unsigned codes of 1 to 8 bits. Their count is a multiple of what the width stores together.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn pack(bits: u32, codes: &[u8], packed: &mut [u8]) -> Result<(), QuantError> {
    let (together, bytes) = super::sdnq_type::WeightsType::integers(bits, false).together();
    fits(codes.len(), packed.len(), together, bytes)?;
    match bits {
        1 => groups(codes, packed, |v: &[u8; 8]| {
            let byte = v.iter().enumerate().fold(0, |sum, (i, v)| sum | v << i);
            [byte, 0, 0, 0, 0, 0, 0, 0]
        }),
        2 => groups(codes, packed, |v: &[u8; 4]| [v[0] | v[1] << 2 | v[2] << 4 | v[3] << 6]),
        3 => groups(codes, packed, |v: &[u8; 8]| {
            let high = (v[6] >> 2) << 6 | (v[7] >> 2) << 7;
            [v[0] | v[3] << 3 | v[6] << 6, v[1] | v[4] << 3 | v[7] << 6, v[2] | v[5] << 3 | high]
        }),
        4 => groups(codes, packed, |v: &[u8; 2]| [v[0] | v[1] << 4]),
        5 => groups(codes, packed, |v: &[u8; 8]| {
            let high = |v: u8| ((v >> 3) & 3) << 5;
            let fifth = v[3] | high(v[5]) | (v[7] >> 4) << 7;
            let last = v[4] | high(v[6]) | ((v[7] >> 3) & 1) << 7;
            [v[0] | v[5] << 5, v[1] | v[6] << 5, v[2] | v[7] << 5, fifth, last]
        }),
        6 => groups(codes, packed, |v: &[u8; 4]| [v[0] | (v[3] >> 4) << 6, v[1] | (v[3] >> 2) << 6, v[2] | v[3] << 6]),
        7 => groups(codes, packed, |v: &[u8; 8]| {
            let bit = |at: usize| v[7] << (at + 1) & 0x80;
            [v[0] | bit(0), v[1] | bit(1), v[2] | bit(2), v[3] | bit(3), v[4] | bit(4), v[5] | bit(5), v[6] | bit(6)]
        }),
        _ => packed.copy_from_slice(codes),
    }
    Ok(())
}

/// Unpacks unsigned codes of 1 to 8 bits.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn unpack(bits: u32, packed: &[u8], codes: &mut [u8]) -> Result<(), QuantError> {
    let (together, bytes) = super::sdnq_type::WeightsType::integers(bits, false).together();
    fits(codes.len(), packed.len(), together, bytes)?;
    match bits {
        1 => groups(packed, codes, |b: &[u8; 8]| std::array::from_fn::<u8, 8, _>(|i| b[0] >> i & 1)),
        2 => groups(packed, codes, |b: &[u8; 1]| [b[0] & 3, b[0] >> 2 & 3, b[0] >> 4 & 3, b[0] >> 6]),
        3 => groups(packed, codes, |b: &[u8; 3]| {
            let sixth = b[0] >> 6 | (b[2] >> 6 & 1) << 2;
            let last = b[1] >> 6 | (b[2] >> 7) << 2;
            [b[0] & 7, b[1] & 7, b[2] & 7, b[0] >> 3 & 7, b[1] >> 3 & 7, b[2] >> 3 & 7, sixth, last]
        }),
        4 => groups(packed, codes, |b: &[u8; 1]| [b[0] & 15, b[0] >> 4]),
        5 => groups(packed, codes, |b: &[u8; 5]| {
            let high = |b: u8| (b >> 5 & 3) << 3;
            let last = b[2] >> 5 | (b[4] >> 7) << 3 | (b[3] >> 7) << 4;
            let low = |b: u8| b & 31;
            [low(b[0]), low(b[1]), low(b[2]), low(b[3]), low(b[4]), b[0] >> 5 | high(b[3]), b[1] >> 5 | high(b[4]), last]
        }),
        6 => groups(packed, codes, |b: &[u8; 3]| [b[0] & 63, b[1] & 63, b[2] & 63, (b[0] >> 6) << 4 | (b[1] >> 6) << 2 | b[2] >> 6]),
        7 => groups(packed, codes, |b: &[u8; 7]| {
            let last = b.iter().enumerate().fold(0, |sum, (i, b)| sum | (b & 0x80) >> (i + 1));
            [b[0] & 127, b[1] & 127, b[2] & 127, b[3] & 127, b[4] & 127, b[5] & 127, b[6] & 127, last]
        }),
        _ => codes.copy_from_slice(packed),
    }
    Ok(())
}

/// Unpacks unsigned codes of 9 to 16 bits from words of 16, little-endian.
pub fn unpack_wide(bits: u32, packed: &[u8], codes: &mut [u16]) -> Result<(), QuantError> {
    let (together, bytes) = super::sdnq_type::WeightsType::integers(bits, false).together();
    fits(codes.len(), packed.len(), together, bytes)?;
    let pieces = pieces(bits);
    // The first codes have a word of their own, but for the words of 9 and 11 bits that hold nothing but pieces.
    let owners = if matches!(bits, 9 | 11) { 8 } else { bytes / 2 };
    let own = if bits == 16 { u16::MAX } else { (1 << bits) - 1 };
    for (codes, packed) in codes.chunks_exact_mut(together).zip(packed.chunks_exact(bytes)) {
        let mut words = [0_u16; 16];
        for (word, stored) in words.iter_mut().zip(packed.as_chunks().0) {
            *word = u16::from_le_bytes(*stored);
        }
        for (at, code) in codes.iter_mut().enumerate() {
            *code = if at < owners { words[at] & own } else { 0 };
        }
        for piece in &pieces {
            let part = words[piece.word] >> piece.shift & ((1 << piece.width) - 1);
            codes[piece.code] |= part << piece.at;
        }
    }
    Ok(())
}

/// Bits of a code that lie in a word of others.
#[derive(Debug, Clone, Copy)]
struct Piece {
    code: usize,
    /// The lowest of the bits in the code, and how many they are.
    at: u32,
    width: u32,
    word: usize,
    /// The lowest of the bits in the word.
    shift: u32,
}

/// Returns where the codes lie that have no word of their own.
fn pieces(bits: u32) -> Vec<Piece> {
    let piece = |code, at, width, word, shift| Piece { code, at, width, word, shift };
    match bits {
        9 => (0..8).flat_map(|i| [piece(8 + i, 0, 7, i, 9), piece(8 + i, 7, 2, 8, 2 * i as u32)]).collect(),
        10 => vec![
            piece(5, 0, 6, 0, 10),
            piece(6, 0, 6, 1, 10),
            piece(7, 0, 6, 2, 10),
            piece(5, 6, 4, 3, 10),
            piece(7, 8, 2, 3, 14),
            piece(6, 6, 4, 4, 10),
            piece(7, 6, 2, 4, 14),
        ],
        11 => {
            let low = (0..8).map(|i| piece(8 + i, 0, 5, i, 11));
            let high = (0..3).flat_map(|j| [piece(8 + j, 5, 6, 8 + j, 0), piece(11 + j, 5, 6, 8 + j, 6)]);
            let last = [piece(14, 5, 4, 8, 12), piece(15, 5, 4, 9, 12), piece(14, 9, 2, 10, 12), piece(15, 9, 2, 10, 14)];
            low.chain(high).chain(last).collect()
        }
        12 => vec![piece(3, 8, 4, 0, 12), piece(3, 4, 4, 1, 12), piece(3, 0, 4, 2, 12)],
        13 => {
            let triples = (0..4).flat_map(|k| (0..3).map(move |j| piece(13 + j, 3 * k as u32, 3, 3 * k + j, 13)));
            triples.chain((0..3).map(|j| piece(13 + j, 12, 1, 12, 13 + j as u32))).collect()
        }
        14 => (0..7).map(|i| piece(7, 12 - 2 * i as u32, 2, i, 14)).collect(),
        15 => (0..15).map(|i| piece(15, 14 - i as u32, 1, i, 15)).collect(),
        _ => Vec::new(),
    }
}

/// Brings each group of `A` through `change`.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn groups<const A: usize, const B: usize>(from: &[u8], to: &mut [u8], change: impl Fn(&[u8; A]) -> [u8; B]) {
    for (to, from) in to.as_chunks_mut().0.iter_mut().zip(from.as_chunks().0) {
        *to = change(from);
    }
}

fn fits(codes: usize, packed: usize, together: usize, bytes: usize) -> Result<(), QuantError> {
    if !codes.is_multiple_of(together) {
        return Err(QuantError::Group { values: codes, group: together });
    }
    part("the packed weight", codes / together * bytes, packed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sdnq_type::WeightsType;
    use super::*;

    #[test]
    fn words_are_those_of_the_reference() {
        let packed = |bits: u32| {
            let codes: Vec<u8> = (0..16_u32).map(|i| ((i * 7919) & ((1 << bits) - 1)) as u8).collect();
            let mut packed = vec![0; WeightsType::integers(bits, false).bytes_of(16).unwrap()];
            pack(bits, &codes, &mut packed).unwrap();
            packed.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(packed(3), "a8 67 1e a8 67 1e");
        assert_eq!(packed(4), "f0 de bc 9a 78 56 34 12");
        assert_eq!(packed(5), "60 4f 3e 2d fc 78 47 36 05 54");
        assert_eq!(packed(6), "00 ef 5e 3c ab 5a 38 67 56 34 23 52");
        assert_eq!(packed(7), "00 6f 5e cd 3c 2b 9a 78 67 56 45 34 23 92");
    }

    /// Every bit of every code lies in one place, and no place has two.
    #[test]
    fn pieces_of_wide_codes_fill_the_words_once() {
        for bits in 9..=16 {
            let (together, bytes) = WeightsType::integers(bits, false).together();
            let mut seen = 0;
            for at in 0..8 * bytes {
                let mut packed = vec![0_u8; bytes];
                packed[at / 8] = 1 << (at % 8);
                let mut codes = vec![0; together];
                unpack_wide(bits, &packed, &mut codes).unwrap();
                let ones: u32 = codes.iter().map(|c| c.count_ones()).sum();
                assert!(ones <= 1 && codes.iter().all(|c| u32::from(*c) < 1 << bits), "{bits} {at}");
                seen += ones as usize;
            }
            assert_eq!(seen, together * bits as usize, "{bits}");
        }
    }

    #[test]
    fn codes_that_fill_no_words_are_refused() {
        assert_eq!(pack(3, &[0; 7], &mut [0; 3]), Err(QuantError::Group { values: 7, group: 8 }));
        let refused = unpack(6, &[0; 4], &mut [0; 4]);
        assert_eq!(refused, Err(QuantError::Part { what: "the packed weight", expected: 3, found: 4 }));
        assert!(unpack_wide(9, &[0; 17], &mut [0; 16]).is_err());
    }

    proptest! {
        #[test]
        fn codes_come_back(bits in 1_u32..=8, groups in 0_usize..9, seed in prop::collection::vec(any::<u8>(), 64)) {
            let kind = WeightsType::integers(bits, false);
            let codes: Vec<u8> = seed[..groups * 8 / kind.together().0 * kind.together().0].iter().map(|c| c >> (8 - bits)).collect();
            let mut packed = vec![0; kind.bytes_of(codes.len()).unwrap()];
            pack(bits, &codes, &mut packed).unwrap();
            let mut back = vec![0; codes.len()];
            unpack(bits, &packed, &mut back).unwrap();
            prop_assert_eq!(back, codes);
        }
    }
}
