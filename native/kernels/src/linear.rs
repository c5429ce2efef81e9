//! `linear`: y = x · Wᵀ + bias, on packed weights; chooses the path and how the work is cut.
//!
//! L1 y[t][n] is reduced over k ascending, in blocks of 32 for int8, with the same operations whatever tile or thread it
//!    falls to. Few rows are cut by columns (each thread streams its own weights), many by rows (activations stay in one
//!    core's cache; measured faster from 8 rows on, 2026-11-23).

use crate::linear_inputs::{Form, Inputs};
use crate::packed_linear::{PackedLinear, PackedPart, SendPointer, TILE_COLUMNS};
use crate::pool::Pool;
use crate::quantize::{QuantisedRow, quantise_tile};
use crate::scratch::{Scratch, grow};
use crate::simd::Simd;

/// What activations are multiplied as, at most: dense weights do not take int8, but bf16 where they are bf16, else f32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activations {
    F32,
    /// Rounded to bf16, then multiplied and summed in f32.
    Bf16,
    Int8,
}

/// Rows a kernel holds in registers at once.
pub(crate) const TILE_ROWS: usize = 6;
/// From this many rows on, work is cut by rows.
const ROW_SPLIT: usize = 8;

/// `x` is `[rows, k]`, `out` `[rows, n]`, `bias` n values. Panics when lengths disagree.
///
/// Thread: the caller's and the pool's. Cost: rows · n · k multiply-adds; no allocation once `scratch` has grown.
#[allow(clippy::too_many_arguments)]
pub fn linear(
    weight: &PackedLinear,
    x: &[f32],
    rows: usize,
    bias: Option<&[f32]>,
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    let (n, k) = (weight.n(), weight.k());
    assert!(
        x.len() == rows * k && out.len() == rows * n,
        "x {} and out {} of {rows} rows",
        x.len(),
        out.len()
    );
    assert!(
        bias.is_none_or(|bias| bias.len() == n),
        "a bias of {n} values"
    );
    if rows == 0 {
        return;
    }
    // Pairs are rounded while they are staged.
    let is_float = |part: &PackedPart| Form::of(part.kind, activations) == Form::Float;
    if activations == Activations::Bf16 && weight.parts.iter().any(is_float) {
        return with_bf16(x, scratch, |x, scratch| {
            linear_rows(weight, x, rows, bias, activations, out, scratch, pool);
        });
    }
    linear_rows(weight, x, rows, bias, activations, out, scratch, pool);
}

/// As `linear`, which checked the lengths and rounded `x` where some part takes it rounded.
#[allow(clippy::too_many_arguments)]
fn linear_rows(
    weight: &PackedLinear,
    x: &[f32],
    rows: usize,
    bias: Option<&[f32]>,
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    let (n, k) = (weight.n(), weight.k());
    let mut parts = weight.parts.as_slice();
    while let Some(first) = parts.first() {
        let order = gathered_order(first, k, activations);
        let same = parts
            .iter()
            .take_while(|part| gathered_order(part, k, activations) == order);
        let (these, rest) = parts.split_at(same.count());
        match order {
            None => linear_parts(these, n, x, rows, bias, activations, out, scratch, pool),
            Some(order) => {
                let mut gathered = std::mem::take(&mut scratch.gathered);
                gather_inputs(x, order, grow(&mut gathered, rows * k, 0.0));
                let x = &gathered[..rows * k];
                linear_parts(these, n, x, rows, bias, activations, out, scratch, pool);
                scratch.gathered = gathered;
            }
        }
        parts = rest;
    }
}

/// Call `multiply` with `x` rounded to bf16, to nearest even.
pub(crate) fn with_bf16(
    x: &[f32],
    scratch: &mut Scratch,
    multiply: impl FnOnce(&[f32], &mut Scratch),
) {
    let mut rounded = std::mem::take(&mut scratch.rounded);
    for (to, value) in grow(&mut rounded, x.len(), 0.0).iter_mut().zip(x) {
        *to = half::bf16::from_f32(*value).to_f32();
    }
    multiply(&rounded[..x.len()], scratch);
    scratch.rounded = rounded;
}

