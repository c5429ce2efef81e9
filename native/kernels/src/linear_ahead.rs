//! Which weights are asked for ahead of their use, while others are multiplied. Owns nothing; no result depends on it.

use std::ops::Range;

use crate::simd::Simd;
use crate::simd_portable::Portable;

/// Which weights a row tile fetches into the cache for later, block by block.
///
/// Several row tiles share the fetching of the next column tile. A single one of 2 to 6 rows runs ahead of itself; a
/// single row does not, because the hardware's own stream is faster then (Zen 4, shared/native.md, section C).
/// Weights from memory, one Zen 5 core, 2026-11-23, GMAC/s of Q4_1 576×3072: 4 rows 190 → 258, 16 rows 199 → 286.
pub(crate) struct Ahead {
    pub from: *const u8,
    /// Cache lines of each block.
    pub lines: Range<usize>,
}

/// Tried 4, 6, 8, 12 and 16 KB: 8 and 12 are best, within 3 % of each other.
const BYTES_AHEAD: usize = 8192;

impl Ahead {
    pub fn new(
        tile: &[u8],
        rows: usize,
        lines: usize,
        row_tile: usize,
        num_row_tiles: usize,
    ) -> Self {
        let next = tile.as_ptr_range().end;
        match (num_row_tiles, rows) {
            (1, 1) => Self {
                from: next,
                lines: 0..0,
            },
            (1, _) => Self {
                from: tile.as_ptr().wrapping_add(BYTES_AHEAD),
                lines: 0..lines,
            },
            _ => Self {
                from: next,
                lines: lines * row_tile / num_row_tiles..lines * (row_tile + 1) / num_row_tiles,
            },
        }
    }

    /// Nothing: somebody else asks.
    pub fn nothing(&self) -> Self {
        Self {
            from: self.from,
            lines: 0..0,
        }
    }

    /// Ask for the lines of the block whose first byte lies `offset` from the tile's.
    #[inline(always)]
    pub fn fetch(&self, offset: usize) {
        for line in self.lines.clone() {
            // Past the last tile there may be no memory at this address; a prefetch ignores that.
            let at = self.from.wrapping_add(offset + line * 64);
            // SAFETY: a prefetch needs no CPU feature and never faults.
            unsafe { Portable::fetch(at) };
        }
    }
}
