//! Paged attention: against f64, and the same bits however prompts are cut, batched, placed or threaded.

mod support;

use std::sync::Arc;

use ingot_kernels::{
    AttentionArgs, KvDtype, KvLayerShape, KvPool, Pool, RopeStyle, Scratch, paged_attention,
    use_kernels,
};
use support::attention::{
    BLOCK, DTYPES, MAX_BLOCKS, Options, SHAPES, Sequence, Shape, World, sequence, shape, variants,
    worst_error,
};
use support::{KERNELS, Random, bits, naming_kernels};

#[test]
fn f32_attention_matches_f64_arithmetic() {
    let pool = Pool::new(2);
    let mut random = Random(11);
    for shape in SHAPES {
        for options in variants(shape) {
            let mut world = World::new(shape, KvDtype::F32, options);
            let len = 300;
            let sequence = sequence(len, world.width(), (0..).map(|i| 7 * i % 400), &mut random);
            let out = world.step(&[(&sequence, 0, len)], &pool).remove(0);
            let worst = worst_error(&world, &sequence, len, &out);
            assert!(worst < 2e-5, "{shape:?} {options:?}: {worst}");
        }
    }
}

/// Against f64 arithmetic on the numbers before they are rounded: what each KV type costs. Values lie within ±1.
#[test]
fn narrower_kv_stays_within_its_stated_error() {
    let pool = Pool::new(2);
    for (dtype, most) in [
        (KvDtype::F16, 1e-3),
        (KvDtype::Bf16, 1e-2),
        (KvDtype::Int8, 2e-2),
    ] {
        let mut random = Random(16);
        let mut worst = 0.0_f64;
        for shape in SHAPES {
            for options in variants(shape) {
                let mut world = World::new(shape, dtype, options);
                let len = 300;
                let a = sequence(len, world.width(), (0..).map(|i| 7 * i % 400), &mut random);
                let out = world.step(&[(&a, 0, len)], &pool).remove(0);
                worst = worst.max(worst_error(&world, &a, len, &out));
            }
        }
        println!("{dtype:?} KV: largest error {worst:.1e} of values within 1, limit {most:.0e}");
        assert!(worst < most, "{dtype:?}: {worst}");
    }
}

#[test]
fn tiny_and_huge_numbers_have_the_same_bits_on_all_kernels() {
    let _naming = naming_kernels();
    let pool = Pool::new(1);
    let mut random = Random(17);
    let shape = shape(4, 2, 24, 24);
    for dtype in DTYPES {
        let mut world = World::new(shape, dtype, Options::plain(shape, RopeStyle::Half));
        let mut a = sequence(70, world.width(), 0.., &mut random);
        for number in &mut a.qkv {
            *number *= 10_f32.powi(random.below(44) as i32 - 40);
        }
        let mut results = KERNELS
            .into_iter()
            .filter(|kernels| use_kernels(kernels))
            .map(|kernels| (kernels, bits(&world.step(&[(&a, 0, 70)], &pool).remove(0))));
        let (_, first) = results.next().unwrap();
        for (kernels, other) in results {
            assert_eq!(first, other, "{dtype:?} {kernels}");
        }
    }
}

#[test]
fn chunks_batches_blocks_threads_and_kernels_leave_no_trace() {
    let mut random = Random(12);
    let pools = [Pool::new(1), Pool::new(2), Pool::new(3)];
    for shape in SHAPES {
        for dtype in DTYPES {
            // The plain case and all options together.
            for options in [variants(shape)[0], variants(shape)[10]] {
                leaves_no_trace(shape, dtype, options, &pools, &mut random);
            }
        }
    }
}

