//! What an attention call may index with: its arguments, checked once before anything is written.

use crate::attention::AttentionArgs;
use crate::error::KernelError;
use crate::rope::RopeStyle;

/// Everything the kernels index with (A1). O(tokens + blocks in use), no allocation.
pub(crate) fn check(args: &AttentionArgs<'_>, out: &[f32]) -> Result<(), KernelError> {
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
        || layer.shape.value_dim != args.value_dim
        || args.num_heads == 0
        || !args.num_heads.is_multiple_of(args.num_kv_heads)
    {
        return fail(format!(
            "{} heads over {} KV heads of {} and {} do not fit the layer's KV",
            args.num_heads, args.num_kv_heads, args.head_dim, args.value_dim
        ));
    }
    if args.scale <= 0.0 || !args.scale.is_finite() {
        return fail(format!(
            "scores are scaled by {}, which is not positive",
            args.scale
        ));
    }
    if args.window == 0
        || args
            .sinks
            .is_some_and(|sinks| sinks.len() != args.num_heads)
    {
        return fail(format!(
            "a window of {} keys or sinks that are not one for each of {} heads",
            args.window, args.num_heads
        ));
    }
    if args.qkv.len() != tokens * args.row_width()
        || out.len() != args.num_wanted() * args.num_heads * args.value_dim
    {
        return fail(format!(
            "qkv has {} values and out {} for {tokens} tokens, {} of which attend",
            args.qkv.len(),
            out.len(),
            args.num_wanted()
        ));
    }
    if let Some(wanted) = args.wanted {
        let ascends = wanted.windows(2).all(|pair| pair[0] < pair[1]);
        let is_inside = wanted.first().is_none_or(|&row| row >= 0)
            && wanted.last().is_none_or(|&row| row < tokens as i32);
        if !ascends || !is_inside {
            return fail(format!(
                "the rows that attend do not ascend within {tokens} tokens"
            ));
        }
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
        (_, Some(rope)) if args.rope_offset + 2 * rope.pairs <= args.head_dim => rope.max_positions,
        _ => return fail("the rope table is missing or reaches beyond a head".to_owned()),
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
