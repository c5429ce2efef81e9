//! The first half of an attention call: one row's queries and keys are rotated, keys and values go to their slot.
//!
//! Knows the layout of the KV pool (`kv_pool`); knows nothing of who reads it.

use crate::attention::AttentionArgs;
use crate::kv_pool::{KvDtype, KvLayer, KvPool};
use crate::simd::{LANES, Simd};

/// Rotate one row's queries into `queries` and store its keys and values, unless its slot is -1.
///
/// # Safety
/// The arguments passed `attention_check::check`; no other thread stores to the row's slot.
pub(crate) unsafe fn rotate_and_store(args: &AttentionArgs<'_>, row: usize, queries: &mut [f32]) {
    let dim = args.head_dim;
    let width = args.row_width();
    let qkv = &args.qkv[row * width..][..width];
    let position = args.positions[row] as usize;
    let rotate = |from: &[f32], to: &mut [f32]| {
        to.copy_from_slice(from);
        if let Some(rope) = args.rope {
            let rotated = args.rope_offset..args.rope_offset + 2 * rope.pairs;
            rope.rotate(
                args.rope_style,
                position,
                &from[rotated.clone()],
                &mut to[rotated],
            );
        }
    };
    for (from, to) in qkv.chunks_exact(dim).zip(queries.chunks_exact_mut(dim)) {
        rotate(from, to);
    }
    let Ok(slot) = usize::try_from(args.slot_mapping[row]) else {
        return;
    };
    let mut key = [0.0_f32; crate::kv_pool::MAX_HEAD_DIM];
    let (keys, values) = qkv[args.num_heads * dim..].split_at(args.num_kv_heads * dim);
    for head in 0..args.num_kv_heads {
        rotate(&keys[head * dim..][..dim], &mut key[..dim]);
        let value = &values[head * args.value_dim..][..args.value_dim];
        let layer = &args.kv.layers[args.layer];
        store_kv(args.kv, layer, slot, head, &key[..dim], value);
    }
}

/// Write one token's key and value of one head.
unsafe fn store_kv(
    kv: &KvPool,
    layer: &KvLayer,
    slot: usize,
    head: usize,
    key: &[f32],
    value: &[f32],
) {
    let (block, offset) = (slot / kv.block_size, slot % kv.block_size);
    let dim = key.len();
    let k_at = offset / LANES * dim * LANES + offset % LANES;
    let (k, v) = (kv.k(layer, block, head), kv.v(layer, block, head));
    let mut padded = [0.0_f32; crate::kv_pool::MAX_HEAD_DIM];
    padded[..value.len()].copy_from_slice(value);
    let v_at = offset * layer.v_stride;
    match kv.dtype {
        KvDtype::F32 => {
            let (k, v) = (k.cast::<f32>(), v.cast::<f32>());
            for (d, value) in key.iter().enumerate() {
                *k.add(k_at + d * LANES) = *value;
            }
            std::ptr::copy_nonoverlapping(padded.as_ptr(), v.add(v_at), layer.v_stride);
        }
        KvDtype::Bf16 => {
            let (k, v) = (k.cast::<u16>(), v.cast::<u16>());
            let mut keys = [0.0_f32; crate::kv_pool::MAX_HEAD_DIM];
            keys[..dim].copy_from_slice(key);
            let mut rounded = [0_u16; crate::kv_pool::MAX_HEAD_DIM];
            to_bf16(
                keys.as_ptr(),
                dim.next_multiple_of(LANES),
                rounded.as_mut_ptr(),
            );
            for (d, value) in rounded[..dim].iter().enumerate() {
                *k.add(k_at + d * LANES) = *value;
            }
            to_bf16(padded.as_ptr(), layer.v_stride, v.add(v_at));
        }
    }
}

/// `len` is a multiple of 16.
unsafe fn to_bf16(from: *const f32, len: usize, to: *mut u16) {
    #[inline(always)]
    unsafe fn body<S: Simd>(from: *const f32, len: usize, to: *mut u16) {
        for at in (0..len).step_by(LANES) {
            S::store_bf16(to.add(at), S::load(from.add(at)));
        }
    }
    crate::dispatch!(body(from: *const f32, len: usize, to: *mut u16));
}
