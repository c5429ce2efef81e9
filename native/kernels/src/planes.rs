//! How the newer block formats lie packed: quants in bit planes, scales beside them, in chunks of up to 8 blocks of 32 k.
//!
//! A tile is 32 columns. A chunk of n blocks (n = 8 but for the last chunk of a row whose k is not whole 256s):
//! ```text
//! n × quants    low plane (2 or 4 bits), then high plane (0, 1 or 2 bits), each 128 B a bit
//! n × scales    none, or by column: f16, E8M0, or i8 for 32 k, or i8 for k 0–15 and then i8 for k 16–31
//! n × minima    none, or as the scales
//! tail          none, or 32 f16 `d`, or 32 f16 `d` and 32 f16 `dmin`: what the i8 are multiplied by
//! ```
//! In a plane of b bits, half h of 16 columns has b lines of 64 B; byte i of lane c belongs to k 4g + i, where g 0…7 is the
//! group of the bits in the byte: 4 bits: line g % 4, g / 4 · 4 up; 2 bits: line g / 4, g % 4 · 2 up; 1 bit: g up.
//! Low nibbles and low lines are therefore k 0–15, so that sums of 16 need no masks.
//!
//! The i8 scales stay beside one f16 a chunk because d · sc has 17 significant bits: f16 cannot hold it, and f32 would make
//! Q4_K 6 bits a weight where it is 4.6 so (stored: 4.5), which decoding from memory would pay in full.

use half::f16;

use crate::format::{Format, StoredBlock};
use crate::format_iq::{FP4_VALUES, IQ4_VALUES, half_of_e8m0};
use crate::packed_linear::{BLOCK, TILE_COLUMNS};

pub(crate) const CHUNK_BLOCKS: usize = 8;

/// What an unsigned quant stands for.
#[derive(Clone, Copy)]
pub(crate) enum Values {
    /// Itself less this.
    Less(u8),
    Table(&'static [i8; 16]),
}

/// Where the scale of a weight comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scales {
    /// One f16 a block; minima are f16 too and added.
    Half,
    /// One E8M0 exponent a block.
    Exponent,
    /// An i8 for 16 or 32 weights times the chunk's f16; minima alike, taken off.
    Bytes,
    /// The chunk's f16.
    Chunk,
}

/// The packed form of one format.
#[derive(Clone, Copy)]
pub(crate) struct Planes {
    pub low_bits: usize,
    pub high_bits: usize,
    pub values: Values,
    pub scales: Scales,
    /// Scales and minima are of 16 weights, not of 32.
    pub is_per_16: bool,
    pub has_minima: bool,
}

/// Byte offsets in a tile of what one block has.
#[derive(Clone, Copy)]
pub(crate) struct BlockAt {
    pub quants: usize,
    pub scales: usize,
    pub minima: usize,
    pub tail: usize,
}

impl Planes {
    /// `None` for dense formats and those with a packed kind of their own.
    pub const fn of(format: Format) -> Option<Self> {
        let (low_bits, high_bits, values, scales, is_per_16, has_minima) = match format {
            Format::Q5_1 => (4, 1, Values::Less(0), Scales::Half, false, true),
            Format::Q2_K => (2, 0, Values::Less(0), Scales::Bytes, true, true),
            Format::Q3_K => (2, 1, Values::Less(4), Scales::Bytes, true, false),
            Format::Q4_K => (4, 0, Values::Less(0), Scales::Bytes, false, true),
            Format::Q5_K => (4, 1, Values::Less(0), Scales::Bytes, false, true),
            Format::Q6_K => (4, 2, Values::Less(32), Scales::Bytes, true, false),
            Format::IQ4_NL => (4, 0, Values::Table(&IQ4_VALUES), Scales::Half, false, false),
            Format::IQ4_XS => (
                4,
                0,
                Values::Table(&IQ4_VALUES),
                Scales::Bytes,
                false,
                false,
            ),
            Format::MXFP4 => (
                4,
                0,
                Values::Table(&FP4_VALUES),
                Scales::Exponent,
                false,
                false,
            ),
            Format::TQ1_0 | Format::TQ2_0 => (2, 0, Values::Less(1), Scales::Chunk, false, false),
            _ => return None,
        };
        Some(Self {
            low_bits,
            high_bits,
            values,
            scales,
            is_per_16,
            has_minima,
        })
    }

    /// As `of`, for a format that a kernel was instantiated with.
    pub const fn at(format: u8) -> Self {
        match Self::of(Format::ALL[format as usize]) {
            Some(planes) => planes,
            None => panic!("a format of planes"),
        }
    }

    #[inline(always)]
    const fn quant_bytes(&self) -> usize {
        (self.low_bits + self.high_bits) * 128
    }

