//! Storage formats as they lie in files: names, block sizes, and exact dequantisation.
//!
//! Block layouts and names are ggml's. A weight is quant · scale, plus a minimum where the format has one; the scale of a
//! k-quant is d · sc, exact in f32. Each product and each sum is rounded to f32 on its own, as the Python package `gguf`
//! does, and the results have the same bits (tests/formats.rs). How blocks are taken apart: `format_legacy`, `format_k`,
//! `format_iq`.

use half::f16;

use crate::format_iq as iq;
use crate::format_k as k;
use crate::format_legacy as legacy;
use crate::planes::Planes;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(non_camel_case_types)]
#[repr(u8)]
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    TQ1_0,
    TQ2_0,
    MXFP4,
}

/// Name, weights in a block along k, bytes of a block; in the order of `Format`.
const TABLE: [(&str, usize, usize); Format::ALL.len()] = [
    ("F32", 1, 4),
    ("F16", 1, 2),
    ("BF16", 1, 2),
    ("Q4_0", 32, 18),
    ("Q4_1", 32, 20),
    ("Q5_0", 32, 22),
    ("Q5_1", 32, 24),
    ("Q8_0", 32, 34),
    ("Q2_K", 256, 84),
    ("Q3_K", 256, 110),
    ("Q4_K", 256, 144),
    ("Q5_K", 256, 176),
    ("Q6_K", 256, 210),
    ("IQ4_NL", 32, 18),
    ("IQ4_XS", 256, 136),
    ("TQ1_0", 256, 54),
    ("TQ2_0", 256, 66),
    ("MXFP4", 32, 17),
];

/// One stored block taken apart, for the formats that are packed as `Planes`. What a format does not have is zero.
pub(crate) struct StoredBlock {
    /// Unsigned: the weight plus the format's bias, or a place in its table. A block of 32 uses the first 32.
    pub quants: [u8; 256],
    /// Integer scales and minima, one for each 16 or 32 weights.
    pub scales: [i8; 16],
    pub minima: [i8; 16],
    /// f16 bits, or an E8M0 exponent.
    pub scale: u16,
    /// f16 bits.
    pub minimum: u16,
}

impl StoredBlock {
    pub fn new(scale: u16, minimum: u16, quant: impl Fn(usize) -> u8, weights: usize) -> Self {
        let mut quants = [0; 256];
        for (at, value) in quants[..weights].iter_mut().enumerate() {
            *value = quant(at);
        }
        Self {
            quants,
            scales: [0; 16],
            minima: [0; 16],
            scale,
            minimum,
        }
    }
}

impl Format {
    pub const ALL: [Self; 18] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::IQ4_NL,
        Self::IQ4_XS,
        Self::TQ1_0,
        Self::TQ2_0,
        Self::MXFP4,
    ];

    /// A name of the product's format table; `None` for those this crate has no kernel for.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    pub fn name(self) -> &'static str {
        TABLE[self as usize].0
    }

    /// Weights in a block along k.
    pub fn block_weights(self) -> usize {
        TABLE[self as usize].1
    }

    pub fn block_bytes(self) -> usize {
        TABLE[self as usize].2
    }

    /// Take one block of a format that is packed as `Planes` apart. @param bytes - exactly `block_bytes` of them.
    pub(crate) fn read_stored(self, bytes: &[u8]) -> StoredBlock {
        match self {
            Self::Q5_1 => legacy::q5_1(bytes),
            Self::Q2_K => k::q2_k(bytes),
            Self::Q3_K => k::q3_k(bytes),
            Self::Q4_K => k::q4_k(bytes),
            Self::Q5_K => k::q5_k(bytes),
            Self::Q6_K => k::q6_k(bytes),
            Self::IQ4_NL => iq::iq4_nl(bytes),
            Self::IQ4_XS => iq::iq4_xs(bytes),
            Self::TQ1_0 => iq::tq1_0(bytes),
            Self::TQ2_0 => iq::tq2_0(bytes),
            Self::MXFP4 => iq::mxfp4(bytes),
            _ => unreachable!("{self:?} is not packed in planes"),
        }
    }

    /// Dequantise `out.len()` weights from the start of a row; panics when `bytes` holds fewer or they are not whole blocks.
    pub fn dequantise_into(self, bytes: &[u8], out: &mut [f32]) {
        assert!(
            out.len().is_multiple_of(self.block_weights())
                && bytes.len() >= out.len() / self.block_weights() * self.block_bytes(),
            "{} weights of {self:?} in {} bytes",
            out.len(),
            bytes.len()
        );
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
                let blocks = bytes.chunks_exact(self.block_bytes());
                for (values, bytes) in out.chunks_exact_mut(self.block_weights()).zip(blocks) {
                    match Planes::of(self) {
                        Some(planes) => planes.dequantise(&self.read_stored(bytes), values),
                        None => legacy::dequantise(self, bytes, values),
                    }
                }
            }
        }
    }
}

/// The little-endian word at a byte.
pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