/// The order in which a part's int8 kernel takes its inputs; panels have the order of the file.
fn gathered_order(part: &PackedPart, k: usize, activations: Activations) -> Option<&[u32]> {
    match activations {
        Activations::Int8 if part.kind.is_integer() => part.order(k),
        _ => None,
    }
}

/// Each row's inputs in another order.
fn gather_inputs(x: &[f32], order: &[u32], out: &mut [f32]) {
    for (to, from) in out
        .chunks_exact_mut(order.len())
        .zip(x.chunks_exact(order.len()))
    {
        for (to, &input) in to.iter_mut().zip(order) {
            *to = from[input as usize];
        }
    }
}

/// The columns of `parts` of an output that is `n` wide; arguments as `linear`, which checked them.
#[allow(clippy::too_many_arguments)]
fn linear_parts(
    parts: &[PackedPart],
    n: usize,
    x: &[f32],
    rows: usize,
    bias: Option<&[f32]>,
    activations: Activations,
    out: &mut [f32],
    scratch: &mut Scratch,
    pool: &Pool,
) {
    let k = x.len() / rows;
    let cut = Cut::new(parts, k, rows, pool.threads());
    let out_pointer = SendPointer(out.as_mut_ptr());
    let forms = parts.iter().map(|part| Form::of(part.kind, activations));
    let inputs = Inputs::new(x, k, forms.clone(), scratch);
    let needs_panel = forms.clone().any(|form| form == Form::Float);
    let panel_len = if needs_panel { k * TILE_COLUMNS } else { 0 };
    let panels = SendPointer(grow(&mut scratch.panels, panel_len * cut.chunks, 0.0).as_mut_ptr());
    if !cut.is_by_rows {
        // SAFETY: nobody else is at work yet.
        unsafe { inputs.stage(0..rows) };
    }
    pool.run(cut.chunks, &|chunk| {
        let range = cut.rows(chunk);
        // SAFETY: chunks are disjoint in rows or in columns, so each writes its own part of `out`, `inputs` and `panels`; all
        // lie within the sizes asserted and grown above. Int8 parts in an order of their own come with `x` in that order.
        unsafe {
            if cut.is_by_rows {
                inputs.stage(range.clone());
            }
            for (tile_number, part, tile) in
                tiles_of(parts).enumerate().map(|(i, (p, t))| (i, p, t))
            {
                if !cut.has_tile(chunk, tile_number) {
                    continue;
                }
                let target = Target {
                    out: out_pointer.get().add(part.first + tile * TILE_COLUMNS),
                    stride: n,
                    width: part.tile_width(tile),
                    bias: bias.map(|bias| bias[part.first + tile * TILE_COLUMNS..].as_ptr()),
                };
                let form = Form::of(part.kind, activations);
                let panel = panels.get().add(chunk * panel_len);
                inputs.multiply(form, part, tile, range.clone(), panel, &target);
            }
        }
    });
}

/// Where a tile's results go: 32 columns (`width` of them real) of rows that lie `stride` apart.
pub(crate) struct Target {
    pub out: *mut f32,
    pub stride: usize,
    pub width: usize,
    pub bias: Option<*const f32>,
}

