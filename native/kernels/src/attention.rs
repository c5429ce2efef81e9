//! Paged attention over packed rows: check (`attention_check`), rotate and store (`attention_store`), attend.
//!
//! Invariants:
//! A1 No index reaches memory outside the pool: positions, slots, block ids and query starts are checked once a call.
//! A2 A row's result depends on its query and on the KV at logical positions 0 … its own, never on other rows of the call,
//!    on which physical blocks hold the KV, or on threads.
//! Sources: PagedAttention, arXiv:2309.06180; splits as in Flash-Decoding (Dao et al. 2023), but at fixed positions.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

use crate::attention_ahead::Ahead;
use crate::attention_check::check;
use crate::attention_join::{Joined, VECTORS_A_PIECE, keep_parts, kept_parts, part_len};
use crate::attention_pieces::{Piece, cut_pieces, cut_runs};
use crate::attention_store::{query_words, rotate_and_store};
use crate::attention_tile::{MAX_VECTORS, SPLIT, Tile, Work, attend_split};
use crate::attention_view::View;
use crate::error::KernelError;
use crate::kv_pool::KvPool;
use crate::packed_linear::SendPointer;
use crate::pool::Pool;
use crate::rope::{RopeStyle, RopeTable};
use crate::scratch::{Scratch, grow};
use crate::simd::LANES;

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
    /// Rows that attend, ascending; the others are stored only. `None` = all.
    pub wanted: Option<&'a [i32]>,
}

impl AttentionArgs<'_> {
    /// Numbers of one row of qkv.
    pub(crate) fn row_width(&self) -> usize {
        (self.num_heads + self.num_kv_heads) * self.head_dim + self.num_kv_heads * self.value_dim
    }

    /// Rows that attend.
    pub(crate) fn num_wanted(&self) -> usize {
        self.wanted.map_or(self.num_tokens, <[i32]>::len)
    }

    /// First position that the row at `position` sees.
    fn first_visible(&self, position: usize) -> usize {
        (position + 1).saturating_sub(self.window)
    }
}

/// `out` is `[rows that attend, num_heads · value_dim]`.
///
/// # Errors
/// When an index is out of its range (A1); nothing has been written to the pool then.
///
/// Cost: 2 · num_heads · (head_dim + value_dim) operations a row and visible position; no allocation once `scratch` has
/// grown.
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
    let args = &args;
    let words = args.num_heads * query_words(args.kv.dtype, args.head_dim);
    let queries = grow(&mut scratch.queries, args.num_wanted() * words, 0);
    let queries = SendPointer(queries.as_mut_ptr());
    let chunks = tokens.div_ceil(8).min(pool.threads() * 2);
    pool.run(chunks, &|chunk| {
        let rows = tokens * chunk / chunks..tokens * (chunk + 1) / chunks;
        // SAFETY: rows have queries and slots of their own; indices were checked.
        unsafe { rotate_and_store(args, rows, queries.get()) }
    });
    let rows = Attending::new(args, &mut scratch.attending);
    let call = Call {
        args,
        positions: rows.positions,
        group: args.num_heads / args.num_kv_heads,
        queries: queries.get(),
        out: out.as_mut_ptr(),
    };
    let Scratch {
        pieces,
        runs,
        parts,
        ..
    } = scratch;
    cut_pieces(args, rows.starts, pieces);
    if pieces.len() < pool.threads() * 4 && pool.threads() > 1 {
        attend_splits(&call, pieces, parts, pool);
        return Ok(());
    }
    cut_runs(pieces, pool.threads(), runs);
    let (call, pieces, runs) = (&call, &*pieces, &*runs);
    pool.run(runs.len(), &|at| {
        for piece in runs[at].clone() {
            // What another thread comes to have is nearer to it then, too.
            let (next, is_first) = (pieces.get(piece + 1), piece == runs[at].start);
            // SAFETY: pieces are disjoint in (row, head); all indices were checked.
            unsafe { call.attend(&pieces[piece], next, is_first) }
        }
    });
    Ok(())
}

/// The rows that attend, sequence by sequence.
struct Attending<'a> {
    positions: &'a [i32], // [rows that attend]
    starts: &'a [i32],    // [num_seqs + 1]
}

