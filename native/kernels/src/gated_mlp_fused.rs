//! A gated MLP whose weights take int8 or pairs of bf16: how its rows and tiles are cut, and the order they go in.
//!
//! F1 Many rows are cut by rows: a thread takes a piece through all three without waiting for another, in a room of its own that
//!    stays in its second cache. Few are cut by columns: first those of the middle, then those of the output.
//! F2 Tiles of gates follow one another for a while, then those of their ups: what comes next is then asked for ahead.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::gated_mlp::GatedMlp;
use crate::gated_mlp_rooms::{Middle, Room, RoomBuffers, RoomSizes, STAGED, STAGED_NUMBERS};
use crate::linear::{Activations, TILE_ROWS, Target};
use crate::linear_inputs::{Form, Inputs};
use crate::packed_linear::{BLOCK, PackedPart, SendPointer, TILE_COLUMNS};
use crate::pool::Pool;

/// What the activations of a piece may take of the second cache, beside the weights that pass through it.
const PIECE_BYTES: usize = 512 << 10;
/// Rows of a piece at least, whatever they take: each piece reads all weights, from memory where the model is large.
const LEAST_ROWS: usize = 8 * TILE_ROWS;
/// From this many rows a thread on, work is cut by rows.
const ROWS_A_THREAD: usize = 4;
/// Multiply-adds from which each thread gets a second piece, so that a thread taken away costs a quarter and not a half.
const LARGE: usize = 1 << 29;

pub(crate) struct Fused<'a> {
    mlp: &'a GatedMlp<'a>,
    activations: Activations,
    sizes: RoomSizes,
}

impl<'a> Fused<'a> {
    /// `None` where the layers must go one after the other.
    pub fn of(mlp: &'a GatedMlp<'a>, activations: Activations) -> Option<Self> {
        let (gate_up, down) = (&mlp.gate_up.parts, &mlp.down.parts);
        let (k, inner) = (mlp.gate_up.k(), mlp.inner());
        let form = |part: &PackedPart| Form::of(part.kind, activations);
        let is_fit = |part: &PackedPart, k| form(part) != Form::Float && part.order(k).is_none();
        let middle = form(&down[0]);
        let is_fused = inner.is_multiple_of(BLOCK)
            && gate_up
                .iter()
                .all(|part| part.rows.is_multiple_of(TILE_COLUMNS) && is_fit(part, k))
            && down
                .iter()
                .all(|part| form(part) == middle && is_fit(part, inner));
        let forms = gate_up.iter().map(form);
        is_fused.then(|| Self {
            mlp,
            activations,
            sizes: RoomSizes::new(k, forms, inner, middle),
        })
    }

    /// `x` is `[rows, K]`, `out` `[rows, N]`, one row or more.
    pub fn compute(
        &self,
        x: &[f32],
        rows: usize,
        out: &mut [f32],
        buffers: &mut RoomBuffers,
        pool: &Pool,
    ) {
        let threads = pool.threads();
        let out = SendPointer(out.as_mut_ptr());
        if threads == 1 || rows >= ROWS_A_THREAD * threads {
            self.by_rows(x, rows, out, buffers, pool);
        } else {
            self.by_columns(x, rows, out, buffers, pool);
        }
    }

