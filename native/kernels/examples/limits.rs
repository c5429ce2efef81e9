//! What the machine can do at most, for shares in benchmarks: GB/s read from memory, and int8 multiply-adds a second
//! (`vpdpbusd`), with the threads that are asked for, all at once. Knows no kernel of ours.
//!
//! `cargo run --release --example limits -- THREADS` prints one JSON object; `int8MacsPerSecond` is null where the CPU has
//! no AVX-512 VNNI. Best of many passes, about two seconds.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// A thread's own, larger than its share of any cache.
const BYTES_PER_THREAD: usize = 256 << 20;
const READ_PASSES: usize = 12;
#[cfg(target_arch = "x86_64")]
const COMPUTE_PASSES: usize = 12;

fn main() {
    let threads: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .filter(|&count| (1..=1024).contains(&count))
        .expect("expected the number of threads, 1 to 1024");
    let read = (BYTES_PER_THREAD * threads) as f64 / memory_pass_seconds(threads);
    let macs = int8_macs_per_second(threads)
        .map_or_else(|| "null".to_string(), |rate| format!("{rate:.0}"));
    println!(
        "{{\"threads\":{threads},\"readBytesPerSecond\":{read:.0},\"int8MacsPerSecond\":{macs}}}"
    );
}

/// Seconds of the fastest pass in which every thread reads its buffer once.
fn memory_pass_seconds(threads: usize) -> f64 {
    let buffers: Vec<Vec<u64>> = (0..threads)
        .map(|index| vec![index as u64 + 1; BYTES_PER_THREAD / 8])
        .collect();
    fastest_pass(threads, READ_PASSES, |index| {
        black_box(sum(black_box(&buffers[index])));
    })
}

fn sum(words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the feature was just found.
        return unsafe { sum_avx512(words) };
    }
    sum_plain(words)
}

/// Many sums at once, so that additions never wait for each other.
#[inline(always)]
fn sum_plain(words: &[u64]) -> u64 {
    let mut sums = [0u64; 64];
    for chunk in words.chunks_exact(64) {
        for (total, word) in sums.iter_mut().zip(chunk) {
            *total = total.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |total, sum| total.wrapping_add(*sum))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn sum_avx512(words: &[u64]) -> u64 {
    sum_plain(words)
}

#[cfg(target_arch = "x86_64")]
fn int8_macs_per_second(threads: usize) -> Option<f64> {
    if !is_x86_feature_detected!("avx512vnni") || !is_x86_feature_detected!("avx512f") {
        return None;
    }
    const ROUNDS: usize = 2_000_000;
    let seconds = fastest_pass(threads, COMPUTE_PASSES, |index| {
        // SAFETY: both features were just found.
        black_box(unsafe { multiply_adds(ROUNDS, index as i32) });
    });
    Some((threads * ROUNDS * ACCUMULATORS * 64) as f64 / seconds)
}

#[cfg(not(target_arch = "x86_64"))]
fn int8_macs_per_second(_threads: usize) -> Option<f64> {
    None
}

/// Enough that none waits for its own last result: two a cycle, four or five cycles each.
#[cfg(target_arch = "x86_64")]
const ACCUMULATORS: usize = 16;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn multiply_adds(rounds: usize, seed: i32) -> i32 {
    use std::arch::x86_64::{
        _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_reduce_add_epi32, _mm512_set1_epi8,
        _mm512_set1_epi32,
    };
    let a = black_box(_mm512_set1_epi8(3));
    let b = black_box(_mm512_set1_epi8(2));
    let mut sums = [_mm512_set1_epi32(seed); ACCUMULATORS];
    for _ in 0..rounds {
        for total in &mut sums {
            *total = _mm512_dpbusd_epi32(*total, a, b);
        }
    }
    let mut all = sums[0];
    for total in &sums[1..] {
        all = _mm512_add_epi32(all, *total);
    }
    _mm512_reduce_add_epi32(all)
}

/// All threads begin a pass together; the fastest pass is the one that nothing else disturbed.
fn fastest_pass(threads: usize, passes: usize, work: impl Fn(usize) + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let work = &work;
    let barrier = &barrier;
    thread::scope(|scope| {
        let timed: Vec<_> = (0..threads)
            .map(|index| {
                scope.spawn(move || {
                    (0..passes).fold(f64::INFINITY, |best, _| {
                        barrier.wait();
                        let start = Instant::now();
                        work(index);
                        barrier.wait();
                        best.min(start.elapsed().as_secs_f64())
                    })
                })
            })
            .collect();
        timed
            .into_iter()
            .map(|handle| handle.join().expect("a measuring thread does not panic"))
            .fold(0.0, f64::max)
    })
}
