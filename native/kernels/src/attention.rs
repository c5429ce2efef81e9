//! Paged attention over packed rows: check, rotate and store, attend.
//!
//! Invariants:
//! A1 No index reaches memory outside the pool: positions, slots, block ids and query starts are checked once a call.
//! A2 A row's result depends on its query and on the KV at logical positions 0 … its own, never on other rows of the call,
//!    on which physical blocks hold the KV, or on threads.
//! Sources: PagedAttention, arXiv:2309.06180; splits as in Flash-Decoding (Dao et al. 2023), but at fixed positions.

use crate::attention_tile::{MAX_VECTORS, SPLIT, Task, Tile, attend_tile, part_len};
use crate::error::KernelError;
use crate::kv_pool::{KvDtype, KvLayer, KvPool};
use crate::packed_linear::SendPointer;
use crate::pool::Pool;
use crate::rope::{RopeStyle, RopeTable};
use crate::scratch::{Scratch, grow};
use crate::simd::{LANES, Simd};

pub struct AttentionArgs<'a> {
    pub kv: &'a mut KvPool,
    pub layer: usize,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub scale: f32,
    pub rope_style: RopeStyle,
    /// Needed unless the style is `None`.
    pub rope: Option<&'a RopeTable>,
    pub qkv: &'a [f32], // [num_tokens, (num_heads + 2 num_kv_heads) head_dim]
    pub positions: &'a [i32], // [num_tokens]
    pub slot_mapping: &'a [i32], // [num_tokens], -1 = not stored
    pub query_starts: &'a [i32], // [num_seqs + 1]
    pub context_lengths: &'a [i32], // [num_seqs]
    pub block_tables: &'a [i32], // [num_seqs, max_blocks_per_seq]
    pub max_blocks_per_seq: usize,
    pub num_seqs: usize,
    pub num_tokens: usize,
}

/// Rows of one sequence and KV head that one chunk of work takes.
const ROWS_A_CHUNK: usize = 12;

/// `out` is `[num_tokens, num_heads · head_dim]`.
///
/// # Errors
/// When an index is out of its range (A1); nothing has been written to the pool then.
///
/// Cost: 4 · num_heads · head_dim operations a row and visible position; no allocation once `scratch` has grown.
pub fn paged_attention(
    args: AttentionArgs<'_>,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) -> Result<(), KernelError> {
    check(&args, out)?;
    let tokens = args.num_tokens;
    args.kv
        .claim_slots(&args.slot_mapping[..tokens])
        .map_err(|slot| KernelError::new(format!("two rows of one call store to slot {slot}")))?;
    if tokens == 0 {
        return Ok(());
    }
    let query_width = args.num_heads * args.head_dim;
    let queries = SendPointer(grow(&mut scratch.queries, tokens * query_width, 0.0).as_mut_ptr());
    let args = &args;
    let chunks = tokens.div_ceil(8).min(pool.threads() * 2);
    pool.run(chunks, &|chunk| {
        for row in tokens * chunk / chunks..tokens * (chunk + 1) / chunks {
            // SAFETY: rows have queries and slots of their own; indices were checked.
            unsafe {
                let to = std::slice::from_raw_parts_mut(
                    queries.get().add(row * query_width),
                    query_width,
                );
                rotate_and_store(args, row, to);
            }
        }
    });
    let pieces = &mut scratch.pieces;
    pieces.clear();
    for sequence in 0..args.num_seqs {
        let rows = args.query_starts[sequence] as usize..args.query_starts[sequence + 1] as usize;
        for first in rows.clone().step_by(ROWS_A_CHUNK) {
            let last = (first + ROWS_A_CHUNK).min(rows.end);
            for kv_head in 0..args.num_kv_heads {
                pieces.push(Piece {
                    sequence,
                    kv_head,
                    rows: (first, last),
                });
            }
        }
    }
    let out = SendPointer(out.as_mut_ptr());
    if pieces.len() < pool.threads() * 4 && pool.threads() > 1 {
        attend_splits(args, pieces, queries, out, &mut scratch.parts, pool);
        return Ok(());
    }
    let pieces = &*pieces;
    pool.run(pieces.len(), &|at| {
        // The longest contexts lie at the end of a prompt: claimed first, they do not leave a thread waiting.
        let piece = &pieces[pieces.len() - 1 - at];
        for tile in 0..piece.tiles(args) {
            // SAFETY: pieces are disjoint in (row, head); all indices were checked.
            unsafe { piece.attend(args, tile, queries.get(), out.get(), Task::Whole) }
        }
    });
    Ok(())
}

