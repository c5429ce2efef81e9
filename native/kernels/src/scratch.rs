//! Working memory of one model, reused by every call: it grows to the largest step seen and then stays.

use std::ops::Range;

use crate::attention_pieces::Piece;
use crate::gated_mlp::LayersApart;
use crate::gated_mlp_rooms::RoomBuffers;
use crate::low_rank::LowRankBuffers;
use crate::moe::MoeBuffers;
use crate::quantize::QuantisedRow;

#[derive(Default)]
pub struct Scratch {
    /// Quantised activations, see `quantize`.
    pub(crate) quantised: Vec<QuantisedRow>,
    /// Dequantised weight panels, one a thread: `[k][32]` f32.
    pub(crate) panels: Vec<f32>,
    /// Activations in the order of a weight's inputs.
    pub(crate) gathered: Vec<f32>,
    /// Activations rounded to bf16: as f32, and in pairs, see `linear_bf16`.
    pub(crate) rounded: Vec<f32>,
    pub(crate) pairs: Vec<u32>,
    /// Rotated and staged queries, `[rows that attend][numHeads][query_words]`.
    pub(crate) queries: Vec<u32>,
    /// Positions of the rows that attend, then where each sequence's begin.
    pub(crate) attending: Vec<i32>,
    /// How one attention call is cut.
    pub(crate) pieces: Vec<Piece>,
    /// Pieces that are claimed together.
    pub(crate) runs: Vec<Range<usize>>,
    /// Results of splits that wait to be joined.
    pub(crate) parts: Vec<f32>,
    /// Rows by head, `[heads, T, k]`.
    pub(crate) by_head: Vec<f32>,
    /// Rows of a gated MLP that are under way, as one job and one layer after the other.
    pub(crate) mlp_rooms: RoomBuffers,
    pub(crate) mlp_apart: LayersApart,
    /// Rows by expert.
    pub(crate) moe: MoeBuffers,
    /// Rows by adapter, and what their deltas are made of.
    pub(crate) low_rank: LowRankBuffers,
}

/// Make `buffer` at least `len` long without shrinking it.
pub(crate) fn grow<T: Clone>(buffer: &mut Vec<T>, len: usize, value: T) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, value);
    }
    &mut buffer[..len]
}