fn leaves_no_trace(
    shape: Shape,
    dtype: KvDtype,
    options: Options,
    pools: &[Arc<Pool>],
    random: &mut Random,
) {
    let _naming = naming_kernels();
    let mut world = World::new(shape, dtype, options);
    let len = 530;
    let a = sequence(len, world.width(), 0.., random);
    let whole = world.step(&[(&a, 0, len)], &pools[0]).remove(0);
    for (index, kernels) in KERNELS.into_iter().enumerate() {
        if !use_kernels(kernels) || (kernels == "scalar" && shape.heads > 6) {
            continue;
        }
        for pool in [&pools[index % 3], &pools[(index + 1) % 3]] {
            // Other physical blocks, random cuts, and a neighbour that is at another place of its own prompt.
            let moved = Sequence {
                qkv: a.qkv.clone(),
                blocks: (0..len.div_ceil(BLOCK) as i32)
                    .map(|i| 399 - 3 * i)
                    .collect(),
            };
            let b = sequence(200, world.width(), 100.., random);
            let (mut done, mut b_done, mut out) = (0, 0, Vec::new());
            while done < len {
                let next = (done + 1 + random.below(90)).min(len);
                let b_next = (b_done + 1 + random.below(9)).min(200);
                let mut rows = vec![(&moved, done, next)];
                if b_next > b_done {
                    rows.insert(random.below(2), (&b, b_done, b_next));
                }
                let at = rows
                    .iter()
                    .position(|row| std::ptr::eq(row.0, &moved))
                    .unwrap();
                out.extend(world.step(&rows, pool).swap_remove(at));
                (done, b_done) = (next, b_next);
            }
            let name = format!("{dtype:?} {kernels} {shape:?} {options:?}");
            assert_eq!(bits(&out), bits(&whole), "{name}");
        }
    }
}

#[test]
fn a_long_context_in_parallel_splits_has_the_bits_of_one_thread() {
    let (one, many) = (Pool::new(1), Pool::new(3));
    let mut random = Random(14);
    let shape = shape(4, 1, 16, 16);
    for (index, options) in variants(shape).into_iter().enumerate() {
        let mut world = World::new(shape, DTYPES[index % 4], options);
        let len = MAX_BLOCKS * BLOCK;
        let a = sequence(len, world.width(), 0.., &mut random);
        let whole = world.step(&[(&a, 0, len)], &one).remove(0);
        let width = whole.len() / len;
        for row in [0, 6, 255, 256, 300, 511, 512, 639] {
            let alone = world.step(&[(&a, row, row + 1)], &many).remove(0);
            assert_eq!(
                bits(&alone),
                bits(&whole[row * width..][..width]),
                "{row} {options:?}"
            );
        }
    }
}

#[test]
fn rows_that_attend_alone_have_the_bits_that_they_have_among_all() {
    let shape = SHAPES[0];
    let pool = Pool::new(2);
    let mut random = Random(19);
    for dtype in DTYPES {
        let options = Options::plain(shape, RopeStyle::Half);
        let mut world = World::new(shape, dtype, options);
        let mut other = World::new(shape, dtype, options);
        let a = sequence(400, world.width(), 0..50, &mut random);
        let b = sequence(30, world.width(), 50.., &mut random);
        let width = shape.heads * shape.dim;
        let rows = [(&a, 0, 300), (&b, 0, 20)];
        let whole = world.step_wanted(&rows, None, &pool);
        let all: Vec<i32> = (0..320).collect();
        for wanted in [&[][..], &[299], &[3, 4, 255, 256, 319], &[300, 310], &all] {
            let some = other.step_wanted(&rows, Some(wanted), &pool);
            let expected: Vec<f32> = wanted
                .iter()
                .flat_map(|&row| &whole[row as usize * width..][..width])
                .copied()
                .collect();
            assert_eq!(bits(&some), bits(&expected), "{dtype:?} {wanted:?}");
            // What was stored for the others is what they would have stored.
            let next = [(&a, 300, 400), (&b, 20, 30)];
            let seen = other.step_wanted(&next, None, &pool);
            assert_eq!(bits(&seen), bits(&world.step_wanted(&next, None, &pool)));
        }
    }
}

#[test]
fn keys_outside_of_the_window_have_no_influence_at_all() {
    let shape = shape(4, 2, 16, 16);
    let options = Options {
        window: 41,
        ..Options::plain(shape, RopeStyle::Half)
    };
    let pool = Pool::new(2);
    let mut random = Random(15);
    for dtype in DTYPES {
        let mut world = World::new(shape, dtype, options);
        let mut a = sequence(400, world.width(), 0.., &mut random);
        let clean = world.step(&[(&a, 0, 400)], &pool).remove(0);
        let width = world.width();
        a.qkv[..300 * width].fill(f32::NAN);
        let out = world.step(&[(&a, 0, 400)], &pool).remove(0);
        let seen = 340 * shape.heads * shape.value_dim;
        assert_eq!(bits(&out[seen..]), bits(&clean[seen..]), "{dtype:?}");
        assert!(out[seen - 1].is_nan());
    }
}