impl Target {
    /// Ask for the lines that a row of a tile will be written to, to own them. Stores leave in order: one that waits for
    /// its line keeps the next ones, and in the end the products, waiting (a copy of the loop, one Zen 4 core, Q4_0 576×3072, 252 rows,
    /// variants in turns, 2026-11-28, share of the VNNI peak: 74.5 → 77.1 %, weights and outputs from memory 73.3 → 76.0 %).
    ///
    /// # Safety
    /// `row` is a row of the output this target was made for.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn claim(&self, row: usize) {
        let to = self.out.add(row * self.stride);
        // SAFETY: a prefetch changes no memory and never faults, also past the end of a narrow tile's last row.
        std::arch::asm!(
            "prefetchw [{0}]",
            "prefetchw [{0} + 64]",
            in(reg) to,
            options(nostack, preserves_flags, readonly)
        );
    }

    /// Write one row of a tile, bias added last.
    ///
    /// # Safety
    /// `row` is a row of the output this target was made for.
    #[inline(always)]
    pub unsafe fn store<S: Simd>(&self, row: usize, low: S::F, high: S::F) {
        let to = self.out.add(row * self.stride);
        if self.width == TILE_COLUMNS {
            let (low, high) = match self.bias {
                Some(bias) => (
                    S::add(low, S::load(bias)),
                    S::add(high, S::load(bias.add(16))),
                ),
                None => (low, high),
            };
            S::store(to, low);
            S::store(to.add(16), high);
            return;
        }
        let (low, high) = (S::to_array(low), S::to_array(high));
        for column in 0..self.width {
            let value = if column < 16 {
                low[column]
            } else {
                high[column - 16]
            };
            *to.add(column) = match self.bias {
                Some(bias) => value + *bias.add(column),
                None => value,
            };
        }
    }
}

fn tiles_of(parts: &[PackedPart]) -> impl Iterator<Item = (&PackedPart, usize)> {
    parts
        .iter()
        .flat_map(|part| (0..part.tiles()).map(move |tile| (part, tile)))
}

/// How one call is cut into chunks.
struct Cut {
    chunks: usize,
    is_by_rows: bool,
    rows: usize,
    tiles: usize,
}

impl Cut {
    fn new(parts: &[PackedPart], k: usize, rows: usize, threads: usize) -> Self {
        let tiles: usize = parts.iter().map(PackedPart::tiles).sum();
        let is_by_rows = threads > 1 && rows >= ROW_SPLIT;
        // Large work gets a second chunk a thread, so that a thread taken away costs a quarter and not a half.
        let pieces = if rows * tiles * k > 1 << 24 {
            threads * 2
        } else {
            threads
        };
        let most = if is_by_rows {
            rows.div_ceil(TILE_ROWS)
        } else {
            tiles
        };
        Self {
            chunks: pieces.min(most).max(1),
            is_by_rows,
            rows,
            tiles,
        }
    }

    fn rows(&self, chunk: usize) -> std::ops::Range<usize> {
        if !self.is_by_rows {
            return 0..self.rows;
        }
        self.rows * chunk / self.chunks..self.rows * (chunk + 1) / self.chunks
    }

    fn has_tile(&self, chunk: usize, tile: usize) -> bool {
        self.is_by_rows
            || (self.tiles * chunk / self.chunks..self.tiles * (chunk + 1) / self.chunks)
                .contains(&tile)
    }
}

/// The tiles a range of rows is worked in: as even as they can be, at most `TILE_ROWS` rows each.
pub(crate) fn row_tiles(
    range: std::ops::Range<usize>,
) -> impl Iterator<Item = std::ops::Range<usize>> {
    let (first, rows) = (range.start, range.len());
    let tiles = rows.div_ceil(TILE_ROWS);
    (0..tiles).map(move |tile| first + rows * tile / tiles..first + rows * (tile + 1) / tiles)
}

/// Quantise the rows of `range`, tile by tile as `row_tiles` cuts them; a tile's blocks start at its first row · k / 32.
///
/// # Safety
/// `x` has those rows of `k` values; `out` has room for all blocks up to the range's end.
pub(crate) unsafe fn quantise_range(
    x: *const f32,
    k: usize,
    range: std::ops::Range<usize>,
    out: *mut QuantisedRow,
) {
    #[inline(always)]
    unsafe fn body<S: Simd>(x: *const f32, k: usize, rows: usize, out: *mut QuantisedRow) {
        quantise_tile::<S>(x, k, rows, out);
    }
    for tile in row_tiles(range) {
        let (from, to) = (x.add(tile.start * k), out.add(tile.start * (k / 32)));
        let rows = tile.len();
        crate::dispatch!(body(from: *const f32, k: usize, rows: usize, to: *mut QuantisedRow));
    }
}