    #[inline(always)]
    const fn scale_bytes(&self) -> usize {
        match self.scales {
            Scales::Half => TILE_COLUMNS * 2,
            Scales::Exponent => TILE_COLUMNS,
            Scales::Bytes if self.is_per_16 => TILE_COLUMNS * 2,
            Scales::Bytes => TILE_COLUMNS,
            Scales::Chunk => 0,
        }
    }

    #[inline(always)]
    const fn minimum_bytes(&self) -> usize {
        if self.has_minima {
            self.scale_bytes()
        } else {
            0
        }
    }

    #[inline(always)]
    const fn tail_bytes(&self) -> usize {
        match self.scales {
            Scales::Half | Scales::Exponent => 0,
            Scales::Bytes if self.has_minima => TILE_COLUMNS * 4,
            Scales::Bytes | Scales::Chunk => TILE_COLUMNS * 2,
        }
    }

    #[inline(always)]
    const fn chunk_bytes(&self, blocks: usize) -> usize {
        blocks * (self.quant_bytes() + self.scale_bytes() + self.minimum_bytes())
            + self.tail_bytes()
    }

    /// Bytes of a block and its share of the tail, in a whole chunk.
    #[inline(always)]
    pub const fn block_bytes(&self) -> usize {
        self.chunk_bytes(CHUNK_BLOCKS) / CHUNK_BLOCKS
    }

    /// Bytes that `k` weights of 32 columns take, in whole cache lines.
    pub const fn tile_bytes(&self, k: usize) -> usize {
        let (chunks, rest) = (k / BLOCK / CHUNK_BLOCKS, k / BLOCK % CHUNK_BLOCKS);
        let rest = if rest == 0 { 0 } else { self.chunk_bytes(rest) };
        (chunks * self.chunk_bytes(CHUNK_BLOCKS) + rest).next_multiple_of(64)
    }

    /// Where block `block` of the `blocks` of a tile lies.
    #[inline(always)]
    pub const fn block(&self, blocks: usize, block: usize) -> BlockAt {
        let (chunk, at) = (block / CHUNK_BLOCKS, block % CHUNK_BLOCKS);
        let rest = blocks - chunk * CHUNK_BLOCKS;
        let count = if rest < CHUNK_BLOCKS {
            rest
        } else {
            CHUNK_BLOCKS
        };
        let quants = chunk * self.chunk_bytes(CHUNK_BLOCKS);
        let scales = quants + count * self.quant_bytes();
        let minima = scales + count * self.scale_bytes();
        BlockAt {
            quants: quants + at * self.quant_bytes(),
            scales: scales + at * self.scale_bytes(),
            minima: minima + at * self.minimum_bytes(),
            tail: minima + count * self.minimum_bytes(),
        }
    }

    /// First byte of the high plane, from a block's quants on.
    #[inline(always)]
    pub const fn high_plane(&self) -> usize {
        self.low_bits * 128
    }

    pub fn value(&self, quant: u8) -> i8 {
        match self.values {
            Values::Less(bias) => quant as i8 - bias as i8,
            Values::Table(table) => table[quant as usize],
        }
    }

    /// @param of_block - f16 bits or exponent; @param of_few - the i8 scale
    pub fn scale(&self, of_block: u16, of_few: i8) -> f32 {
        match self.scales {
            Scales::Half | Scales::Chunk => f16::from_bits(of_block).to_f32(),
            Scales::Exponent => half_of_e8m0(of_block as u8),
            Scales::Bytes => f16::from_bits(of_block).to_f32() * f32::from(of_few),
        }
    }

    /// What is added to quant · scale.
    pub fn minimum(&self, of_block: u16, of_few: i8) -> f32 {
        match self.scales {
            Scales::Bytes => -f16::from_bits(of_block).to_f32() * f32::from(of_few),
            _ => f16::from_bits(of_block).to_f32(),
        }
    }

    /// The format's own values, exactly. @param out - as many as the stored block has weights
    pub fn dequantise(&self, block: &StoredBlock, out: &mut [f32]) {
        let few = if self.is_per_16 { 16 } else { 32 };
        for (at, values) in out.chunks_mut(few).enumerate() {
            let scale = self.scale(block.scale, block.scales[at]);
            let minimum = self.minimum(block.minimum, block.minima[at]);
            for (value, quant) in values.iter_mut().zip(&block.quants[at * few..]) {
                *value = f32::from(self.value(*quant)) * scale;
                if self.has_minima {
                    *value += minimum;
                }
            }
        }
    }
}

/// Line (of 64 B) and shift, in a half's plane of `bits` bits, of the four k of group `group`.
#[inline(always)]
pub(crate) const fn group_at(bits: usize, group: usize) -> (usize, usize) {
    match bits {
        4 => (group % 4, group / 4 * 4),
        2 => (group / 4, group % 4 * 2),
        _ => (0, group),
    }
}