#[test]
fn indices_outside_the_pool_are_refused() {
    let shape = shape(2, 1, 16, 16);
    let layer = KvLayerShape {
        num_kv_heads: 1,
        head_dim: 16,
        value_dim: 16,
    };
    let mut kv = KvPool::new(&[layer], KvDtype::F32, BLOCK, 4).unwrap();
    let pool = Pool::new(1);
    let qkv = vec![0.0; 2 * 64];
    let mut attempt_wanted = |positions: [i32; 2],
                              slots: [i32; 2],
                              starts: [i32; 2],
                              context: i32,
                              table: [i32; 2],
                              wanted: Option<&[i32]>| {
        let args = AttentionArgs {
            kv: &mut kv,
            layer: 0,
            num_heads: shape.heads,
            num_kv_heads: 1,
            head_dim: 16,
            value_dim: 16,
            scale: 1.0,
            window: usize::MAX,
            softcap: 0.0,
            sinks: None,
            rope_style: RopeStyle::None,
            rope: None,
            rope_offset: 0,
            qkv: &qkv,
            positions: &positions,
            slot_mapping: &slots,
            query_starts: &starts,
            context_lengths: &[context],
            block_tables: &table,
            max_blocks_per_seq: 2,
            num_seqs: 1,
            num_tokens: 2,
            wanted,
        };
        let mut out = vec![0.0; 32 * wanted.map_or(2, <[i32]>::len)];
        paged_attention(args, &mut out, &mut Scratch::default(), &pool)
    };
    for (wanted, is_ok) in [
        (&[0, 1][..], true),
        (&[], true),
        (&[1, 0], false),
        (&[1, 1], false),
        (&[-1], false),
        (&[2], false),
    ] {
        let attempt = attempt_wanted([0, 1], [0, 1], [0, 2], 2, [0, -1], Some(wanted));
        assert_eq!(attempt.is_ok(), is_ok, "{wanted:?}");
    }
    let mut attempt = |positions, slots, starts, context, table| {
        attempt_wanted(positions, slots, starts, context, table, None)
    };
    assert!(attempt([0, 1], [0, 1], [0, 2], 2, [0, -1]).is_ok());
    assert!(attempt([0, 1], [-1, -1], [0, 2], 2, [0, -1]).is_ok());
    assert!(attempt([0, 1], [5, 5], [0, 2], 2, [0, -1]).is_err());
    assert!(attempt([0, 1], [5, -1], [0, 2], 2, [0, -1]).is_ok());
    assert!(attempt([0, 1], [0, 64], [0, 2], 2, [0, -1]).is_err());
    assert!(attempt([0, 1], [-2, 1], [0, 2], 2, [0, -1]).is_err());
    assert!(attempt([1, 1], [0, 1], [0, 2], 2, [0, -1]).is_err());
    assert!(attempt([0, 16], [0, 16], [0, 2], 17, [0, -1]).is_err());
    assert!(attempt([0, 16], [0, 16], [0, 2], 17, [0, 4]).is_err());
    assert!(attempt([0, 32], [0, 16], [0, 2], 33, [0, 1]).is_err());
    assert!(attempt([0, 1], [0, 1], [0, 3], 2, [0, 1]).is_err());
    assert!(attempt([0, 1], [0, 1], [0, 2], 1, [0, 1]).is_err());
}

#[test]
fn a_key_that_is_not_a_number_spoils_the_rows_that_see_it_and_no_other() {
    let shape = SHAPES[0];
    let pool = Pool::new(2);
    let mut random = Random(13);
    for dtype in DTYPES {
        let mut world = World::new(shape, dtype, Options::plain(shape, RopeStyle::Half));
        let len = 40;
        let mut spoilt = sequence(len, world.width(), 0.., &mut random);
        let clean = world.step(&[(&spoilt, 0, len)], &pool).remove(0);
        let key = 21 * world.width() + shape.heads * shape.dim + 3;
        spoilt.qkv[key] = f32::NAN;
        let out = world.step(&[(&spoilt, 0, len)], &pool).remove(0);
        let width = shape.heads * shape.dim;
        assert_eq!(bits(&out[..21 * width]), bits(&clean[..21 * width]));
        let group = shape.heads / shape.kv_heads * shape.dim;
        for row in out[21 * width..].chunks_exact(width) {
            assert!(row[..group].iter().all(|x| x.is_nan()), "{dtype:?}");
            assert!(row[group..].iter().all(|x| x.is_finite()), "{dtype:?}");
        }
    }
}