impl<'a> Attending<'a> {
    /// `buffer` holds what is not simply the call's own.
    fn new(args: &AttentionArgs<'a>, buffer: &'a mut Vec<i32>) -> Self {
        let Some(wanted) = args.wanted else {
            return Self {
                positions: args.positions,
                starts: args.query_starts,
            };
        };
        buffer.clear();
        buffer.extend(wanted.iter().map(|&row| args.positions[row as usize]));
        let starts = &args.query_starts[..=args.num_seqs];
        buffer.extend(
            starts
                .iter()
                .map(|start| wanted.partition_point(|row| row < start) as i32),
        );
        let (positions, starts) = buffer.split_at(wanted.len());
        Self { positions, starts }
    }
}

/// Few pieces: every split of every piece is work of its own, and a second pass joins them in order (same bits, see
/// `attention_join`). A long context of one sequence keeps all threads busy this way.
fn attend_splits(call: &Call<'_>, pieces: &[Piece], parts: &mut Vec<f32>, pool: &Pool) {
    let stride = call.args.kv.layers[call.args.layer].v_stride;
    let splits = pieces.iter().map(|piece| call.splits(piece).len()).max();
    let splits = splits.unwrap_or(0);
    if splits == 1 {
        // SAFETY: as in `paged_attention`.
        return pool.run(pieces.len(), &|at| unsafe {
            call.attend(&pieces[at], None, true)
        });
    }
    let tile_len = part_len(stride);
    let split_len = VECTORS_A_PIECE / MAX_VECTORS * tile_len;
    let len = pieces.len() * splits * split_len;
    let parts = SendPointer(grow(parts, len, 0.0).as_mut_ptr());
    pool.run(pieces.len() * splits, &|at| {
        let piece = &pieces[at / splits];
        let split = call.splits(piece).start + at % splits;
        if split < call.splits(piece).end {
            let mut work = MaybeUninit::<Work>::uninit();
            // SAFETY: each (piece, split) has a part of its own; all indices were checked; of `work` nothing is read that
            // `attend_split` has not written.
            unsafe {
                let work = &mut *work.as_mut_ptr();
                let ahead = piece.is_decode.then(|| Ahead::new(true));
                for (index, first) in piece.tiles().enumerate() {
                    let tile = call.tile(piece, first, ahead.as_ref());
                    attend_split(&call.view(piece), &tile, split * SPLIT, work);
                    let to = parts.get().add(at * split_len + index * tile_len);
                    keep_parts(work, tile.count, stride, to);
                }
            }
        }
    });
    pool.run(pieces.len(), &|at| {
        let piece = &pieces[at];
        // SAFETY: the pass above has ended; pieces are disjoint in (row, head).
        unsafe {
            call.join(piece, |joined| {
                for index in 0..call.splits(piece).len() {
                    for (tile, first) in piece.tiles().enumerate() {
                        let part = (at * splits + index) * split_len + tile * tile_len;
                        let count = (piece.vectors.end - first).min(MAX_VECTORS);
                        let kept = kept_parts(parts.get().add(part), count, stride);
                        joined.add(first - piece.vectors.start, stride, &kept);
                    }
                }
            });
        }
    });
}

/// One call after its queries were staged.
struct Call<'a> {
    args: &'a AttentionArgs<'a>,
    positions: &'a [i32], // [rows that attend]
    group: usize,
    queries: *const u32,
    out: *mut f32,
}

// SAFETY: the pointers are read, or written by one thread for each (row, head).
unsafe impl Sync for Call<'_> {}

