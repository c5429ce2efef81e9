//! Own compute threads: work is cut into chunks that threads claim, the caller among them.
//!
//! Invariants:
//! P1 A chunk is run exactly once: it is claimed by one compare-and-swap on a word that carries the job's generation.
//! P2 The job's closure outlives every call of it: `run` returns only when as many chunks are done as there are.
//! P3 The closure is read by whoever holds a claim of its generation, and replaced only when no claim is held: it needs no
//!    lock. `run` writes it before the word, and the claim is the read that follows the word.
//! P4 A thread the system has taken away holds up at most the chunk it has claimed; the others are taken by the caller
//!    (static halves fell to a thousandth of their speed when another process took a core).
//!
//! Idle workers spin for a bounded time, since a step is hundreds of short jobs, then park.

use std::cell::{Cell, UnsafeCell};
use std::mem::transmute;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::{self, JoinHandle, Thread};

type Job = *const (dyn Fn(usize) + Sync);

/// About 40 µs of `pause` on the machines measured (2026-11-23): longer than the gaps within a step.
const SPINS_BEFORE_PARK: u32 = 2_000;

/// The word that threads claim from: generation (32 bits) | chunks (16) | next (16).
fn pack(generation: u32, chunks: u16, next: u16) -> u64 {
    (u64::from(generation) << 32) | (u64::from(chunks) << 16) | u64::from(next)
}

fn unpack(word: u64) -> (u32, u16, u16) {
    ((word >> 32) as u32, (word >> 16) as u16, word as u16)
}

/// What threads pass to and fro lies in one cache line, so that a worker that sees a new word has the job with it.
#[repr(align(64))]
struct Shared {
    word: AtomicU64,
    /// Of the generation in `word` (P3).
    job: UnsafeCell<Option<Job>>,
    done: AtomicUsize,
    has_panicked: AtomicBool,
    is_closing: AtomicBool,
    parked: Vec<AtomicBool>,
}

// SAFETY: the closure is `Sync`, and P2 keeps it alive while other threads may call it; P3 orders the reads and writes of
// the pointer to it.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

