//! Where the rows of a gated MLP are while they are under way: x and the middle in the forms that are multiplied, and the gates
//! and ups of a few blocks in f32.
//!
//! Owns the buffers' layout; knows no threads. R1: a room's rows lie as `Inputs::stage` lays the rows 0 … of a range.

use crate::activation::{Gated, gated_body};
use crate::linear::{TILE_ROWS, row_tiles};
use crate::linear_bf16::round_row;
use crate::linear_inputs::{Form, Inputs};
use crate::packed_linear::{BLOCK, SendPointer, TILE_COLUMNS};
use crate::quantize::{QuantisedRow, quantise_block};
use crate::scratch::grow;
use crate::simd::Simd;

/// Gates and ups of one row and one block of the middle.
pub(crate) const STAGED: usize = 2 * TILE_COLUMNS;
/// Gates and ups that lie beside one another, at most where it is more than one block's: 128 KB of the second cache.
pub(crate) const STAGED_NUMBERS: usize = 1 << 15;

/// The memory of all rooms; it grows to the largest step.
#[derive(Default)]
pub(crate) struct RoomBuffers {
    quantised: Vec<QuantisedRow>,
    pairs: Vec<u32>,
    staged: Vec<f32>,
}

/// What a row takes.
pub(crate) struct RoomSizes {
    k: usize,
    inner: usize,
    /// Of the middle: `Int8` or `Pairs`.
    form: Form,
    /// Blocks of x and of the middle.
    blocks: [usize; 2],
    /// Words of pairs of x and of the middle.
    words: [usize; 2],
}

impl RoomSizes {
    /// @param forms - in which x is multiplied, none of them `Float`
    pub fn new(k: usize, forms: impl Iterator<Item = Form>, inner: usize, form: Form) -> Self {
        let (mut blocks, mut words) = ([0; 2], [0; 2]);
        let all = forms.map(|form| (0, form, k)).chain([(1, form, inner)]);
        for (at, form, width) in all {
            match form {
                Form::Int8 => blocks[at] = width / BLOCK,
                _ => words[at] = width.div_ceil(2),
            }
        }
        Self {
            k,
            inner,
            form,
            blocks,
            words,
        }
    }

    pub fn row_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().sum();
        let words: usize = self.words.iter().sum();
        blocks * size_of::<QuantisedRow>() + words * size_of::<u32>()
    }

    /// `count` rooms of `rows` rows, each with `stages` places for gates and ups.
    pub fn rooms<'a>(
        &'a self,
        count: usize,
        rows: usize,
        stages: usize,
        buffers: &mut RoomBuffers,
    ) -> Rooms<'a> {
        let [blocks, words] = [self.blocks, self.words].map(|[x, middle]| rows * (x + middle));
        let stage = STAGED_NUMBERS.max(rows * STAGED);
        let zero = QuantisedRow::ZERO;
        let staged = grow(&mut buffers.staged, count * stages * stage, 0.0);
        Rooms {
            sizes: self,
            rows,
            stages,
            quantised: SendPointer(grow(&mut buffers.quantised, count * blocks, zero).as_mut_ptr()),
            pairs: SendPointer(grow(&mut buffers.pairs, count * words, 0).as_mut_ptr()),
            staged: SendPointer(staged.as_mut_ptr()),
        }
    }
}

pub(crate) struct Rooms<'a> {
    sizes: &'a RoomSizes,
    rows: usize,
    stages: usize,
    quantised: SendPointer<QuantisedRow>,
    pairs: SendPointer<u32>,
    staged: SendPointer<f32>,
}

/// Rows of x and of the middle.
pub(crate) struct Room {
    pub inputs: Inputs,
    pub middle: Middle,
    staged: SendPointer<f32>,
    stage: usize,
}

