//! How a quantized safetensors weight lies packed: codes as they were stored, beside f32 scales and zero points that are
//! kept once a group.
//!
//! A tile is 32 columns of `blocks` blocks of 32 k, blocks / blocks_per_scale rounded up scale rows:
//! ```text
//! codes    Nibbles and Table  blocks × 512 B    half h, group p: byte i of lane c = k 4p+i (low) and k 16+4p+i (high)
//!          Bytes              blocks × 1024 B   half h, group p: byte i of lane c = k 4p+i
//!          Float8             blocks × 1024 B   k ascending, 32 columns each
//! scales   scale rows × 32 f32
//! zeros    none, or scale rows × 32 i8          less the kind's centre
//! table    none, or 16 f32                      on the next line
//! ```
//! A part whose inputs are reordered has, behind its tiles, the input that each k stands for, u32.
//! Scales are f32 because files have f16, bf16 and f32 ones, and none may lose bits; of a group of 128 that is 0.25 bits a
//! weight, less than f16 in each block of 32 would be. Codes of 2 and 3 bits take nibbles.

use crate::packed_linear::{BLOCK, TILE_COLUMNS};
use crate::quantized::f32_of_e4m3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Codes {
    /// 0 … 15 around 8.
    Nibbles,
    /// 0 … 255 around 128.
    Bytes,
    /// E4M3.
    Float8,
    /// Places in the tile's table.
    Table,
}

/// The packed form of one part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grouped {
    pub(crate) codes: Codes,
    pub(crate) blocks_per_scale: u32,
    pub(crate) has_zeros: bool,
    pub(crate) has_order: bool,
}

impl Grouped {
    /// Whether codes times int8 activations are integers.
    #[inline(always)]
    pub(crate) fn is_integer(self) -> bool {
        matches!(self.codes, Codes::Nibbles | Codes::Bytes)
    }

    /// The code that means 0 where there is no zero point.
    #[inline(always)]
    pub(crate) fn centre(self) -> u8 {
        match self.codes {
            Codes::Nibbles => 8,
            Codes::Bytes => 128,
            Codes::Float8 | Codes::Table => 0,
        }
    }

    #[inline(always)]
    pub(crate) fn code_bytes(self) -> usize {
        match self.codes {
            Codes::Nibbles | Codes::Table => 512,
            Codes::Bytes | Codes::Float8 => 1024,
        }
    }

    #[inline(always)]
    pub(crate) fn scale_rows(self, blocks: usize) -> usize {
        blocks.div_ceil(self.blocks_per_scale as usize)
    }

    /// First byte of the scales of 32 columns that a block uses.
    #[inline(always)]
    pub(crate) fn scales_at(self, blocks: usize, block: usize) -> usize {
        let row = block / self.blocks_per_scale as usize;
        blocks * self.code_bytes() + row * TILE_COLUMNS * 4
    }

    #[inline(always)]
    pub(crate) fn zeros_at(self, blocks: usize, block: usize) -> usize {
        let row = block / self.blocks_per_scale as usize;
        self.zeros_start(blocks) + row * TILE_COLUMNS
    }

    #[inline(always)]
    fn zeros_start(self, blocks: usize) -> usize {
        blocks * self.code_bytes() + self.scale_rows(blocks) * TILE_COLUMNS * 4
    }

    #[inline(always)]
    pub(crate) fn table_at(self, blocks: usize) -> usize {
        let zeros = match self.has_zeros {
            true => self.scale_rows(blocks) * TILE_COLUMNS,
            false => 0,
        };
        (self.zeros_start(blocks) + zeros).next_multiple_of(64)
    }

    /// Bytes that `k` weights of 32 columns take, in whole cache lines.
    pub(crate) fn tile_bytes(self, k: usize) -> usize {
        let table = if self.codes == Codes::Table { 64 } else { 0 };
        self.table_at(k / BLOCK) + table
    }

    /// Bytes behind the tiles of a part.
    pub(crate) fn order_bytes(self, k: usize) -> usize {
        match self.has_order {
            true => (k * 4).next_multiple_of(64),
            false => 0,
        }
    }

    /// Byte of a block's codes, and shift, of weight `k` (0 … 31).
    #[inline(always)]
    pub(crate) fn code_at(self, column: usize, k: usize) -> (usize, usize) {
        let (half, lane) = (column / 16, column % 16);
        match self.codes {
            Codes::Nibbles | Codes::Table => {
                ((half * 4 + k % 16 / 4) * 64 + lane * 4 + k % 4, k / 16 * 4)
            }
            Codes::Bytes => ((half * 8 + k / 4) * 64 + lane * 4 + k % 4, 0),
            Codes::Float8 => (k * TILE_COLUMNS + column, 0),
        }
    }

    #[inline(always)]
    pub(crate) fn code(self, tile: &[u8], block: usize, column: usize, k: usize) -> u8 {
        let (at, shift) = self.code_at(column, k);
        let byte = tile[block * self.code_bytes() + at] >> shift;
        match self.codes {
            Codes::Nibbles | Codes::Table => byte & 15,
            Codes::Bytes | Codes::Float8 => byte,
        }
    }

    #[inline(always)]
    pub(crate) fn scale(self, tile: &[u8], blocks: usize, block: usize, column: usize) -> f32 {
        f32_at(tile, self.scales_at(blocks, block) + column * 4)
    }

    #[inline(always)]
    pub(crate) fn zero(self, tile: &[u8], blocks: usize, block: usize, column: usize) -> i8 {
        match self.has_zeros {
            true => tile[self.zeros_at(blocks, block) + column] as i8,
            false => 0,
        }
    }

    /// All values of a column, exactly, in the order of the packed k. @param out - as many as the tile has
    pub(crate) fn read_column(self, tile: &[u8], column: usize, out: &mut [f32]) {
        let blocks = out.len() / BLOCK;
        for (block, values) in out.chunks_exact_mut(BLOCK).enumerate() {
            let scale = self.scale(tile, blocks, block, column);
            let zero = self.zero(tile, blocks, block, column);
            for (k, value) in values.iter_mut().enumerate() {
                let code = self.code(tile, block, column, k);
                let exact = match self.codes {
                    Codes::Nibbles | Codes::Bytes => {
                        f32::from(i16::from(code) - i16::from(self.centre()) - i16::from(zero))
                    }
                    Codes::Float8 => f32_of_e4m3(code),
                    Codes::Table => f32_at(tile, self.table_at(blocks) + usize::from(code) * 4),
                };
                *value = exact * scale;
            }
        }
    }
}

fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