/// Few pieces: every split of every tile is work of its own, and a second pass joins them in order (same bits, see
/// `attention_tile`). A long context of one sequence keeps all threads busy this way.
fn attend_splits(
    args: &AttentionArgs<'_>,
    pieces: &[Piece],
    queries: SendPointer<f32>,
    out: SendPointer<f32>,
    parts: &mut Vec<f32>,
    pool: &Pool,
) {
    let splits = pieces.iter().map(|piece| piece.splits(args)).max();
    let tiles = pieces.iter().map(|piece| piece.tiles(args)).max();
    let (splits, tiles) = (splits.unwrap_or(0), tiles.unwrap_or(0));
    let part_len = part_len(&args.kv.layers[args.layer]);
    let num_tiles = pieces.len() * tiles;
    let parts = SendPointer(grow(parts, num_tiles * splits * part_len, 0.0).as_mut_ptr());
    // SAFETY of both passes: tiles are disjoint in (row, head) and each (tile, split) has a part of its own; the second
    // pass starts when the first has ended; all indices were checked.
    let attend = |at: usize, task: &dyn Fn(*mut f32) -> Task| {
        let (piece, tile) = (&pieces[at / tiles], at % tiles);
        if tile < piece.tiles(args) {
            unsafe {
                let task = task(parts.get().add(at * splits * part_len));
                piece.attend(args, tile, queries.get(), out.get(), task);
            }
        }
    };
    if splits == 1 {
        return pool.run(num_tiles, &|at| attend(at, &|_| Task::Whole));
    }
    pool.run(num_tiles * splits, &|at| {
        let index = at % splits;
        attend(at / splits, &|parts| Task::Split {
            index,
            to: unsafe { parts.add(index * part_len) },
        });
    });
    for at in 0..num_tiles {
        attend(at, &|parts| Task::Join { from: parts });
    }
}

/// Some rows of one sequence, with the query heads of one KV head.
pub(crate) struct Piece {
    sequence: usize,
    kv_head: usize,
    rows: (usize, usize),
}

impl Piece {
    /// Tiles of (row, head) vectors.
    fn tiles(&self, args: &AttentionArgs<'_>) -> usize {
        let group = args.num_heads / args.num_kv_heads;
        ((self.rows.1 - self.rows.0) * group).div_ceil(MAX_VECTORS)
    }

    /// Splits that the last row, which sees most, sees.
    fn splits(&self, args: &AttentionArgs<'_>) -> usize {
        args.positions[self.rows.1 - 1] as usize / SPLIT + 1
    }

    unsafe fn attend(
        &self,
        args: &AttentionArgs<'_>,
        tile: usize,
        queries: *const f32,
        out: *mut f32,
        task: Task,
    ) {
        let group = args.num_heads / args.num_kv_heads;
        let width = args.num_heads * args.head_dim;
        let blocks = &args.block_tables[self.sequence * args.max_blocks_per_seq..]
            [..args.max_blocks_per_seq];
        let first = tile * MAX_VECTORS;
        let count = ((self.rows.1 - self.rows.0) * group - first).min(MAX_VECTORS);
        let mut tile = Tile::new(count, args.head_dim, args.scale);
        tile.task = task;
        tile.fetches = self.rows.1 - self.rows.0 == 1;
        for vector in 0..count {
            let row = self.rows.0 + (first + vector) / group;
            let head = self.kv_head * group + (first + vector) % group;
            tile.queries[vector] = queries.add(row * width + head * args.head_dim);
            tile.outputs[vector] = out.add(row * width + head * args.head_dim);
            tile.limits[vector] = args.positions[row] as usize + 1;
        }
        let layer = &args.kv.layers[args.layer];
        attend_tile(args.kv, layer, blocks, self.kv_head, &tile);
    }
}

