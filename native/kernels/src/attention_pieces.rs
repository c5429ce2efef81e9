//! How an attention call is cut: into pieces, and pieces into the runs that threads claim.
//!
//! Knows nothing of how a piece is computed; results do not depend on the cut (`attention`, A2).

use std::ops::Range;

use crate::attention::AttentionArgs;
use crate::attention_join::VECTORS_A_PIECE;
use crate::attention_tile::MAX_VECTORS;

/// Some (row, head) vectors of one sequence and KV head; vector v is head v % group of row v / group.
pub(crate) struct Piece {
    pub sequence: usize,
    pub kv_head: usize,
    /// Among the rows that attend.
    pub first_row: usize,
    /// The sequence has one row that attends: its KV is read once and little is computed with it.
    pub is_decode: bool,
    pub vectors: Range<usize>,
}

impl Piece {
    /// First vector of each tile.
    pub fn tiles(&self) -> impl Iterator<Item = usize> + use<> {
        self.vectors.clone().step_by(MAX_VECTORS)
    }
}

/// `starts` says where each sequence's attending rows begin, `[num_seqs + 1]`. The longest contexts lie at the end of a
/// prompt: claimed first, they do not leave a thread waiting.
pub(crate) fn cut_pieces(args: &AttentionArgs<'_>, starts: &[i32], pieces: &mut Vec<Piece>) {
    let group = args.num_heads / args.num_kv_heads;
    pieces.clear();
    for sequence in (0..args.num_seqs).rev() {
        let rows = starts[sequence] as usize..starts[sequence + 1] as usize;
        let vectors = rows.len() * group;
        for kv_head in 0..args.num_kv_heads {
            for first in (0..vectors).step_by(VECTORS_A_PIECE).rev() {
                pieces.push(Piece {
                    sequence,
                    kv_head,
                    first_row: rows.start,
                    is_decode: rows.len() == 1,
                    vectors: first..(first + VECTORS_A_PIECE).min(vectors),
                });
            }
        }
    }
}

/// Pieces of single rows are claimed several at a time, since who knows the next piece can ask for its keys ahead: each
/// run is a share of what is left, so that the last ones are short and threads end together.
pub(crate) fn cut_runs(pieces: &[Piece], threads: usize, runs: &mut Vec<Range<usize>>) {
    runs.clear();
    let mut start = 0;
    while start < pieces.len() {
        let left = &pieces[start..];
        let share = left.len().div_ceil(2 * threads);
        let decodes = left[..share].iter().take_while(|piece| piece.is_decode);
        let end = start + decodes.count().max(1);
        runs.push(start..end);
        start = end;
    }
}
