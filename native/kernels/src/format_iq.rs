//! ggml's formats whose quants are places in a table (IQ4_NL, IQ4_XS, MXFP4) or have three values (TQ1_0, TQ2_0).
//!
//! IQ4_NL {f16 d, 16 bytes of nibbles}, IQ4_XS {f16 d, u16 high bits of 8 scales, 4 bytes of their low nibbles, 8 · 16
//! bytes of nibbles; scale d·(s − 32) of 32 weights}, MXFP4 {E8M0 exponent, 16 bytes of nibbles}: table[nibble] · scale.
//! TQ2_0 {64 bytes of two bits, f16 d} and TQ1_0 {48 bytes of five base-3 digits, 4 of four, f16 d}: (q − 1)·d.

use crate::format::{StoredBlock, word};
use crate::format_k::two_bits;
use crate::format_legacy::nibble;

pub(crate) const IQ4_VALUES: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// Twice the values of E2M1; the scale is half of what the exponent says (OCP Microscaling Formats 1.0).
pub(crate) const FP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 2^(exponent − 128): half of what the exponent says. The first two are subnormal numbers.
#[inline(always)]
pub(crate) fn half_of_e8m0(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        0 | 1 => 0x0020_0000 << exponent,
        _ => u32::from(exponent - 1) << 23,
    })
}

pub(crate) fn iq4_nl(bytes: &[u8]) -> StoredBlock {
    StoredBlock::new(word(bytes, 0), 0, |k| nibble(&bytes[2..], k), 32)
}

pub(crate) fn mxfp4(bytes: &[u8]) -> StoredBlock {
    StoredBlock::new(u16::from(bytes[0]), 0, |k| nibble(&bytes[1..], k), 32)
}

pub(crate) fn iq4_xs(bytes: &[u8]) -> StoredBlock {
    let quant = |i: usize| nibble(&bytes[8 + i / 32 * 16..], i % 32);
    let mut block = StoredBlock::new(word(bytes, 0), 0, quant, 256);
    let high = word(bytes, 2);
    for at in 0..8 {
        let low = (bytes[4 + at / 2] >> (at % 2 * 4)) & 15;
        let high = (high >> (at * 2)) as u8 & 3;
        block.scales[at] = (low | (high << 4)) as i8 - 32;
    }
    block
}

pub(crate) fn tq2_0(bytes: &[u8]) -> StoredBlock {
    StoredBlock::new(word(bytes, 64), 0, |i| two_bits(bytes, i), 256)
}

pub(crate) fn tq1_0(bytes: &[u8]) -> StoredBlock {
    // A byte is a fraction of 256 in base 3: times 3^n brings digit n to the front, times 3 more pushes it out.
    let quant = |i: usize| {
        let (byte, digit) = match i {
            0..160 => (bytes[i % 32], i / 32),
            160..240 => (bytes[32 + i % 16], (i - 160) / 16),
            _ => (bytes[48 + i % 4], (i - 240) / 4),
        };
        let rest = byte.wrapping_mul([1, 3, 9, 27, 81][digit]);
        ((u16::from(rest) * 3) >> 8) as u8
    };
    StoredBlock::new(word(bytes, 52), 0, quant, 256)
}