unsafe fn rotate_and_store(args: &AttentionArgs<'_>, row: usize, queries: &mut [f32]) {
    let dim = args.head_dim;
    let width = (args.num_heads + 2 * args.num_kv_heads) * dim;
    let qkv = &args.qkv[row * width..][..width];
    let position = args.positions[row] as usize;
    let rotate = |from: &[f32], to: &mut [f32]| match args.rope {
        Some(rope) => rope.rotate(args.rope_style, position, from, to),
        None => to.copy_from_slice(from),
    };
    for (from, to) in qkv.chunks_exact(dim).zip(queries.chunks_exact_mut(dim)) {
        rotate(from, to);
    }
    let Ok(slot) = usize::try_from(args.slot_mapping[row]) else {
        return;
    };
    let mut key = [0.0_f32; crate::kv_pool::MAX_HEAD_DIM];
    let keys = &qkv[args.num_heads * dim..];
    for head in 0..args.num_kv_heads {
        rotate(&keys[head * dim..][..dim], &mut key[..dim]);
        let value = &keys[(args.num_kv_heads + head) * dim..][..dim];
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
    padded[..dim].copy_from_slice(value);
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
            to_bf16(keys.as_ptr(), layer.v_stride, rounded.as_mut_ptr());
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

/// Everything the kernels index with (A1). O(tokens + blocks in use), no allocation.
fn check(args: &AttentionArgs<'_>, out: &[f32]) -> Result<(), KernelError> {
    let fail = |message: String| Err(KernelError::new(message));
    let (tokens, seqs) = (args.num_tokens, args.num_seqs);
    let Some(layer) = args.kv.layers.get(args.layer) else {
        return fail(format!(
            "layer {} of {} KV layers",
            args.layer,
            args.kv.layers.len()
        ));
    };
    if layer.shape.num_kv_heads != args.num_kv_heads
        || layer.shape.head_dim != args.head_dim
        || args.num_heads == 0
        || !args.num_heads.is_multiple_of(args.num_kv_heads)
    {
        return fail(format!(
            "{} heads over {} KV heads of {} do not fit the layer's KV",
            args.num_heads, args.num_kv_heads, args.head_dim
        ));
    }
    let width = (args.num_heads + 2 * args.num_kv_heads) * args.head_dim;
    if args.qkv.len() != tokens * width || out.len() != tokens * args.num_heads * args.head_dim {
        return fail(format!(
            "qkv has {} values and out {} for {tokens} tokens",
            args.qkv.len(),
            out.len()
        ));
    }
    if args.positions.len() < tokens
        || args.slot_mapping.len() < tokens
        || args.query_starts.len() < seqs + 1
        || args.context_lengths.len() < seqs
        || args.block_tables.len() < seqs * args.max_blocks_per_seq
    {
        return fail(format!(
            "index arrays are too short for {tokens} tokens of {seqs} sequences"
        ));
    }
    let max_positions = match (args.rope_style, args.rope) {
        (RopeStyle::None, _) => usize::MAX,
        (_, Some(rope)) if 2 * rope.pairs <= args.head_dim => rope.max_positions,
        _ => return fail("the rope table is missing or wider than a head".to_owned()),
    };
    let slots = args.kv.num_blocks * args.kv.block_size;
    if let Some(slot) = args.slot_mapping[..tokens]
        .iter()
        .find(|&&slot| slot < -1 || slot >= slots as i32)
    {
        return fail(format!("slot {slot} is outside the pool of {slots} slots"));
    }
    let starts = &args.query_starts[..=seqs];
    if starts[0] != 0
        || starts[seqs] != tokens as i32
        || starts.windows(2).any(|pair| pair[0] > pair[1])
    {
        return fail(format!(
            "query starts do not cut {tokens} tokens into {seqs} sequences"
        ));
    }
    for sequence in 0..seqs {
        let rows = starts[sequence] as usize..starts[sequence + 1] as usize;
        let mut last = -1;
        for row in rows {
            if args.positions[row] <= last {
                return fail(format!(
                    "row {row}: position {} does not ascend",
                    args.positions[row]
                ));
            }
            last = args.positions[row];
        }
        if last < 0 {
            continue;
        }
        let visible = last as usize + 1;
        let blocks = visible.div_ceil(args.kv.block_size);
        if visible > max_positions
            || last >= args.context_lengths[sequence]
            || blocks > args.max_blocks_per_seq
        {
            return fail(format!(
                "sequence {sequence}: position {last} is beyond its context of {}, {} blocks or {max_positions} positions",
                args.context_lengths[sequence], args.max_blocks_per_seq
            ));
        }
        let table = &args.block_tables[sequence * args.max_blocks_per_seq..][..blocks];
        // As unsigned, a negative id is a large one; one pass that compiles to vector instructions.
        let largest = table
            .iter()
            .fold(0_u32, |largest, &id| largest.max(id as u32));
        if largest as usize >= args.kv.num_blocks {
            return fail(format!(
                "sequence {sequence}: block {} of {} blocks",
                largest as i32, args.kv.num_blocks
            ));
        }
    }
    Ok(())
}
