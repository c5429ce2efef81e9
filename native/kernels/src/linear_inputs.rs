//! What a linear layer's parts multiply: activations as int8 blocks, as pairs of bf16, or as they came.
//!
//! Owns nothing: the buffers are the scratch's. I1: rows are staged before they are multiplied, by whoever multiplies them
//! or before anybody does, and a range is multiplied as it was staged (int8 lies tile by tile).

use std::ops::Range;

use crate::format::Format;
use crate::linear::{Activations, Target, quantise_range};
use crate::linear_bf16::{bf16_rows, round_pairs};
use crate::linear_f32::panel_rows;
use crate::linear_int8::int8_rows;
use crate::packed_linear::{Kind, PackedPart};
use crate::quantize::QuantisedRow;
use crate::scratch::{Scratch, grow};

/// The form in which a part takes its activations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Float,
    Pairs,
    Int8,
}

impl Form {
    pub fn of(kind: Kind, activations: Activations) -> Self {
        match activations {
            Activations::F32 => Self::Float,
            _ if kind == Kind::Dense(Format::BF16) => Self::Pairs,
            Activations::Int8 if kind.is_integer() => Self::Int8,
            _ => Self::Float,
        }
    }
}

/// Rows of k activations, with room for the forms that some part wants.
#[derive(Clone, Copy)]
pub(crate) struct Inputs {
    x: *const f32,
    k: usize,
    quantised: Option<*mut QuantisedRow>,
    pairs: Option<*mut u32>,
}

// SAFETY: threads stage and multiply rows of their own; what is staged before they start is only read.
unsafe impl Send for Inputs {}
// SAFETY: as above.
unsafe impl Sync for Inputs {}

impl Inputs {
    /// The result is valid as long as `x` is and `scratch` has no other user of these two buffers.
    pub fn new(
        x: &[f32],
        k: usize,
        forms: impl Iterator<Item = Form>,
        scratch: &mut Scratch,
    ) -> Self {
        let (rows, words) = (x.len() / k, k.div_ceil(2));
        let (mut quantised, mut pairs) = (None, None);
        for form in forms {
            if form == Form::Int8 && quantised.is_none() {
                let blocks = grow(&mut scratch.quantised, rows * (k / 32), QuantisedRow::ZERO);
                quantised = Some(blocks.as_mut_ptr());
            }
            if form == Form::Pairs && pairs.is_none() {
                pairs = Some(grow(&mut scratch.pairs, rows * words, 0).as_mut_ptr());
            }
        }
        Self {
            x: x.as_ptr(),
            k,
            quantised,
            pairs,
        }
    }

    /// As `new`, with buffers of the caller's for the forms that are wanted.
    pub fn in_buffers(
        x: *const f32,
        k: usize,
        quantised: Option<*mut QuantisedRow>,
        pairs: Option<*mut u32>,
    ) -> Self {
        Self {
            x,
            k,
            quantised,
            pairs,
        }
    }

    /// The same rows, those before `row` left out.
    ///
    /// # Safety
    /// There are as many rows.
    pub unsafe fn starting_at(self, row: usize) -> Self {
        Self {
            x: self.x.add(row * self.k),
            k: self.k,
            quantised: self.quantised.map(|at| at.add(row * (self.k / 32))),
            pairs: self.pairs.map(|at| at.add(row * self.k.div_ceil(2))),
        }
    }

    /// Bring rows into the forms that are wanted of them.
    ///
    /// # Safety
    /// `rows` are rows of these inputs, and nobody else's at this time.
    pub unsafe fn stage(&self, rows: Range<usize>) {
        if let Some(quantised) = self.quantised {
            quantise_range(self.x, self.k, rows.clone(), quantised);
        }
        if let Some(pairs) = self.pairs {
            round_pairs(self.x, self.k, rows, pairs);
        }
    }

    /// One tile times the rows of `rows`; `panel` has room for k · 32 values where the form is `Float`.
    ///
    /// # Safety
    /// I1, with `form` one of those this was made for; `tile` is a tile of `part`; `target` has the rows. With an order, a
    /// part takes int8 only from inputs that are in it already.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn multiply(
        &self,
        form: Form,
        part: &PackedPart,
        tile: usize,
        rows: Range<usize>,
        panel: *mut f32,
        target: &Target,
    ) {
        let bytes = part.tile(tile);
        match (form, self.quantised, self.pairs) {
            (Form::Int8, Some(quantised), _) => {
                int8_rows(part.kind, bytes, self.k, quantised, rows, target);
            }
            (Form::Pairs, _, Some(pairs)) => bf16_rows(bytes, self.k, pairs, rows, target),
            _ => {
                let order = part.order(self.k);
                panel_rows(part.kind, bytes, self.k, order, self.x, rows, panel, target);
            }
        }
    }
}
