//! The floats of SDNQ that files have no type for, of 1 to 16 bits (`sdnq/packed_float.py`).
//!
//! They have no infinities and no codes that are no numbers. Rounding looks at four bits behind the mantissa only, and a number that
//! is rounded up and still below the normal ones is rounded once more: the reference does so, and its bits are these.

/// How a float is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) exponent: u32,
    pub(super) mantissa: u32,
    pub(super) signed: bool,
}

impl Layout {
    /// Returns the code of a number within the range.
    #[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
    #[inline(always)]
    pub(super) fn code(self, value: f32) -> u16 {
        let drop = 23 - self.mantissa;
        let mut bits = value.to_bits();
        let behind = bits & (0b1111 << (drop - 4));
        bits = bits.wrapping_add(u32::from(behind > 1 << (drop - 1)) << drop);
        let magnitude = f32::from_bits(bits & super::floats::MAGNITUDE);
        if magnitude < self.least_normal() {
            // Below 2^(mantissa + 1), so that the sum that rounds is exact.
            let steps = magnitude * (2.0_f32.powi(self.mantissa as i32) / self.least_normal());
            let count = (steps + super::ROUNDER).to_bits() - super::ROUNDER.to_bits();
            bits = (bits & !super::floats::MAGNITUDE) | count << drop;
        }
        // Of the exponent's 8 bits the highest and the lowest remain, the sign before them.
        let shifted = bits.cast_signed() >> drop;
        let total = self.total();
        let upper = if self.signed { 0b11 << (total - 2) } else { 1 << (total - 1) };
        let code = (shifted >> (8 - self.exponent) & upper) | (shifted & !upper);
        (code.cast_unsigned() & ((1 << total) - 1)) as u16
    }

    /// Returns the number that a code stands for. Files of versions before 0.2.2 have no subnormals.
    #[inline]
    pub(super) fn value(self, code: u16, subnormals: bool) -> f32 {
        let code = i32::from(code);
        let fields = code & ((1 << (self.exponent + self.mantissa)) - 1);
        let (exponent, rest) = (fields >> self.mantissa, fields & ((1 << self.mantissa) - 1));
        let fraction = rest as f32 * 2.0_f32.powi(-(self.mantissa as i32));
        let magnitude = match exponent {
            // There is no negative 0.
            0 if rest == 0 => return 0.0,
            0 if subnormals => fraction * self.least_normal(),
            e => (1.0 + fraction) * 2.0_f32.powi(e - self.bias()),
        };
        if self.signed && code >> (self.exponent + self.mantissa) & 1 == 1 { -magnitude } else { magnitude }
    }

    fn total(self) -> u32 {
        self.exponent + self.mantissa + u32::from(self.signed)
    }

    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    fn least_normal(self) -> f32 {
        2.0_f32.powi(1 - self.bias())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(exponent: u32, mantissa: u32, subnormals: bool) -> Vec<f32> {
        let layout = Layout { exponent, mantissa, signed: true };
        (0..8).map(|code| layout.value(code, subnormals)).collect()
    }

    #[test]
    fn codes_of_four_bits_stand_for_these() {
        assert_eq!(values(2, 1, true), [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
        assert_eq!(values(3, 0, true), [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]);
        assert_eq!(values(1, 2, true), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]);
        assert_eq!(values(2, 1, false)[..3], [0.0, 0.75, 1.0], "as the versions before 0.2.2 read them");
    }

    #[test]
    fn every_value_has_its_code() {
        for (exponent, mantissa, signed) in
            [(2, 1, true), (3, 2, true), (5, 2, true), (4, 3, true), (1, 0, true), (1, 0, false), (3, 4, false), (5, 10, true)]
        {
            let layout = Layout { exponent, mantissa, signed };
            for code in 0..1_u32 << layout.total() {
                let value = layout.value(code as u16, true);
                let again = layout.code(value);
                assert!(u32::from(again) == code || value == 0.0, "{layout:?} {code} {value} {again}");
            }
        }
    }

    /// Nearest would be 0.5: the reference rounds 0.7 up to 0.95 first.
    #[test]
    fn small_numbers_are_rounded_twice() {
        let layout = Layout { exponent: 2, mantissa: 1, signed: true };
        assert_eq!(layout.value(layout.code(0.7), true).to_bits(), 1.0_f32.to_bits());
        assert_eq!(layout.code(-0.1), 8);
    }
}
