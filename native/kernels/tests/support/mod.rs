//! Seeded data for the tests: splitmix64, and tensors stored in each format.
#![allow(dead_code)]

pub mod attention;
pub mod fields;
pub mod known;
pub mod quantized;

use std::sync::{Mutex, MutexGuard, PoisonError};

use half::f16;
use ingot_kernels::{Activations, Format, PackedLinear, Pool, Scratch, linear};

/// All kernels by name, the reference first; a CPU has some of them (`use_kernels`).
pub const KERNELS: [&str; 7] = [
    "scalar",
    "neon",
    "neon-dotprod",
    "avx2",
    "avx2-vnni",
    "avx512-vnni",
    "avx512-bf16",
];

/// Held while kernels are named: the choice is the whole process's, and a binary's tests run at the same time.
pub fn naming_kernels() -> MutexGuard<'static, ()> {
    static NAMING: Mutex<()> = Mutex::new(());
    NAMING.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.word() % n as u64) as usize
    }

    /// About normal: sum of four uniforms, in -2 … 2.
    pub fn value(&mut self) -> f32 {
        (0..4)
            .map(|_| (self.word() >> 40) as f32 / (1 << 24) as f32 - 0.5)
            .sum()
    }

    pub fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value()).collect()
    }
}

/// Random stored weights `[rows, k]` of a format, and their values computed from the format's definition.
pub fn stored(format: Format, rows: usize, k: usize, random: &mut Random) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for _ in 0..rows * k / format.block_weights() {
        match format {
            Format::F32 => {
                let value = random.value();
                bytes.extend(value.to_le_bytes());
                values.push(value);
            }
            Format::F16 => {
                let value = f16::from_f32(random.value());
                bytes.extend(value.to_le_bytes());
                values.push(value.to_f32());
            }
            Format::BF16 => {
                let value = half::bf16::from_f32(random.value());
                bytes.extend(value.to_le_bytes());
                values.push(value.to_f32());
            }
            Format::Q4_0 | Format::Q4_1 | Format::Q5_0 | Format::Q8_0 => {
                block(format, random, &mut bytes, &mut values)
            }
            _ => {
                let start = bytes.len();
                bytes.extend((0..format.block_bytes()).map(|_| random.below(256) as u8));
                set_scales(format, &mut bytes[start..], random);
                // These definitions are held against the Python package's in tests/formats.rs.
                let (from, weights) = (values.len(), format.block_weights());
                values.resize(from + weights, 0.0);
                format.dequantise_into(&bytes[start..], &mut values[from..]);
            }
        }
    }
    (bytes, values)
}

/// Where a block's f16 lie.
pub fn halves(format: Format) -> &'static [usize] {
    match format {
        Format::F32 | Format::F16 | Format::BF16 | Format::MXFP4 => &[],
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 | Format::IQ4_NL | Format::IQ4_XS => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q2_K => &[80, 82],
        Format::Q3_K => &[108],
        Format::Q6_K => &[208],
        Format::TQ1_0 => &[52],
        Format::TQ2_0 => &[64],
    }
}

/// Scales of a size that models have, of both signs.
fn set_scales(format: Format, block: &mut [u8], random: &mut Random) {
    for &at in halves(format) {
        let scale = f16::from_f32(random.value() / 64.0);
        block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
    }
    if format == Format::MXFP4 {
        block[0] = 115 + random.below(12) as u8;
    }
}

/// As many inputs as there are whole blocks in, `about` or more.
pub fn inputs(format: Format, about: usize) -> usize {
    about.next_multiple_of(format.block_weights())
}

fn block(format: Format, random: &mut Random, bytes: &mut Vec<u8>, values: &mut Vec<f32>) {
    let scale = f16::from_f32(random.value() / 16.0);
    let minimum = f16::from_f32(random.value());
    bytes.extend(scale.to_le_bytes());
    if format == Format::Q4_1 {
        bytes.extend(minimum.to_le_bytes());
    }
    let d = scale.to_f32();
    if format == Format::Q8_0 {
        for _ in 0..32 {
            let quant = random.below(256) as u8 as i8;
            bytes.push(quant as u8);
            values.push(f32::from(quant) * d);
        }
        return;
    }
    let fifth = random.word() as u32;
    if format == Format::Q5_0 {
        bytes.extend(fifth.to_le_bytes());
    }
    let packed: Vec<u8> = (0..16).map(|_| random.below(256) as u8).collect();
    for k in 0..32 {
        let nibble = if k < 16 {
            packed[k] & 15
        } else {
            packed[k - 16] >> 4
        };
        values.push(match format {
            Format::Q4_0 => (f32::from(nibble) - 8.0) * d,
            Format::Q4_1 => f32::from(nibble) * d + minimum.to_f32(),
            _ => (f32::from(nibble | (((fifth >> k) & 1) as u8) << 4) - 16.0) * d,
        });
    }
    bytes.extend(packed);
}

pub const FORMATS: [Format; 18] = Format::ALL;

/// Those that int8 activations are multiplied with as integers.
pub fn quantised() -> impl Iterator<Item = Format> {
    FORMATS
        .into_iter()
        .filter(|format| format.block_weights() > 1)
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The layer on all rows without a bias; whatever is not written stays NaN.
pub fn run_linear(
    weight: &PackedLinear,
    x: &[f32],
    rows: usize,
    activations: Activations,
    pool: &Pool,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows * weight.n()];
    linear(
        weight,
        x,
        rows,
        None,
        activations,
        &mut out,
        &mut Scratch::default(),
        pool,
    );
    out
}
