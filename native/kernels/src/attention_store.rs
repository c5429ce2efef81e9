//! The first half of an attention call: one row's queries and keys are rotated, queries are staged as the pool's element
//! type multiplies them, keys and values go to their slot.
//!
//! Knows the layout of the KV pool (`kv_pool`); knows nothing of who reads it. Rounding is to nearest even throughout;
//! int8 is symmetric, q = round(x · 127 / max|x|), with the scale max|x| / 127 of one token and KV head.

use std::ops::Range;

use crate::attention::AttentionArgs;
use crate::attention_bf16::store_rounded;
use crate::attention_int8::{LARGEST_QUERY, query_words as int8_query_words};
use crate::kv_pool::{KvDtype, KvLayer, KvPool, MAX_HEAD_DIM};
use crate::rope::RopeStyle;
use crate::simd::{LANES, Simd};

/// Words of 32 bits that a staged query takes.
pub(crate) fn query_words(dtype: KvDtype, head_dim: usize) -> usize {
    let steps = head_dim.div_ceil(dtype.joined());
    match dtype {
        KvDtype::F32 | KvDtype::F16 | KvDtype::Bf16 => steps,
        KvDtype::Int8 => int8_query_words(steps),
    }
}

/// Rotate and stage the queries of those of `rows` that attend to `queries`, `[attending row][head][query_words]`, and
/// store keys and values of all of them unless a row's slot is -1.
///
/// # Safety
/// The arguments passed `attention_check::check`; `queries` has room for the rows that attend; no other thread has these rows.
pub(crate) unsafe fn rotate_and_store(
    args: &AttentionArgs<'_>,
    rows: Range<usize>,
    queries: *mut u32,
) {
    #[inline(always)]
    unsafe fn body<S: Simd>(args: &AttentionArgs<'_>, first: usize, end: usize, queries: *mut u32) {
        // The first row that attends, and the next one after each.
        let mut next = args.wanted.map_or(first, |wanted| {
            wanted.partition_point(|&row| (row as usize) < first)
        });
        fetch_slot::<S>(args, first);
        for row in first..end {
            // Rows of a prompt follow each other in their blocks; single rows have one each, which comes from memory.
            if row + 1 < end && args.slot_mapping[row + 1] != args.slot_mapping[row] + 1 {
                fetch_slot::<S>(args, row + 1);
            }
            let attends = args
                .wanted
                .is_none_or(|wanted| wanted.get(next) == Some(&(row as i32)));
            row_of::<S>(args, row, attends.then_some(next), queries);
            next += usize::from(attends);
        }
    }
    let (first, end) = (rows.start, rows.end);
    crate::dispatch!(body(args: &AttentionArgs<'_>, first: usize, end: usize, queries: *mut u32));
}

/// One head's numbers, with room to be read and written in whole vectors.
#[repr(align(64))]
struct Head([f32; MAX_HEAD_DIM + LANES]);

#[inline(always)]
unsafe fn row_of<S: Simd>(
    args: &AttentionArgs<'_>,
    row: usize,
    attends_as: Option<usize>,
    queries: *mut u32,
) {
    let (dim, value_dim) = (args.head_dim, args.value_dim);
    let width = args.row_width();
    let qkv = &args.qkv[row * width..][..width];
    let position = args.positions[row] as usize;
    let mut head_buffer = std::mem::MaybeUninit::<Head>::uninit();
    let head = (&raw mut (*head_buffer.as_mut_ptr()).0).cast::<f32>();
    let dtype = args.kv.dtype;
    let words = query_words(dtype, dim);
    if let Some(place) = attends_as {
        for (index, query) in qkv[..args.num_heads * dim].chunks_exact(dim).enumerate() {
            take::<S>(args, position, query, head, true);
            let to = queries.add((place * args.num_heads + index) * words);
            stage_query::<S>(dtype, head, dim, to);
        }
    }
    let Ok(slot) = usize::try_from(args.slot_mapping[row]) else {
        return;
    };
    let (keys, values) = qkv[args.num_heads * dim..].split_at(args.num_kv_heads * dim);
    let layer = &args.kv.layers[args.layer];
    for index in 0..args.num_kv_heads {
        let place = Place::new(args.kv, layer, slot, index);
        take::<S>(args, position, &keys[index * dim..][..dim], head, true);
        place.store_key::<S>(dtype, head, dim);
        let value = &values[index * value_dim..][..value_dim];
        take::<S>(args, position, value, head, false);
        place.store_value::<S>(dtype, head, layer.v_stride, value_dim);
    }
}

/// Ask ahead for the lines that a row's keys and values are stored to.
#[inline(always)]
unsafe fn fetch_slot<S: Simd>(args: &AttentionArgs<'_>, row: usize) {
    let Ok(slot) = usize::try_from(args.slot_mapping[row]) else {
        return;
    };
    let layer = &args.kv.layers[args.layer];
    for head in 0..args.num_kv_heads {
        let place = Place::new(args.kv, layer, slot, head);
        for at in (0..LANES * layer.k_token_bytes).step_by(64) {
            S::fetch_far(place.keys.wrapping_add(at));
        }
        for at in (0..args.kv.dtype.joined() * layer.v_token_bytes).step_by(64) {
            S::fetch_far(place.values.wrapping_add(at));
        }
    }
}

/// Copy one head, rotated or not, to `head`; a few zeros behind it round it up to whole words and vectors.
#[inline(always)]
unsafe fn take<S: Simd>(
    args: &AttentionArgs<'_>,
    position: usize,
    from: &[f32],
    head: *mut f32,
    rotates: bool,
) {
    S::store(head.add(from.len()), S::splat(0.0));
    let rope = args
        .rope
        .filter(|_| rotates && args.rope_style != RopeStyle::None);
    let Some(rope) = rope else {
        return copy::<S>(from, head);
    };
    let (start, end) = (args.rope_offset, args.rope_offset + 2 * rope.pairs);
    copy::<S>(&from[..start], head);
    copy::<S>(&from[end..], head.add(end));
    let rotated = from[start..end].as_ptr();
    rope.rotate::<S>(args.rope_style, position, rotated, head.add(start));
}

/// Short enough not to be a call.
#[inline(always)]
unsafe fn copy<S: Simd>(from: &[f32], to: *mut f32) {
    let whole = from.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        S::store(to.add(at), S::load(from.as_ptr().add(at)));
    }
    for (at, number) in from.iter().enumerate().skip(whole) {
        *to.add(at) = *number;
    }
}

/// `head` holds `dim` numbers and zeros up to the next multiple of 16.
#[inline(always)]
unsafe fn stage_query<S: Simd>(dtype: KvDtype, head: *mut f32, dim: usize, to: *mut u32) {
    match dtype {
        KvDtype::F32 | KvDtype::F16 => {
            std::ptr::copy_nonoverlapping(head.cast::<u32>(), to, dim);
        }
        KvDtype::Bf16 => {
            let whole = dim / LANES * LANES;
            for at in (0..whole).step_by(LANES) {
                store_rounded::<S>(to.add(at / 2).cast(), S::load(head.add(at)));
            }
            if whole < dim {
                let mut rounded = [0_u16; LANES];
                store_rounded::<S>(rounded.as_mut_ptr(), S::load(head.add(whole)));
                let words = (dim - whole).div_ceil(2);
                let to = to.add(whole / 2);
                std::ptr::copy_nonoverlapping(rounded.as_ptr().cast::<u8>(), to.cast(), words * 4);
            }
        }
        KvDtype::Int8 => {
            let steps = dim.div_ceil(4);
            let (inverse, scale) = scaling(largest_of::<S>(head, dim), LARGEST_QUERY);
            let (high, low) = (to.cast::<i8>(), to.add(steps).cast::<i8>());
            let mut sums = [0_i32; 2];
            round_scaled::<S>(head, inverse, steps * 4);
            for d in 0..steps * 4 {
                let whole = *head.add(d) as i32;
                // Rounded up from -64, so that the low limb is a signed byte too.
                let limb = (whole + 64) >> 7;
                *high.add(d) = limb as i8;
                *low.add(d) = (whole - (limb << 7)) as i8;
                sums[0] += limb;
                sums[1] += whole - (limb << 7);
            }
            *to.add(2 * steps) = (-128 * sums[0]) as u32;
            *to.add(2 * steps + 1) = (-128 * sums[1]) as u32;
            *to.add(2 * steps + 2) = scale.to_bits();
        }
    }
}

/// Multiply and round the first `len` numbers, and what else is in their last vector.
#[inline(always)]
unsafe fn round_scaled<S: Simd>(head: *mut f32, factor: f32, len: usize) {
    for at in (0..len).step_by(LANES) {
        let scaled = S::mul(S::load(head.add(at)), S::splat(factor));
        S::store(head.add(at), S::round(scaled));
    }
}

/// (what numbers are multiplied with to be whole, what whole ones are multiplied with to be numbers again).
/// A head with a NaN or an infinity gets the scale NaN, so that the rows that see it say so.
#[inline(always)]
fn scaling(largest: f32, most: f32) -> (f32, f32) {
    if largest < 1e-30 {
        (0.0, 0.0)
    } else if largest < f32::INFINITY {
        (most / largest, largest / most)
    } else {
        (0.0, f32::NAN)
    }
}

/// NaN or infinite when any of the numbers is.
#[inline(always)]
unsafe fn largest_of<S: Simd>(head: *const f32, dim: usize) -> f32 {
    let mut bits = 0;
    for at in (0..dim).step_by(LANES) {
        let numbers = S::load(head.add(at));
        bits = bits.max(S::max_magnitude(numbers, numbers).to_bits());
    }
    f32::from_bits(bits)
}

/// Where one token's key and value of one KV head go.
struct Place {
    keys: *mut u8,
    values: *mut u8,
    /// int8 only.
    key_scale: *mut f32,
    value_scale: *mut f32,
    /// Of the token in its group of 16, and in its row of values.
    lane: usize,
    token: usize,
}

impl Place {
    #[inline(always)]
    unsafe fn new(kv: &KvPool, layer: &KvLayer, slot: usize, head: usize) -> Self {
        let (block, offset) = (slot / kv.block_size, slot % kv.block_size);
        let (keys, values) = (kv.k(layer, block, head), kv.v(layer, block, head));
        let joined = kv.dtype.joined();
        let key_scales = keys.add(kv.block_size * layer.k_token_bytes);
        let value_scales = values.add(kv.block_size * layer.v_token_bytes);
        Self {
            keys: keys.add(offset / LANES * LANES * layer.k_token_bytes),
            values: values.add(offset / joined * joined * layer.v_token_bytes),
            // Behind the block where there are no scales: not written then.
            key_scale: key_scales.cast::<f32>().wrapping_add(offset),
            value_scale: value_scales.cast::<f32>().wrapping_add(offset),
            lane: offset % LANES,
            token: offset % joined,
        }
    }

    #[inline(always)]
    unsafe fn store_key<S: Simd>(&self, dtype: KvDtype, head: *mut f32, dim: usize) {
        match dtype {
            KvDtype::F32 => {
                let keys = self.keys.cast::<f32>().add(self.lane);
                for d in 0..dim {
                    *keys.add(d * LANES) = *head.add(d);
                }
            }
            KvDtype::F16 => {
                let mut rounded = [0_u16; LANES];
                for at in (0..dim).step_by(LANES) {
                    S::store_f16(rounded.as_mut_ptr(), S::load(head.add(at)));
                    let keys = self.keys.cast::<u16>().add(at * LANES + self.lane);
                    for (d, number) in rounded[..(dim - at).min(LANES)].iter().enumerate() {
                        *keys.add(d * LANES) = *number;
                    }
                }
            }
            KvDtype::Bf16 => {
                let mut rounded = [0_u32; LANES / 2];
                for at in (0..dim).step_by(LANES) {
                    store_rounded::<S>(rounded.as_mut_ptr().cast(), S::load(head.add(at)));
                    let keys = self.keys.cast::<u32>().add(at / 2 * LANES + self.lane);
                    if at + LANES <= dim {
                        // Of known number: unrolled.
                        for (d, pair) in rounded.iter().enumerate() {
                            *keys.add(d * LANES) = *pair;
                        }
                    } else {
                        for (d, pair) in rounded[..(dim - at).div_ceil(2)].iter().enumerate() {
                            *keys.add(d * LANES) = *pair;
                        }
                    }
                }
            }
            KvDtype::Int8 => {
                let (inverse, scale) = scaling(largest_of::<S>(head, dim), 127.0);
                *self.key_scale = scale;
                let keys = self.keys.cast::<[u8; 4]>().add(self.lane);
                let steps = dim.div_ceil(4);
                round_scaled::<S>(head, inverse, steps * 4);
                let mut bytes = [0_u8; MAX_HEAD_DIM];
                for d in 0..steps * 4 {
                    bytes[d] = (*head.add(d) as i32 + 128) as u8;
                }
                for (step, word) in bytes.as_chunks::<4>().0[..steps].iter().enumerate() {
                    *keys.add(step * LANES) = *word;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store_value<S: Simd>(
        &self,
        dtype: KvDtype,
        head: *mut f32,
        stride: usize,
        dim: usize,
    ) {
        match dtype {
            KvDtype::F32 => {
                std::ptr::copy_nonoverlapping(head, self.values.cast::<f32>(), stride);
            }
            KvDtype::F16 => {
                for at in (0..stride).step_by(LANES) {
                    S::store_f16(self.values.cast::<u16>().add(at), S::load(head.add(at)));
                }
            }
            KvDtype::Bf16 => {
                let mut rounded = [0_u16; LANES];
                let values = self.values.cast::<u16>().add(self.token);
                for at in (0..stride).step_by(LANES) {
                    store_rounded::<S>(rounded.as_mut_ptr(), S::load(head.add(at)));
                    for (column, number) in rounded.iter().enumerate() {
                        *values.add((at + column) * 2) = *number;
                    }
                }
            }
            KvDtype::Int8 => {
                let (inverse, scale) = scaling(largest_of::<S>(head, dim), 127.0);
                *self.value_scale = scale;
                let values = self.values.cast::<i8>().add(self.token);
                round_scaled::<S>(head, inverse, stride);
                for column in 0..stride {
                    *values.add(column * 4) = *head.add(column) as i8;
                }
            }
        }
    }
}
