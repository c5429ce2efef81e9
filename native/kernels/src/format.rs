//! Storage formats as they lie in files, and their exact dequantisation.
//!
//! Block layouts are ggml's: Q4_0 {f16 d, 16 bytes: low nibbles weights 0–15, high nibbles 16–31}, Q4_1 {f16 d, f16 m, the
//! same}, Q5_0 {f16 d, u32 fifth bits, the same}, Q8_0 {f16 d, 32 i8}. Values: Q4_0 (q − 8)·d, Q4_1 q·d + m,
//! Q5_0 (q − 16)·d, Q8_0 q·d, each product and sum rounded to f32 on its own.

use half::f16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(non_camel_case_types)]
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q8_0,
}

/// One block of 32 weights taken apart: value = quants · scale + minimum, `bias` already taken off the quants.
pub(crate) struct QuantBlock {
    pub quants: [i8; 32],
    pub scale: u16,
    pub minimum: u16,
}

impl Format {
    /// A name of the product's format table; `None` for those this crate has no kernel for.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            "Q4_0" => Self::Q4_0,
            "Q4_1" => Self::Q4_1,
            "Q5_0" => Self::Q5_0,
            "Q8_0" => Self::Q8_0,
            _ => return None,
        })
    }

    /// Weights in a block along k.
    pub fn block_weights(self) -> usize {
        if self.is_dense() { 1 } else { 32 }
    }

    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q8_0 => 34,
        }
    }

    pub(crate) fn is_dense(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// Take one block of a quantised format apart. @param bytes - exactly `block_bytes` of them.
    pub(crate) fn read_block(self, bytes: &[u8]) -> QuantBlock {
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let mut block = QuantBlock {
            quants: [0; 32],
            scale: word(0),
            minimum: 0,
        };
        let nibble = |from: &[u8], k: usize| {
            (if k < 16 {
                from[k] & 15
            } else {
                from[k - 16] >> 4
            }) as i8
        };
        for k in 0..32 {
            block.quants[k] = match self {
                Self::Q4_0 => nibble(&bytes[2..], k) - 8,
                Self::Q4_1 => nibble(&bytes[4..], k),
                Self::Q5_0 => {
                    let fifth = (bytes[2 + k / 8] >> (k % 8)) & 1;
                    (nibble(&bytes[6..], k) | (fifth << 4) as i8) - 16
                }
                Self::Q8_0 => bytes[2 + k] as i8,
                Self::F32 | Self::F16 | Self::BF16 => unreachable!("a dense format has no blocks"),
            };
        }
        if self == Self::Q4_1 {
            block.minimum = word(2);
        }
        block
    }

    /// Dequantise `out.len()` weights from the start of a row.
    pub(crate) fn dequantise_into(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => {
                for (value, word) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*word);
                }
            }
            Self::F16 => {
                for (value, word) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f16::from_le_bytes(*word).to_f32();
                }
            }
            Self::BF16 => {
                for (value, word) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16);
                }
            }
            _ => {
                for (values, bytes) in out
                    .chunks_mut(32)
                    .zip(bytes.chunks_exact(self.block_bytes()))
                {
                    let block = self.read_block(bytes);
                    let (scale, minimum) = (
                        f16::from_bits(block.scale).to_f32(),
                        f16::from_bits(block.minimum).to_f32(),
                    );
                    for (value, quant) in values.iter_mut().zip(block.quants) {
                        *value = f32::from(quant) * scale + minimum;
                    }
                }
            }
        }
    }
}