    /// F1: pieces are claimed, so that a thread taken away holds up one at most.
    fn by_rows(
        &self,
        x: &[f32],
        rows: usize,
        out: SendPointer<f32>,
        buffers: &mut RoomBuffers,
        pool: &Pool,
    ) {
        let (k, n, inner) = (self.mlp.gate_up.k(), self.mlp.down.n(), self.mlp.inner());
        let most_rows = (PIECE_BYTES / self.sizes.row_bytes()).max(LEAST_ROWS);
        let threads = pool.threads();
        let is_large = rows * inner * (2 * k + n) > LARGE;
        let pieces = rows
            .div_ceil(most_rows)
            .max(if is_large { threads * 2 } else { threads })
            .next_multiple_of(threads)
            .min(rows.div_ceil(TILE_ROWS));
        let takers = threads.min(pieces);
        let rooms = self.sizes.rooms(takers, rows.div_ceil(pieces), 1, buffers);
        let next = AtomicUsize::new(0);
        pool.run(takers, &|taker| {
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= pieces {
                    return;
                }
                let (first, end) = (rows * piece / pieces, rows * (piece + 1) / pieces);
                let count = end - first;
                // SAFETY: pieces are disjoint rows; each taker has a room of its own, with as many rows as a piece has.
                unsafe {
                    let room = rooms.room(taker, x[first * k..end * k].as_ptr());
                    room.inputs.stage(0..count);
                    self.fill(&room, count, 0..inner / BLOCK, room.staged(0));
                    let out = out.get().add(first * n);
                    self.multiply(&room.middle, count, 0..self.down_tiles(), out);
                }
            }
        });
    }

    /// F1, all rows in one room.
    fn by_columns(
        &self,
        x: &[f32],
        rows: usize,
        out: SendPointer<f32>,
        buffers: &mut RoomBuffers,
        pool: &Pool,
    ) {
        let (blocks, tiles) = (self.mlp.inner() / BLOCK, self.down_tiles());
        let share =
            |of: usize, chunk: usize, chunks: usize| of * chunk / chunks..of * (chunk + 1) / chunks;
        let chunks = pool.threads().min(blocks);
        let rooms = self.sizes.rooms(1, rows, chunks, buffers);
        // SAFETY: there is room for all rows, and nobody else is at work yet.
        let room = unsafe {
            let room = rooms.room(0, x.as_ptr());
            room.inputs.stage(0..rows);
            room
        };
        pool.run(chunks, &|chunk| {
            let own = share(blocks, chunk, chunks);
            // SAFETY: chunks write disjoint blocks of the middle, and gates and ups of their own.
            unsafe { self.fill(&room, rows, own, room.staged(chunk)) };
        });
        let chunks = pool.threads().min(tiles);
        pool.run(chunks, &|chunk| {
            let own = share(tiles, chunk, chunks);
            // SAFETY: chunks write disjoint columns; the middle is whole.
            unsafe { self.multiply(&room.middle, rows, own, out.get()) };
        });
    }

    fn down_tiles(&self) -> usize {
        self.mlp.down.parts.iter().map(PackedPart::tiles).sum()
    }

    /// Compute these blocks of the middle of the first `rows` rows.
    ///
    /// # Safety
    /// The room's inputs are staged; these blocks of its middle and `staged` are nobody else's at this time.
    unsafe fn fill(&self, room: &Room, rows: usize, blocks: Range<usize>, staged: *mut f32) {
        let group = (STAGED_NUMBERS / (rows * STAGED)).max(1);
        for first in blocks.clone().step_by(group) {
            let these = first..blocks.end.min(first + group);
            let at = |block: usize| staged.add((block - first) * rows * STAGED);
            for half in 0..2 {
                for block in these.clone() {
                    let target = at(block).add(half * TILE_COLUMNS);
                    self.multiply_half(&room.inputs, rows, block, half, target);
                }
            }
            for block in these {
                room.middle.write(self.mlp.unit, at(block), rows, block);
            }
        }
    }

    /// The first or the second of the two tiles that a block of the middle is made of: gates and ups, or alternating.
    ///
    /// # Safety
    /// As `fill`; `out` has rows of 32 numbers that lie `STAGED` apart.
    unsafe fn multiply_half(
        &self,
        x: &Inputs,
        rows: usize,
        block: usize,
        half: usize,
        out: *mut f32,
    ) {
        let tile = if self.mlp.unit.is_interleaved {
            2 * block + half
        } else {
            block + half * (self.mlp.inner() / BLOCK)
        };
        let column = tile * TILE_COLUMNS;
        let mut parts = self.mlp.gate_up.parts.iter().rev();
        let part = parts.find(|part| part.first <= column);
        let part = part.expect("parts start at 0");
        let target = Target {
            out,
            stride: STAGED,
            width: TILE_COLUMNS,
            bias: self.mlp.gate_up_bias.map(|bias| bias[column..].as_ptr()),
        };
        let tile = (column - part.first) / TILE_COLUMNS;
        let form = Form::of(part.kind, self.activations);
        x.multiply(form, part, tile, 0..rows, std::ptr::null_mut(), &target);
    }

    /// Tiles of down, of the first `rows` rows.
    ///
    /// # Safety
    /// The middle's rows are whole; nobody else writes these columns of `out`.
    unsafe fn multiply(&self, middle: &Middle, rows: usize, tiles: Range<usize>, out: *mut f32) {
        let down = self.mlp.down;
        let parts = down.parts.iter();
        let all = parts.flat_map(|part| (0..part.tiles()).map(move |tile| (part, tile)));
        for (part, tile) in all.skip(tiles.start).take(tiles.len()) {
            let column = part.first + tile * TILE_COLUMNS;
            let target = Target {
                out: out.add(column),
                stride: down.n(),
                width: part.tile_width(tile),
                bias: self.mlp.down_bias.map(|bias| bias[column..].as_ptr()),
            };
            let panel = std::ptr::null_mut();
            middle
                .inputs
                .multiply(middle.form, part, tile, 0..rows, panel, &target);
        }
    }
}
