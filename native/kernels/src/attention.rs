//! Paged attention over packed rows: check (`attention_check`), rotate and store (`attention_store`), attend.
//!
//! Invariants:
//! A1 No index reaches memory outside the pool: positions, slots, block ids and query starts are checked once a call.
//! A2 A row's result depends on its query and on the KV at logical positions 0 … its own, never on other rows of the call,
//!    on which physical blocks hold the KV, or on threads.
//! Sources: PagedAttention, arXiv:2309.06180; splits as in Flash-Decoding (Dao et al. 2023), but at fixed positions.

use std::ops::Range;

use crate::attention_check::check;
use crate::attention_store::rotate_and_store;
use crate::attention_tile::{MAX_VECTORS, SPLIT, Task, Tile, attend_tile, part_len};
use crate::error::KernelError;
use crate::kv_pool::KvPool;
use crate::packed_linear::SendPointer;
use crate::pool::Pool;
use crate::rope::{RopeStyle, RopeTable};
use crate::scratch::{Scratch, grow};

pub struct AttentionArgs<'a> {
    pub kv: &'a mut KvPool,
    pub layer: usize,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    /// Width of a value; `head_dim` in most models.
    pub value_dim: usize,
    pub scale: f32,
    /// Keys that a row sees, itself included; `usize::MAX` = all before it.
    pub window: usize,
    /// c · tanh(s / c) of each scaled score; 0 = none.
    pub softcap: f32,
    /// One logit a head that takes part in the softmax and has no value, `[num_heads]`.
    pub sinks: Option<&'a [f32]>,
    pub rope_style: RopeStyle,
    /// Needed unless the style is `None`.
    pub rope: Option<&'a RopeTable>,
    /// First rotated number of a head; those before it and behind the table's pairs are left alone.
    pub rope_offset: usize,
    pub qkv: &'a [f32], // [num_tokens, (num_heads + num_kv_heads) head_dim + num_kv_heads value_dim]
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

impl AttentionArgs<'_> {
    /// Numbers of one row of qkv.
    pub(crate) fn row_width(&self) -> usize {
        (self.num_heads + self.num_kv_heads) * self.head_dim + self.num_kv_heads * self.value_dim
    }

    /// First position that the row at `position` sees.
    fn first_visible(&self, position: usize) -> usize {
        (position + 1).saturating_sub(self.window)
    }
}

/// `out` is `[num_tokens, num_heads · value_dim]`.
///
/// # Errors
/// When an index is out of its range (A1); nothing has been written to the pool then.
///
/// Cost: 2 · num_heads · (head_dim + value_dim) operations a row and visible position; no allocation once `scratch` has grown.
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
    let splits = pieces.iter().map(|piece| piece.splits(args).len()).max();
    let tiles = pieces.iter().map(|piece| piece.tiles(args)).max();
    let (splits, tiles) = (splits.unwrap_or(0), tiles.unwrap_or(0));
    let part_len = part_len(&args.kv.layers[args.layer]);
    let num_tiles = pieces.len() * tiles;
    let parts = SendPointer(grow(parts, num_tiles * splits * part_len, 0.0).as_mut_ptr());
    // SAFETY of both passes: tiles are disjoint in (row, head) and each (tile, split) has a part of its own; the second
    // pass starts when the first has ended; all indices were checked.
    let attend = |at: usize, task: &dyn Fn(usize, *mut f32) -> Task| {
        let (piece, tile) = (&pieces[at / tiles], at % tiles);
        if tile < piece.tiles(args) {
            unsafe {
                let first = piece.splits(args).start;
                let task = task(first, parts.get().add(at * splits * part_len));
                piece.attend(args, tile, queries.get(), out.get(), task);
            }
        }
    };
    if splits == 1 {
        return pool.run(num_tiles, &|at| attend(at, &|_, _| Task::Whole));
    }
    pool.run(num_tiles * splits, &|at| {
        let index = at % splits;
        attend(at / splits, &|first, parts| Task::Split {
            index: first + index,
            to: unsafe { parts.add(index * part_len) },
        });
    });
    for at in 0..num_tiles {
        attend(at, &|first, parts| Task::Join { first, from: parts });
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

    /// Splits that any of the rows sees: from the first row's window to the last row.
    fn splits(&self, args: &AttentionArgs<'_>) -> Range<usize> {
        let first = args.first_visible(args.positions[self.rows.0] as usize);
        first / SPLIT..args.positions[self.rows.1 - 1] as usize / SPLIT + 1
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
        let (width, out_width) = (
            args.num_heads * args.head_dim,
            args.num_heads * args.value_dim,
        );
        let blocks = &args.block_tables[self.sequence * args.max_blocks_per_seq..]
            [..args.max_blocks_per_seq];
        let first = tile * MAX_VECTORS;
        let count = ((self.rows.1 - self.rows.0) * group - first).min(MAX_VECTORS);
        let mut tile = Tile::new(count, task);
        tile.scale = args.scale;
        tile.softcap = args.softcap;
        tile.fetches = self.rows.1 - self.rows.0 == 1;
        for vector in 0..count {
            let row = self.rows.0 + (first + vector) / group;
            let head = self.kv_head * group + (first + vector) % group;
            tile.queries[vector] = queries.add(row * width + head * args.head_dim);
            tile.outputs[vector] = out.add(row * out_width + head * args.value_dim);
            tile.firsts[vector] = args.first_visible(args.positions[row] as usize);
            tile.limits[vector] = args.positions[row] as usize + 1;
            tile.sinks[vector] = args.sinks.map(|sinks| sinks[head]);
        }
        let layer = &args.kv.layers[args.layer];
        attend_tile(args.kv, layer, blocks, self.kv_head, &tile);
    }
}
