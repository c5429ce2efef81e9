//! Whole blocks of the KV pool as bytes: copied within it, taken out of it and put back.
//!
//! Owns nothing. A block's bytes are those of all layers, in the order of the pool: K, then V, of each layer. They mean
//! something to a pool of the same layers, type and block size only, and kernels of the same family fill them alike; who
//! keeps them outside must see to that. Every byte moves as it is, so a moved block is the computed block bit for bit.

use std::slice;

use crate::error::KernelError;
use crate::kv_pool::KvPool;

impl KvPool {
    /// Bytes of one block over all layers.
    pub fn block_bytes(&self) -> usize {
        self.pieces(0).map(|(_, bytes)| bytes).sum()
    }

    /// Copy blocks in order; a pair is (from, to).
    ///
    /// # Errors
    /// When an id is not one of a block; nothing is copied then.
    pub fn copy_blocks(&mut self, pairs: &[[i32; 2]]) -> Result<(), KernelError> {
        for id in pairs.as_flattened() {
            self.checked(*id)?;
        }
        for &[from, to] in pairs {
            let (from, to) = (from as usize, to as usize);
            for ((source, bytes), (target, _)) in self.pieces(from).zip(self.pieces(to)) {
                // SAFETY: both pieces lie in the pool; they are the same piece, or do not overlap.
                unsafe { self.at(source).copy_to(self.at(target), bytes) };
            }
        }
        Ok(())
    }

    /// Copy a block's bytes out of the pool.
    ///
    /// # Errors
    /// When the id is not one of a block, or `into` has another size than `block_bytes`.
    pub fn read_block(&self, id: i32, into: &mut [u8]) -> Result<(), KernelError> {
        let block = self.checked(id)?;
        self.check_size(into.len())?;
        let mut rest = into;
        for (offset, bytes) in self.pieces(block) {
            let (piece, behind) = rest.split_at_mut(bytes);
            // SAFETY: the piece lies in the pool, whose pages are zeros until they are written, and nobody writes it
            // while `self` is borrowed.
            piece.copy_from_slice(unsafe { slice::from_raw_parts(self.at(offset), bytes) });
            rest = behind;
        }
        Ok(())
    }

    /// Put a block's bytes into the pool, as `read_block` gave them.
    ///
    /// # Errors
    /// When the id is not one of a block, or `from` has another size than `block_bytes`.
    pub fn write_block(&mut self, id: i32, from: &[u8]) -> Result<(), KernelError> {
        let block = self.checked(id)?;
        self.check_size(from.len())?;
        let mut rest = from;
        for (offset, bytes) in self.pieces(block) {
            let (piece, behind) = rest.split_at(bytes);
            // SAFETY: the piece lies in the pool, which is borrowed for writing; `from` is memory outside of it.
            unsafe {
                self.at(offset)
                    .copy_from_nonoverlapping(piece.as_ptr(), bytes)
            };
            rest = behind;
        }
        Ok(())
    }

    fn checked(&self, id: i32) -> Result<usize, KernelError> {
        usize::try_from(id)
            .ok()
            .filter(|block| *block < self.num_blocks)
            .ok_or_else(|| {
                KernelError::new(format!(
                    "block ids are 0 to {}, got {id}",
                    self.num_blocks - 1
                ))
            })
    }

    fn check_size(&self, bytes: usize) -> Result<(), KernelError> {
        let expected = self.block_bytes();
        if bytes == expected {
            return Ok(());
        }
        Err(KernelError::new(format!(
            "a block has {expected} bytes, got {bytes}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use crate::kv_pool::{KvDtype, KvLayerShape, KvPool};

    const SHAPES: [KvLayerShape; 2] = [
        KvLayerShape {
            num_kv_heads: 2,
            head_dim: 20,
            value_dim: 20,
        },
        KvLayerShape {
            num_kv_heads: 1,
            head_dim: 64,
            value_dim: 33,
        },
    ];

    fn numbered(bytes: usize, seed: usize) -> Vec<u8> {
        (0..bytes)
            .map(|at| (at.wrapping_mul(31).wrapping_add(seed * 7) >> 2) as u8)
            .collect()
    }

    fn block(pool: &KvPool, id: i32) -> Vec<u8> {
        let mut bytes = vec![0; pool.block_bytes()];
        pool.read_block(id, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn blocks_come_back_as_they_were_put_in_and_touch_no_other() {
        for dtype in [KvDtype::F32, KvDtype::F16, KvDtype::Bf16, KvDtype::Int8] {
            let mut pool = KvPool::new(&SHAPES, dtype, 16, 5).unwrap();
            let bytes = pool.block_bytes();
            assert!(bytes * 5 <= pool.bytes());
            for id in 0..5 {
                pool.write_block(id, &numbered(bytes, id as usize)).unwrap();
            }
            for id in 0..5 {
                assert_eq!(block(&pool, id), numbered(bytes, id as usize), "{dtype:?}");
            }
        }
    }

    #[test]
    fn copies_happen_in_order() {
        let mut pool = KvPool::new(&SHAPES, KvDtype::Bf16, 32, 4).unwrap();
        let bytes = pool.block_bytes();
        for id in 0..4 {
            pool.write_block(id, &numbered(bytes, id as usize)).unwrap();
        }
        pool.copy_blocks(&[[0, 2], [2, 3], [1, 1]]).unwrap();
        let found: Vec<_> = (0..4).map(|id| block(&pool, id)).collect();
        let expected: Vec<_> = [0, 1, 0, 0].map(|id| numbered(bytes, id)).into();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_a_block_is_refused_before_anything_moves() {
        let mut pool = KvPool::new(&SHAPES, KvDtype::F32, 16, 2).unwrap();
        let bytes = pool.block_bytes();
        pool.write_block(0, &numbered(bytes, 1)).unwrap();
        assert!(pool.copy_blocks(&[[0, 1], [0, 2]]).is_err());
        assert!(pool.copy_blocks(&[[-1, 1]]).is_err());
        assert_eq!(block(&pool, 1), vec![0; bytes]);
        assert!(pool.read_block(2, &mut vec![0; bytes]).is_err());
        assert!(pool.read_block(0, &mut vec![0; bytes - 1]).is_err());
        assert!(pool.write_block(0, &vec![0; bytes + 1]).is_err());
    }
}
