//! Memory of keys and values, in blocks that sequences own through their block tables.
//!
//! Owns one anonymous mapping whose pages are touched when first written, large ones where the system has them and the pool
//! is large. Per layer and block, for each KV head:
//! ```text
//! K  [blockSize / 16][headDim / n][16][n]   sixteen tokens side by side: scores of 16 tokens are one vector
//! V  [blockSize / n][stride][n]             stride = valueDim rounded up to 16
//! ```
//! n = what one dot-product instruction joins: 1 for f32 and f16, a pair for bf16, four for int8; headDim is rounded up to
//! it. int8 has a scale for each token behind the K, and another behind the V: 8 bytes a token and KV head. Knows nothing
//! of sequences; how numbers are rounded is `attention_store`'s.

use std::ptr;

use crate::error::KernelError;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KvDtype {
    F32,
    F16,
    Bf16,
    Int8,
}

impl KvDtype {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Int8 => 1,
        }
    }

    /// Neighbours that lie in one word of 32 bits: numbers of a key, tokens of a value.
    pub(crate) fn joined(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }

    fn scale_bytes(self) -> usize {
        match self {
            Self::Int8 => 4,
            Self::F32 | Self::F16 | Self::Bf16 => 0,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvLayerShape {
    pub num_kv_heads: usize,
    /// Of queries and keys.
    pub head_dim: usize,
    /// Of values.
    pub value_dim: usize,
}

/// Widest key and widest value that the kernels hold in their working memory; latent attention has 576 and 512.
pub(crate) const MAX_HEAD_DIM: usize = 1024;
pub(crate) const MAX_VALUE_DIM: usize = 512;

pub(crate) struct KvLayer {
    pub shape: KvLayerShape,
    /// Bytes from the pool's start to this layer's K; V follows the K of all blocks.
    k_at: usize,
    v_at: usize,
    k_head_bytes: usize,
    v_head_bytes: usize,
    /// Bytes a token, scales not counted.
    pub k_token_bytes: usize,
    pub v_token_bytes: usize,
    pub v_stride: usize,
}

pub struct KvPool {
    base: *mut u8,
    bytes: usize,
    pub(crate) dtype: KvDtype,
    pub(crate) block_size: usize,
    pub(crate) num_blocks: usize,
    pub(crate) layers: Vec<KvLayer>,
    /// For each slot the last call that stored to it, see `claim_slots`.
    last_calls: Vec<u32>,
    calls: u32,
}

// SAFETY: the pool is plain memory; who writes what is the kernels' business, through `&mut`.
unsafe impl Send for KvPool {}
// SAFETY: shared references only read the geometry.
unsafe impl Sync for KvPool {}

impl KvPool {
    /// Reserve the pool. `block_size` 16, 32 or 64 tokens; at least one block.
    ///
    /// # Errors
    /// When a size is out of its range, overflows, or the system refuses the reservation.
    pub fn new(
        layers: &[KvLayerShape],
        dtype: KvDtype,
        block_size: usize,
        num_blocks: usize,
    ) -> Result<Self, KernelError> {
        if ![16, 32, 64].contains(&block_size) {
            return Err(KernelError::new(format!(
                "a block holds 16, 32 or 64 tokens, got {block_size}"
            )));
        }
        if num_blocks == 0 || i32::try_from(num_blocks.saturating_mul(block_size)).is_err() {
            return Err(KernelError::new(format!(
                "the pool needs 1 block at least and fewer than 2^31 slots, got {num_blocks} blocks of {block_size}"
            )));
        }
        let mut bytes = 0_usize;
        let mut planned = Vec::with_capacity(layers.len());
        for shape in layers {
            if shape.num_kv_heads == 0
                || !(1..=MAX_HEAD_DIM).contains(&shape.head_dim)
                || !(1..=MAX_VALUE_DIM).contains(&shape.value_dim)
            {
                return Err(KernelError::new(format!(
                    "a layer has 1 KV head at least, keys of 1 to {MAX_HEAD_DIM} and values of 1 to {MAX_VALUE_DIM} numbers, got {}, {} and {}",
                    shape.num_kv_heads, shape.head_dim, shape.value_dim
                )));
            }
            let v_stride = shape.value_dim.next_multiple_of(16);
            let k_token_bytes = shape.head_dim.next_multiple_of(dtype.joined()) * dtype.bytes();
            let v_token_bytes = v_stride * dtype.bytes();
            let k_head_bytes = block_size * (k_token_bytes + dtype.scale_bytes());
            let v_head_bytes = block_size * (v_token_bytes + dtype.scale_bytes());
            let total = |head_bytes: usize| {
                head_bytes
                    .checked_mul(shape.num_kv_heads)?
                    .checked_mul(num_blocks)
            };
            let k_at = bytes;
            let v_at = total(k_head_bytes).and_then(|size| bytes.checked_add(size));
            let end = v_at.and_then(|at| total(v_head_bytes).and_then(|size| at.checked_add(size)));
            let (Some(v_at), Some(end)) = (v_at, end) else {
                return Err(KernelError::new(
                    "the KV pool would be larger than the address space",
                ));
            };
            bytes = end.next_multiple_of(4096);
            planned.push(KvLayer {
                shape: *shape,
                k_at,
                v_at,
                k_head_bytes,
                v_head_bytes,
                k_token_bytes,
                v_token_bytes,
                v_stride,
            });
        }
        let base = reserve(bytes, 2 * layers.len())?;
        Ok(Self {
            base,
            bytes,
            dtype,
            block_size,
            num_blocks,
            layers: planned,
            last_calls: vec![0; num_blocks * block_size],
            calls: 0,
        })
    }

    /// Bytes reserved; what is resident is what has been written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first slot that is named twice, if any. Two rows that store to one slot would race on two threads.
    /// Negative entries store nothing; the others are below the number of slots. O(slots named).
    pub(crate) fn claim_slots(&mut self, slots: &[i32]) -> Result<(), i32> {
        self.calls = self.calls.wrapping_add(1);
        if self.calls == 0 {
            self.last_calls.fill(0);
            self.calls = 1;
        }
        for &slot in slots {
            let Ok(index) = usize::try_from(slot) else {
                continue;
            };
            if std::mem::replace(&mut self.last_calls[index], self.calls) == self.calls {
                return Err(slot);
            }
        }
        Ok(())
    }

    /// Where a block's bytes lie: offset and length of its K and of its V, layer by layer.
    pub(crate) fn pieces(&self, block: usize) -> impl Iterator<Item = (usize, usize)> + use<'_> {
        self.layers.iter().flat_map(move |layer| {
            let heads = layer.shape.num_kv_heads;
            [
                (layer.k_at, heads * layer.k_head_bytes),
                (layer.v_at, heads * layer.v_head_bytes),
            ]
            .map(|(at, bytes)| (at + block * bytes, bytes))
        })
    }

    /// # Safety
    /// `offset` lies within the pool.
    pub(crate) unsafe fn at(&self, offset: usize) -> *mut u8 {
        self.base.add(offset)
    }

    /// Start of K of one head of one block. `block` < num_blocks, `head` < num_kv_heads.
    #[inline(always)]
    pub(crate) unsafe fn k(&self, layer: &KvLayer, block: usize, head: usize) -> *mut u8 {
        self.base
            .add(layer.k_at + (block * layer.shape.num_kv_heads + head) * layer.k_head_bytes)
    }

    #[inline(always)]
    pub(crate) unsafe fn v(&self, layer: &KvLayer, block: usize, head: usize) -> *mut u8 {
        self.base
            .add(layer.v_at + (block * layer.shape.num_kv_heads + head) * layer.v_head_bytes)
    }
}

/// The first token touches a page of each layer's K and of its V. With pages of 2 MB that would be all of a small pool, so
/// they are asked for where it is an eighth at most.
fn suits_large_pages(bytes: usize, num_pieces: usize) -> bool {
    bytes / 8 >= num_pieces * (2 << 20)
}

/// `num_pieces`: one layer's K or V each.
#[cfg(unix)]
fn reserve(bytes: usize, num_pieces: usize) -> Result<*mut u8, KernelError> {
    if bytes == 0 {
        return Ok(ptr::null_mut());
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping; no existing memory is named.
    let base = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        let cause = std::io::Error::last_os_error();
        return Err(KernelError::new(format!(
            "the system refused {bytes} bytes for the KV pool: {cause}"
        )));
    }
    // Blocks of a batch lie all over the pool: pages of 2 MB where the system gives them (2 KB runs at random places, Zen 4
    // under KVM, 2026-11-28: 5 to 15 % quicker). It is advice, so a refusal changes nothing.
    #[cfg(target_os = "linux")]
    if suits_large_pages(bytes, num_pieces) {
        // SAFETY: the mapping made above.
        unsafe { libc::madvise(base, bytes, libc::MADV_HUGEPAGE) };
    }
    Ok(base.cast())
}

#[cfg(unix)]
impl Drop for KvPool {
    fn drop(&mut self) {
        if !self.base.is_null() {
            // SAFETY: the mapping made in `new`; nobody holds a pointer into it past the pool's life.
            unsafe { libc::munmap(self.base.cast(), self.bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pools_are_resident_as_they_are_written() {
        // SmolLM2-135M with 64 MiB, 512 MiB and 1 GiB.
        let suits = [64_usize, 512, 1024].map(|mib| suits_large_pages(mib << 20, 60));
        assert_eq!(suits, [false, false, true]);
    }
}
