//! ggml's k-quants: 256 weights in sub-blocks of 16 or 32, whose small integer scales multiply one f16 `d`, in some with
//! integer minima that multiply one f16 `dmin`: value = d·sc·q − dmin·m.
//!
//! Where the bits lie (byte offsets; i is the weight):
//! ```text
//! Q2_K  16 scales: sc low nibble, m high | 64 quants | d | dmin          q 0…3     sub-blocks of 16
//! Q3_K  32 high bits | 64 low bits | 12 scales | d                       q −4…3    16
//! Q4_K  d | dmin | 12 scales and minima | 128 nibbles                    q 0…15    32
//! Q5_K  d | dmin | 12 | 32 fifth bits | 128 nibbles                      q 0…31    32
//! Q6_K  128 low nibbles | 64 high bits | 16 i8 scales | d                q −32…31  16
//! ```

use crate::format::{StoredBlock, word};

/// Two bits of weight `i`: each 32 bytes hold 128 weights, 32 at each shift.
pub(crate) fn two_bits(from: &[u8], i: usize) -> u8 {
    (from[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3
}

/// One bit of weight `i` of 32 bytes: bit i / 32 of byte i % 32.
fn one_bit(from: &[u8], i: usize) -> u8 {
    (from[i % 32] >> (i / 32)) & 1
}

/// Four bits of weight `i`: each 32 bytes hold 64 weights, low nibbles first.
fn four_bits(from: &[u8], i: usize) -> u8 {
    (from[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4)) & 15
}

pub(crate) fn q2_k(bytes: &[u8]) -> StoredBlock {
    let quant = |i| two_bits(&bytes[16..], i);
    let mut block = StoredBlock::new(word(bytes, 80), word(bytes, 82), quant, 256);
    for (at, byte) in bytes[..16].iter().enumerate() {
        block.scales[at] = (byte & 15) as i8;
        block.minima[at] = (byte >> 4) as i8;
    }
    block
}

pub(crate) fn q3_k(bytes: &[u8]) -> StoredBlock {
    let quant = |i| two_bits(&bytes[32..], i) | (one_bit(bytes, i) << 2);
    let mut block = StoredBlock::new(word(bytes, 108), 0, quant, 256);
    let packed = &bytes[96..108];
    for (at, scale) in block.scales.iter_mut().enumerate() {
        let low = (packed[at % 8] >> (at / 8 * 4)) & 15;
        let high = (packed[8 + at % 4] >> (at / 4 * 2)) & 3;
        *scale = (low | (high << 4)) as i8 - 32;
    }
    block
}

pub(crate) fn q4_k(bytes: &[u8]) -> StoredBlock {
    let quant = |i| four_bits(&bytes[16..], i);
    let block = StoredBlock::new(word(bytes, 0), word(bytes, 2), quant, 256);
    with_six_bit_scales(block, &bytes[4..16])
}

pub(crate) fn q5_k(bytes: &[u8]) -> StoredBlock {
    let quant = |i| four_bits(&bytes[48..], i) | (one_bit(&bytes[16..], i) << 4);
    let block = StoredBlock::new(word(bytes, 0), word(bytes, 2), quant, 256);
    with_six_bit_scales(block, &bytes[4..16])
}

/// Eight scales and eight minima of six bits: of the last four of each, the upper two bits lie above the first four's.
fn with_six_bit_scales(mut block: StoredBlock, packed: &[u8]) -> StoredBlock {
    for at in 0..4 {
        let (scale, minimum, both) = (packed[at], packed[4 + at], packed[8 + at]);
        block.scales[at] = (scale & 63) as i8;
        block.minima[at] = (minimum & 63) as i8;
        block.scales[4 + at] = ((both & 15) | ((scale >> 2) & 48)) as i8;
        block.minima[4 + at] = ((both >> 4) | ((minimum >> 2) & 48)) as i8;
    }
    block
}

pub(crate) fn q6_k(bytes: &[u8]) -> StoredBlock {
    let quant = |i: usize| {
        let low = (bytes[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4)) & 15;
        low | (two_bits(&bytes[128..], i) << 4)
    };
    let mut block = StoredBlock::new(word(bytes, 208), 0, quant, 256);
    for (scale, byte) in block.scales.iter_mut().zip(&bytes[192..208]) {
        *scale = *byte as i8;
    }
    block
}