impl Rooms<'_> {
    /// A room for rows that begin at `x`.
    ///
    /// # Safety
    /// There is such a room, and it has no other user.
    pub unsafe fn room(&self, index: usize, x: *const f32) -> Room {
        let RoomSizes {
            k,
            inner,
            form,
            blocks,
            words,
        } = *self.sizes;
        let rows = self.rows;
        let stage = STAGED_NUMBERS.max(rows * STAGED);
        let first_block = self
            .quantised
            .get()
            .add(index * rows * (blocks[0] + blocks[1]));
        let first_word = self.pairs.get().add(index * rows * (words[0] + words[1]));
        let (block, word) = (
            first_block.add(rows * blocks[0]),
            first_word.add(rows * words[0]),
        );
        let is_int8 = form == Form::Int8;
        Room {
            inputs: Inputs::in_buffers(
                x,
                k,
                (blocks[0] > 0).then_some(first_block),
                (words[0] > 0).then_some(first_word),
            ),
            middle: Middle {
                inputs: Inputs::in_buffers(
                    std::ptr::null(),
                    inner,
                    is_int8.then_some(block),
                    (!is_int8).then_some(word),
                ),
                form,
                inner,
                quantised: SendPointer(block),
                pairs: SendPointer(word),
            },
            staged: SendPointer(self.staged.get().add(index * self.stages * stage)),
            stage,
        }
    }
}

impl Room {
    /// A place for gates and ups.
    ///
    /// # Safety
    /// The rooms were made with more places than this.
    pub unsafe fn staged(&self, place: usize) -> *mut f32 {
        self.staged.get().add(place * self.stage)
    }
}

/// Rows of the middle, in the form that down multiplies.
pub(crate) struct Middle {
    pub inputs: Inputs,
    pub form: Form,
    inner: usize,
    quantised: SendPointer<QuantisedRow>,
    pairs: SendPointer<u32>,
}

impl Middle {
    /// One block of the first `rows` rows, from their gates and ups (R1).
    ///
    /// # Safety
    /// `staged` has those rows, `STAGED` numbers each; this block is nobody else's at this time.
    pub unsafe fn write(&self, unit: Gated, staged: *const f32, rows: usize, block: usize) {
        for tile in row_tiles(0..rows) {
            let (from, count) = (staged.add(tile.start * STAGED), tile.len());
            if self.form == Form::Int8 {
                let at = tile.start * (self.inner / BLOCK) + block * count;
                let to = self.quantised.get().add(at);
                crate::dispatch!(quantise_units(unit: Gated, from: *const f32, count: usize, to: *mut QuantisedRow));
            } else {
                let words = self.inner / 2;
                let to = self
                    .pairs
                    .get()
                    .add(tile.start * words + block * (BLOCK / 2));
                crate::dispatch!(round_units(unit: Gated, from: *const f32, count: usize, to: *mut u32, words: usize));
            }
        }
    }
}

/// Rows are joined first and quantised then, so that several are under way at a time: one row's chain of operations is long.
#[inline(always)]
unsafe fn quantise_units<S: Simd>(
    unit: Gated,
    from: *const f32,
    rows: usize,
    to: *mut QuantisedRow,
) {
    let mut values = [[0.0; BLOCK]; TILE_ROWS];
    for row in 0..rows {
        let values = values[row].as_mut_ptr();
        gated_body::<S>(unit, from.add(row * STAGED), BLOCK, values);
    }
    for row in 0..rows {
        quantise_block::<S>(values[row].as_ptr(), &mut *to.add(row));
    }
}

/// @param stride - words between rows
#[inline(always)]
unsafe fn round_units<S: Simd>(
    unit: Gated,
    from: *const f32,
    rows: usize,
    to: *mut u32,
    stride: usize,
) {
    let mut values = [0.0; BLOCK];
    for row in 0..rows {
        let from = from.add(row * STAGED);
        gated_body::<S>(unit, from, BLOCK, values.as_mut_ptr());
        round_row::<S>(values.as_ptr(), BLOCK, to.add(row * stride));
    }
}
