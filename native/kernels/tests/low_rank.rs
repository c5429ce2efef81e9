//! Low-rank deltas: the scalar reference's bits on every kernel family, and rows that do not see each other.

mod support;

use ingot_kernels::{
    Format, LowRank, LowRankParts, LowRankUse, Part, Pool, Scratch, add_low_rank, use_kernels,
};
use support::{KERNELS, Random, bits, stored};

/// What a delta is made of, to compute with as the definition says.
struct Values {
    down: Vec<f32>,
    up: Vec<f32>,
    scale: f32,
    first: usize,
    order: Option<Vec<u32>>,
}

struct Shape {
    format: Format,
    rank: usize,
    k: usize,
    first: usize,
    outputs: usize,
    is_reordered: bool,
}

fn delta(random: &mut Random, shape: Shape) -> (LowRank, Values) {
    let Shape {
        format,
        rank,
        k,
        first,
        outputs,
        is_reordered,
    } = shape;
    let (down_bytes, down) = stored(format, rank, k, random);
    let (up_bytes, up) = stored(format, outputs, rank, random);
    let scale = 0.5 + random.value().abs();
    let order = is_reordered.then(|| (0..outputs as u32).rev().collect::<Vec<_>>());
    let part = |rows, bytes| Part {
        format,
        rows,
        bytes,
    };
    let packed = LowRank::pack(LowRankParts {
        down: part(rank, &down_bytes),
        up: part(outputs, &up_bytes),
        k,
        scale,
        first,
        order: order.clone(),
    });
    let values = Values {
        down,
        up,
        scale,
        first,
        order,
    };
    (packed.unwrap(), values)
}

/// y += scale · B (A x), one number at a time.
fn reference(delta: &Values, x: &[f32], y: &mut [f32]) {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .fold(0.0_f32, |sum, (a, b)| b.mul_add(*a, sum))
    };
    let down = delta.down.chunks_exact(x.len());
    let hidden: Vec<f32> = down.map(|row| dot(row, x)).collect();
    for (index, row) in delta.up.chunks_exact(hidden.len()).enumerate() {
        let output = delta
            .order
            .as_ref()
            .map_or(index, |order| order[index] as usize);
        y[delta.first + output] += delta.scale * dot(row, &hidden);
    }
}

/// Two adapters of a layer of 48 inputs and 100 outputs: one of three targets, one of one and of another rank.
fn adapters(random: &mut Random) -> [(Vec<LowRank>, Vec<Values>); 2] {
    let mut make = |format, rank, first, outputs, is_reordered| {
        let k = 48;
        let shape = Shape {
            format,
            rank,
            k,
            first,
            outputs,
            is_reordered,
        };
        delta(random, shape)
    };
    let one = vec![
        make(Format::F32, 8, 0, 64, true),
        make(Format::F32, 8, 64, 16, false),
        make(Format::BF16, 3, 80, 20, false),
    ];
    let two = vec![make(Format::F16, 37, 10, 33, false)];
    [one.into_iter().unzip(), two.into_iter().unzip()]
}

#[test]
fn rows_have_the_references_bits_on_every_family_with_any_number_of_threads() {
    let (k, n, rows) = (48, 100, 23);
    let mut random = Random(41);
    let [(one, one_values), (two, two_values)] = adapters(&mut random);
    let x = random.values(rows * k);
    let base = random.values(rows * n);
    // Rows of both adapters and of none lie mixed, and not in order.
    let of_one: Vec<u32> = vec![22, 0, 3, 4, 9, 10, 11, 12, 13, 14];
    let of_two: Vec<u32> = vec![1, 2, 21];
    let mut expected = base.clone();
    for (rows, values) in [(&of_one, &one_values), (&of_two, &two_values)] {
        for &row in rows {
            let row = row as usize;
            let y = &mut expected[row * n..][..n];
            values
                .iter()
                .for_each(|delta| reference(delta, &x[row * k..][..k], y));
        }
    }
    for family in KERNELS {
        if !use_kernels(family) {
            continue;
        }
        for threads in [1, 4] {
            let pool = Pool::new(threads);
            let mut scratch = Scratch::default();
            let uses = [
                LowRankUse {
                    deltas: &one,
                    rows: &of_one,
                },
                LowRankUse {
                    deltas: &two,
                    rows: &of_two,
                },
            ];
            let mut together = base.clone();
            add_low_rank(&uses, &x, k, &mut together, n, &mut scratch, &pool);
            assert_eq!(bits(&together), bits(&expected), "{family}, {threads}");
            // A row alone, in a call of its own.
            for &row in &of_one {
                let at = row as usize;
                let mut alone = base[at * n..][..n].to_vec();
                let used = [LowRankUse {
                    deltas: &one,
                    rows: &[0],
                }];
                add_low_rank(
                    &used,
                    &x[at * k..][..k],
                    k,
                    &mut alone,
                    n,
                    &mut scratch,
                    &pool,
                );
                assert_eq!(
                    bits(&alone),
                    bits(&expected[at * n..][..n]),
                    "{family} row {row}"
                );
            }
        }
    }
    for row in (0..rows as u32).filter(|row| !of_one.contains(row) && !of_two.contains(row)) {
        let at = row as usize * n;
        assert_eq!(bits(&expected[at..][..n]), bits(&base[at..][..n]));
    }
}

#[test]
fn what_is_no_delta_is_refused() {
    let one = 1.0_f32.to_le_bytes();
    let pack = |down: &[u8], up: &[u8], rows: usize, scale: f32, order: Option<Vec<u32>>| {
        let part = |rows, bytes| Part {
            format: Format::F32,
            rows,
            bytes,
        };
        LowRank::pack(LowRankParts {
            down: part(1, down),
            up: part(rows, up),
            k: 1,
            scale,
            first: 0,
            order,
        })
        .err()
        .map(|error| error.0)
    };
    let infinite = Some("a weight or the scale is infinite or not a number".to_owned());
    let no_order = Some("the order must name each output of the delta once".to_owned());
    let two = [one, one].concat();
    assert_eq!(pack(&one, &one, 1, 1.0, None), None);
    assert_eq!(pack(&f32::NAN.to_le_bytes(), &one, 1, 1.0, None), infinite);
    assert_eq!(
        pack(&one, &f32::INFINITY.to_le_bytes(), 1, 1.0, None),
        infinite
    );
    assert_eq!(pack(&one, &one, 1, f32::NAN, None), infinite);
    assert_eq!(pack(&one, &two, 2, 1.0, Some(vec![1, 0])), None);
    for order in [vec![0], vec![0, 0], vec![0, 2]] {
        assert_eq!(pack(&one, &two, 2, 1.0, Some(order)), no_order);
    }
    assert!(pack(&two, &one, 1, 1.0, None).is_some());
}