pub struct Pool {
    shared: Arc<Shared>,
    /// One job at a time; a second caller runs its chunks alone.
    running: Mutex<()>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    threads: Vec<Thread>,
}

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Pool {
    /// `threads` counts the caller: a pool of 1 has no workers. 1 ≤ threads ≤ 1,024.
    pub fn new(threads: usize) -> Arc<Self> {
        let workers = threads.clamp(1, 1024) - 1;
        let shared = Arc::new(Shared {
            word: AtomicU64::new(pack(0, 0, 0)),
            job: UnsafeCell::new(None),
            done: AtomicUsize::new(0),
            has_panicked: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            parked: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        });
        let handles: Vec<_> = (0..workers)
            .map(|index| {
                let shared = shared.clone();
                thread::Builder::new()
                    .name(format!("ingot-worker-{index}"))
                    .spawn(move || work(&shared, index))
                    .expect("the system refused a thread")
            })
            .collect();
        let threads = handles
            .iter()
            .map(|handle| handle.thread().clone())
            .collect();
        Arc::new(Self {
            shared,
            running: Mutex::new(()),
            handles: Mutex::new(handles),
            threads,
        })
    }

    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Call `f(0)` … `f(chunks - 1)`, each once, on the caller and the workers; returns when all are done.
    /// A panic of any chunk becomes a panic here, after the others have ended. Calls from within `f` run in place.
    pub fn run(&self, chunks: usize, f: &(dyn Fn(usize) + Sync)) {
        let is_alone = chunks < 2 || self.threads.is_empty() || chunks > usize::from(u16::MAX);
        if is_alone || IS_INSIDE.get() {
            return (0..chunks).for_each(f);
        }
        let _running = match self.running.try_lock() {
            Ok(running) => running,
            // A job before this one panicked after all its chunks had ended: there is nothing behind the lock to be broken.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..chunks).for_each(f),
        };
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; P2 keeps the closure alive for every call made through it.
        let job: Job = unsafe { transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(f) };
        // SAFETY: P3: the last job's chunks are all done, and `running` keeps other callers out.
        unsafe { *shared.job.get() = Some(job) };
        shared.done.store(0, Ordering::Relaxed);
        let generation = unpack(shared.word.load(Ordering::Relaxed))
            .0
            .wrapping_add(1);
        shared
            .word
            .store(pack(generation, chunks as u16, 0), Ordering::SeqCst);
        for (parked, thread) in shared.parked.iter().zip(&self.threads) {
            if parked.load(Ordering::SeqCst) {
                thread.unpark();
            }
        }
        IS_INSIDE.set(true);
        claim_all(shared, generation);
        IS_INSIDE.set(false);
        let mut spins = 0_u32;
        while shared.done.load(Ordering::Acquire) < chunks {
            std::hint::spin_loop();
            spins += 1;
            if spins > SPINS_BEFORE_PARK {
                // The worker that holds the last chunk may need this core.
                thread::yield_now();
            }
        }
        if shared.has_panicked.swap(false, Ordering::Relaxed) {
            panic!("a compute thread panicked; its message is on stderr");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.is_closing.store(true, Ordering::SeqCst);
        for thread in &self.threads {
            thread.unpark();
        }
        for handle in lock(&self.handles).drain(..) {
            // A worker catches its panics, so joining cannot fail; and there is nobody left to tell.
            let _ = handle.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Claim and run chunks of this generation until none is left (P1).
fn claim_all(shared: &Shared, generation: u32) {
    loop {
        let word = shared.word.load(Ordering::Acquire);
        let (current, chunks, next) = unpack(word);
        if current != generation || next >= chunks {
            return;
        }
        let claimed = pack(generation, chunks, next + 1);
        if shared
            .word
            .compare_exchange_weak(word, claimed, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            continue;
        }
        // SAFETY: the claim above keeps `run` from returning before `done` is raised below, so the job is this generation's
        // (P3) and alive (P2).
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
            let job = *shared.job.get();
            (*job.expect("a word with chunks has a job"))(usize::from(next));
        }));
        if outcome.is_err() {
            shared.has_panicked.store(true, Ordering::Relaxed);
        }
        shared.done.fetch_add(1, Ordering::Release);
    }
}

fn work(shared: &Shared, index: usize) {
    IS_INSIDE.set(true);
    let mut seen = 0_u32;
    loop {
        let mut spins = 0;
        let generation = loop {
            if shared.is_closing.load(Ordering::Relaxed) {
                return;
            }
            let (generation, chunks, next) = unpack(shared.word.load(Ordering::SeqCst));
            if generation != seen && next < chunks {
                break generation;
            }
            if spins < SPINS_BEFORE_PARK {
                spins += 1;
                std::hint::spin_loop();
                continue;
            }
            shared.parked[index].store(true, Ordering::SeqCst);
            // Look again: the flag and the word are sequentially consistent, so either `run` sees the flag or this
            // thread sees the new word.
            let (generation, chunks, next) = unpack(shared.word.load(Ordering::SeqCst));
            let has_work = generation != seen && next < chunks;
            if !has_work && !shared.is_closing.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.parked[index].store(false, Ordering::SeqCst);
            spins = 0;
        };
        claim_all(shared, generation);
        seen = generation;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::time::Instant;

    #[test]
    fn every_chunk_is_run_once() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads);
            for chunks in [0_usize, 1, 2, 7, 300] {
                for _ in 0..200 {
                    let counts: Vec<AtomicU32> = (0..chunks).map(|_| AtomicU32::new(0)).collect();
                    pool.run(chunks, &|chunk| {
                        counts[chunk].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(
                        counts
                            .iter()
                            .all(|count| count.load(Ordering::Relaxed) == 1)
                    );
                }
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.run(16, &|chunk| assert_ne!(chunk, 11));
        }));
        assert!(outcome.is_err());
        // All threads take part again: a chunk waits until three are under way.
        let (under_way, start) = (AtomicUsize::new(0), Instant::now());
        pool.run(3, &|_| {
            under_way.fetch_add(1, Ordering::SeqCst);
            while under_way.load(Ordering::SeqCst) < 3 && start.elapsed().as_secs() < 60 {
                thread::yield_now();
            }
        });
        assert!(
            start.elapsed().as_secs() < 60,
            "chunks run one after another"
        );
        let sum = AtomicUsize::new(0);
        pool.run(16, &|chunk| {
            pool.run(2, &|_| {
                sum.fetch_add(chunk, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.load(Ordering::Relaxed), 240);
    }
}
