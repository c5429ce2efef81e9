//! What handing a job to the pool's threads costs: best of many batches of jobs of one chunk a thread, each of which spins
//! for so many `pause`s.
//!
//! cargo run --release --example pool -- [threads]

use std::time::Instant;

use ingot_kernels::Pool;

const JOBS: usize = 1_000;
const BATCHES: usize = 400;

fn main() {
    let threads = std::env::args()
        .nth(1)
        .map_or(2, |written| written.parse().expect("a number of threads"));
    let (alone, pool) = (Pool::new(1), Pool::new(threads));
    for pauses in [0, 20, 100] {
        let best = |pool: &Pool, chunks: usize| {
            let batch = || {
                let began = Instant::now();
                for _ in 0..JOBS {
                    pool.run(chunks, &|_| {
                        (0..pauses).for_each(|_| std::hint::spin_loop())
                    });
                }
                began.elapsed().as_nanos() as f64 / JOBS as f64
            };
            (0..BATCHES).map(|_| batch()).fold(f64::MAX, f64::min)
        };
        let (chunk, job) = (best(&alone, 1), best(&pool, threads));
        println!(
            "chunks of {chunk:6.0} ns: {job:6.0} ns a job, {:6.0} ns more",
            job - chunk
        );
    }
}