impl Call<'_> {
    fn row(&self, piece: &Piece, vector: usize) -> usize {
        piece.first_row + vector / self.group
    }

    fn head(&self, piece: &Piece, vector: usize) -> usize {
        piece.kv_head * self.group + vector % self.group
    }

    fn view(&self, piece: &Piece) -> View<'_> {
        let args = self.args;
        let blocks = &args.block_tables[piece.sequence * args.max_blocks_per_seq..];
        View {
            kv: args.kv,
            layer: &args.kv.layers[args.layer],
            blocks: &blocks[..args.max_blocks_per_seq],
            head: piece.kv_head,
        }
    }

    /// Splits that any of the vectors sees: from the first row's window to the last row.
    fn splits(&self, piece: &Piece) -> Range<usize> {
        let position = |vector: usize| self.positions[self.row(piece, vector)] as usize;
        let first = self.args.first_visible(position(piece.vectors.start));
        first / SPLIT..position(piece.vectors.end - 1) / SPLIT + 1
    }

    fn tile<'b>(&self, piece: &Piece, first: usize, ahead: Option<&'b Ahead>) -> Tile<'b> {
        let args = self.args;
        let words = query_words(args.kv.dtype, args.head_dim);
        let count = (piece.vectors.end - first).min(MAX_VECTORS);
        let mut tile = Tile {
            queries: [self.queries; MAX_VECTORS],
            firsts: [0; MAX_VECTORS],
            limits: [0; MAX_VECTORS],
            count,
            scale: args.scale,
            softcap: args.softcap,
            ahead,
        };
        for vector in 0..count {
            let (row, head) = (
                self.row(piece, first + vector),
                self.head(piece, first + vector),
            );
            let position = self.positions[row] as usize;
            // SAFETY: the row's queries lie within what `paged_attention` made room for.
            tile.queries[vector] =
                unsafe { self.queries.add((row * args.num_heads + head) * words) };
            tile.firsts[vector] = args.first_visible(position);
            tile.limits[vector] = position + 1;
        }
        tile
    }

    /// `next` is the piece and split that are attended to next.
    fn look_ahead(&self, is_first: bool, next: Option<(&Piece, usize)>) -> Ahead {
        let mut ahead = Ahead::new(is_first);
        if let Some((piece, split)) = next {
            let view = self.view(piece);
            let position = self.positions[self.row(piece, piece.vectors.start)] as usize;
            let first = self.args.first_visible(position).max(split * SPLIT) / LANES * LANES;
            let end = (position + 1).min((split + 1) * SPLIT);
            for position in (first..end).step_by(LANES) {
                // SAFETY: a position that the row sees.
                unsafe { ahead.push(view.keys(position), view.values(position)) };
            }
        }
        ahead
    }

    /// The whole of a piece, split after split, so that each is read from the outer caches once; `next` is the piece that is
    /// attended to after it, most likely by the same thread, and `is_first` says that none was before.
    unsafe fn attend(&self, piece: &Piece, next: Option<&Piece>, is_first: bool) {
        let view = self.view(piece);
        let stride = view.layer.v_stride;
        let mut work = MaybeUninit::<Work>::uninit();
        let work = &mut *work.as_mut_ptr();
        self.join(piece, |joined| {
            let splits = self.splits(piece);
            for split in splits.clone() {
                let ahead = piece.is_decode.then(|| {
                    let next_piece = || next.map(|next| (next, self.splits(next).start));
                    let next = (split + 1 < splits.end).then_some((piece, split + 1));
                    self.look_ahead(is_first && split == splits.start, next.or_else(next_piece))
                });
                for first in piece.tiles() {
                    let ahead = ahead.as_ref().filter(|_| first == piece.vectors.start);
                    let tile = self.tile(piece, first, ahead);
                    attend_split(&view, &tile, split * SPLIT, work);
                    let parts = work.parts(tile.count);
                    joined.add(first - piece.vectors.start, stride, &parts);
                }
            }
        });
    }

    /// Start the piece's vectors, have `add` join their splits, write them out.
    unsafe fn join(&self, piece: &Piece, add: impl FnOnce(&mut Joined)) {
        let args = self.args;
        let mut joined = MaybeUninit::<Joined>::uninit();
        let joined = &mut *joined.as_mut_ptr();
        let mut outs = [ptr::null_mut(); VECTORS_A_PIECE];
        for (at, vector) in piece.vectors.clone().enumerate() {
            let (row, head) = (self.row(piece, vector), self.head(piece, vector));
            joined.start(at, args.sinks.map(|sinks| sinks[head]));
            outs[at] = self.out.add((row * args.num_heads + head) * args.value_dim);
        }
        add(joined);
        let stride = args.kv.layers[args.layer].v_stride;
        joined.finish(stride, args.value_dim, &outs[..piece.vectors.len()]);
    }
}
