//! Time by operator, for `ingot bench profile`: off by default, and then one relaxed load a node.
//!
//! Knows operators by name and a detail such as `576 → 1536`; knows neither graph nor kernels. A node's time is that of
//! the compute thread, with the pool's threads at work inside it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

#[derive(Default)]
pub struct Profile {
    is_on: AtomicBool,
    times: Mutex<BTreeMap<Key, Times>>,
}

/// Operator and detail.
type Key = (&'static str, String);

#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Times {
    pub calls: u64,
    pub nanoseconds: u64,
}

impl Profile {
    /// Forget what was measured and go on measuring, or not.
    pub fn switch(&self, is_on: bool) {
        self.times().clear();
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// What was measured since `switch`, by operator and detail.
    pub fn read(&self) -> Vec<(Key, Times)> {
        self.times()
            .iter()
            .map(|(key, times)| (key.clone(), *times))
            .collect()
    }

    /// Run `work` and count it under a name.
    pub fn time<T>(&self, operator: &'static str, detail: &str, work: impl FnOnce() -> T) -> T {
        if !self.is_on.load(Ordering::Relaxed) {
            return work();
        }
        let began = Instant::now();
        let result = work();
        let nanoseconds = began.elapsed().as_nanos() as u64;
        let mut times = self.times();
        let entry = times.entry((operator, detail.to_owned())).or_default();
        entry.calls += 1;
        entry.nanoseconds += nanoseconds;
        result
    }

    fn times(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Times>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_counted_until_it_is_switched_on_and_all_is_forgotten_by_the_next_switch() {
        let profile = Profile::default();
        assert_eq!(profile.time("Add", "", || 7), 7);
        assert_eq!(profile.read(), []);
        profile.switch(true);
        for _ in 0..3 {
            profile.time("Linear", "576 → 1536", || ());
        }
        let read = profile.read();
        assert_eq!(read[0].0, ("Linear", "576 → 1536".to_owned()));
        assert_eq!((read.len(), read[0].1.calls), (1, 3));
        profile.switch(false);
        profile.time("Add", "", || ());
        assert_eq!(profile.read(), []);
    }
}
