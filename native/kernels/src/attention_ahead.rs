//! What a tile asks memory for while it computes: pays where K and V come from memory and little is computed with them, as
//! when one row decodes; a prefill from cache would lose 6 %.
//!
//! All that is attended to next is asked for one split ahead, K while K is read and V while V is, into the second cache:
//! it has room for both, and lets more lines be under way than the first. Owns nothing; an address is only ever asked for.
//! One thread, a layer of SmolLM2, bf16 KV from memory, 32 sequences at contexts of 128 to 192 (Zen 4, 2026-11-28): 470 µs
//! with the own V and what follows of K into the first cache; 310 with the next split's K too, and both into the second;
//! of 290, when the rest had become quicker, 270 with the next split's V too.

use crate::attention_tile::SPLIT;
use crate::simd::{LANES, Simd};

pub(crate) struct Ahead {
    /// Nobody asked for this split before: the tile asks for its own V too.
    pub is_first: bool,
    /// K and V of the split that is attended to next, 16 tokens each.
    next: [[*const u8; 2]; SPLIT / LANES],
    num_next: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Half {
    Keys = 0,
    Values = 1,
}

impl Ahead {
    pub fn new(is_first: bool) -> Self {
        Self {
            is_first,
            next: [[std::ptr::null(); 2]; SPLIT / LANES],
            num_next: 0,
        }
    }

    /// At most as many groups as a split has.
    pub fn push(&mut self, keys: *const u8, values: *const u8) {
        self.next[self.num_next] = [keys, values];
        self.num_next += 1;
    }

    #[inline(always)]
    pub fn has_next(&self) -> bool {
        self.num_next > 0
    }

    /// Where the next split's `group` begins, or `otherwise` when it has fewer: asking for what is in the cache costs
    /// little, while an address without memory is looked up each time anew.
    #[inline(always)]
    pub fn next(&self, group: usize, half: Half, otherwise: *const u8) -> *const u8 {
        if group < self.num_next {
            self.next[group % self.next.len()][half as usize]
        } else {
            otherwise
        }
    }

    /// Ask for the groups from `first` on, `bytes` of each: the next split may have more of them than this one.
    #[inline(always)]
    pub unsafe fn fetch_rest<S: Simd>(&self, first: usize, half: Half, bytes: usize) {
        for place in &self.next[first.min(self.num_next)..self.num_next] {
            for at in (0..bytes).step_by(64) {
                S::fetch_far(place[half as usize].wrapping_add(at));
            }
        }
    }
}
