//! The KV of one sequence and KV head, as the kernels read it: logical positions through the block table.
//!
//! Every position below the sequence's context has a block; that was checked once a call (`attention_check`).

use crate::kv_pool::{KvLayer, KvPool};

pub(crate) struct View<'a> {
    pub kv: &'a KvPool,
    pub layer: &'a KvLayer,
    pub blocks: &'a [i32],
    pub head: usize,
}

impl View<'_> {
    #[inline(always)]
    fn place(&self, position: usize) -> (usize, usize) {
        let block_size = self.kv.block_size;
        // SAFETY: the table has a block for every position that a caller may ask for.
        let block = unsafe { *self.blocks.get_unchecked(position / block_size) };
        (block as usize, position % block_size)
    }

    /// Keys of the 16 tokens from `position` on, a multiple of 16.
    #[inline(always)]
    pub unsafe fn keys(&self, position: usize) -> *const u8 {
        let (block, offset) = self.place(position);
        let keys = self.kv.k(self.layer, block, self.head);
        keys.add(offset * self.layer.k_token_bytes)
    }

    /// The row of values that `position` lies in; a row holds as many tokens as lie in one word.
    #[inline(always)]
    pub unsafe fn values(&self, position: usize) -> *const u8 {
        let (block, offset) = self.place(position);
        let values = self.kv.v(self.layer, block, self.head);
        values.add(offset * self.layer.v_token_bytes)
    }

    /// int8 only: scales of the keys from `position` on, to the end of its block.
    #[inline(always)]
    pub unsafe fn key_scales(&self, position: usize) -> *const f32 {
        let (block, offset) = self.place(position);
        let keys = self.kv.k(self.layer, block, self.head);
        let scales = keys.add(self.kv.block_size * self.layer.k_token_bytes);
        scales.cast::<f32>().add(offset)
    }

    /// int8 only: scales of the values from `position` on, to the end of its block.
    #[inline(always)]
    pub unsafe fn value_scales(&self, position: usize) -> *const f32 {
        let (block, offset) = self.place(position);
        let values = self.kv.v(self.layer, block, self.head);
        let scales = values.add(self.kv.block_size * self.layer.v_token_bytes);
        scales.cast::<f32>().add(offset)
    }
}
