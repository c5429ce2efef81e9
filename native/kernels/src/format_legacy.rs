//! ggml's oldest block formats: 32 weights, an f16 scale `d`, in some an f16 minimum `m`.
//!
//! Q4_0 {d, 16 bytes: low nibbles weights 0–15, high nibbles 16–31}, Q4_1 {d, m, the same}, Q5_0 {d, u32 fifth bits, the
//! same}, Q5_1 {d, m, u32, the same}, Q8_0 {d, 32 i8}. Values: Q4_0 (q − 8)·d, Q4_1 and Q5_1 q·d + m, Q5_0 (q − 16)·d,
//! Q8_0 q·d.

use half::f16;

use crate::format::{Format, StoredBlock, word};

/// One block of 32 weights taken apart: value = quants · scale + minimum, `bias` already taken off the quants.
pub(crate) struct QuantBlock {
    pub quants: [i8; 32],
    pub scale: u16,
    pub minimum: u16,
}

/// Weight `k` of sixteen bytes of nibbles.
pub(crate) fn nibble(from: &[u8], k: usize) -> u8 {
    if k < 16 {
        from[k] & 15
    } else {
        from[k - 16] >> 4
    }
}

/// Take one block of Q4_0, Q4_1, Q5_0 or Q8_0 apart.
pub(crate) fn read_block(format: Format, bytes: &[u8]) -> QuantBlock {
    let mut block = QuantBlock {
        quants: [0; 32],
        scale: word(bytes, 0),
        minimum: 0,
    };
    for k in 0..32 {
        block.quants[k] = match format {
            Format::Q4_0 => nibble(&bytes[2..], k) as i8 - 8,
            Format::Q4_1 => nibble(&bytes[4..], k) as i8,
            Format::Q5_0 => {
                let fifth = (bytes[2 + k / 8] >> (k % 8)) & 1;
                (nibble(&bytes[6..], k) | (fifth << 4)) as i8 - 16
            }
            Format::Q8_0 => bytes[2 + k] as i8,
            _ => unreachable!("{format:?} is not one of the four"),
        };
    }
    if format == Format::Q4_1 {
        block.minimum = word(bytes, 2);
    }
    block
}

pub(crate) fn dequantise(format: Format, bytes: &[u8], out: &mut [f32]) {
    let block = read_block(format, bytes);
    let scale = f16::from_bits(block.scale).to_f32();
    for (value, quant) in out.iter_mut().zip(block.quants) {
        *value = f32::from(quant) * scale;
        // Not added where there is none: it would turn −0 into 0.
        if format == Format::Q4_1 {
            *value += f16::from_bits(block.minimum).to_f32();
        }
    }
}

pub(crate) fn q5_1(bytes: &[u8]) -> StoredBlock {
    let quant = |k: usize| nibble(&bytes[8..], k) | (((bytes[4 + k / 8] >> (k % 8)) & 1) << 4);
    StoredBlock::new(word(bytes, 0), word(bytes, 2), quant, 32)
}
