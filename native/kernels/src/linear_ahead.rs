//! Which weights are asked for ahead of their use, while others are multiplied. Owns nothing; no result depends on it.
//!
//! Measured with a copy of the loops alone, one Zen 4 core beside other work, weights from memory, variants in turns
//! (2026-11-28), GB/s of 1 / 2 / 4 rows where the plain sum of the same memory gave 17 to 25: Q8_0 into the first cache 8 KB
//! ahead 13.6 / 12.2 / 15.1, into the second 6 KB ahead 19.7 / 19.0 / 23.5; Q4_0 – / 16.2 / 20.4 and – / 20.0 / 22.8. Of 1 row,
//! Q4_0 is fastest with nothing asked for. With this crate, old and new in turns twice, GMAC/s of Q8_0 576×3072, one thread from
//! memory: 1 row 8 and 8 → 10 and 17, 4 rows 42 and 32 → 58 and 66. **It costs** 1 row whose weights a cache has: 74 → 63 to 66.

use std::ops::Range;

use crate::simd::Simd;
use crate::simd_portable::Portable;

/// Which weights a row tile fetches into the cache for later, block by block.
pub(crate) struct Ahead {
    from: *const u8,
    /// Cache lines of each block.
    lines: Range<usize>,
    /// The cache that they go to: the first, or only the second.
    is_near: bool,
}

/// A single row tile runs ahead of itself.
const BYTES_AHEAD: usize = 6144;
/// Where others follow, the first one runs ahead of itself, and they find the weights in the caches. Q4_0 with 12 and 18 rows
/// was best at 3,072 of 3,072, 6,144 and 12,288; a block of Q8_0 is twice as long, so it is a little more. Not measured itself.
const BYTES_AHEAD_OF_OTHERS: usize = 4096;
/// From this many row tiles on, they share the fetching of the next column tile: better at 6, worse at 3, not tried between.
const MANY_ROW_TILES: usize = 5;

impl Ahead {
    /// For row tile `row_tile` of `num_row_tiles`. @param lines - cache lines of a block of this tile
    pub fn new(tile: &[u8], lines: usize, row_tile: usize, num_row_tiles: usize) -> Self {
        if num_row_tiles >= MANY_ROW_TILES {
            return Self {
                from: tile.as_ptr_range().end,
                lines: lines * row_tile / num_row_tiles..lines * (row_tile + 1) / num_row_tiles,
                is_near: true,
            };
        }
        let bytes = if num_row_tiles == 1 {
            BYTES_AHEAD
        } else {
            BYTES_AHEAD_OF_OTHERS
        };
        Self {
            from: tile.as_ptr().wrapping_add(bytes),
            lines: 0..if row_tile == 0 { lines } else { 0 },
            is_near: false,
        }
    }

    /// For bf16: all row tiles share the next column tile, into the second cache, and a single one asks for nothing, since it
    /// is the hardware's own stream that is faster then (one Zen 4 core, pages of 2 MB, 2026-11-28, 4 rows: 66 GMAC/s, and
    /// 44 when asking).
    pub fn of_next(tile: &[u8], lines: usize, row_tile: usize, num_row_tiles: usize) -> Self {
        if num_row_tiles == 1 {
            return Self::none();
        }
        Self {
            from: tile.as_ptr_range().end,
            lines: lines * row_tile / num_row_tiles..lines * (row_tile + 1) / num_row_tiles,
            is_near: false,
        }
    }

    /// Nothing: the hardware's own stream is left alone.
    pub fn none() -> Self {
        Self {
            from: std::ptr::null(),
            lines: 0..0,
            is_near: false,
        }
    }

    /// Nothing: somebody else asks.
    pub fn nothing(&self) -> Self {
        Self {
            from: self.from,
            lines: 0..0,
            is_near: self.is_near,
        }
    }

    /// Ask for the lines of the block whose first byte lies `offset` from the tile's.
    #[inline(always)]
    pub fn fetch(&self, offset: usize) {
        for line in self.lines.clone() {
            // Past the last tile there may be no memory at this address; a prefetch ignores that.
            let at = self.from.wrapping_add(offset + line * 64);
            // SAFETY: a prefetch needs no CPU feature and never faults.
            unsafe {
                if self.is_near {
                    Portable::fetch(at);
                } else {
                    Portable::fetch_far(at);
                }
            }
        }
    }
}
