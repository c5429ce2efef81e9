//! Checkpoint files as memory maps: checked ranges of bytes, and giving the pages back once they have been packed.
//!
//! Owns the maps of one `loadWeights` call; all are unmapped when it ends. Knows nothing of formats.
//! I1: each file is mapped once. I2: a range is handed out only after `offset + length` was checked against the file.

use std::collections::HashMap;
use std::fs::File;

use memmap2::Mmap;

use crate::failure::{Code, Failure, Outcome};

#[derive(Default)]
pub struct WeightFiles {
    maps: HashMap<String, Mmap>,
}

impl WeightFiles {
    /// Map `path` unless it is mapped already. An empty file, a folder or a device is refused.
    pub fn open(&mut self, path: &str) -> Outcome<()> {
        if self.maps.contains_key(path) {
            return Ok(());
        }
        let failed = |cause: std::io::Error| bad(format!("cannot map weight file {path}: {cause}"));
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(bad(format!(
                "weight file {path} must be a file with bytes in it"
            )));
        }
        // SAFETY: the store's files are immutable by contract (content-addressed); a file that someone cuts short while
        // it is read ends the process with SIGBUS, as it does in every runtime that maps weights.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        self.maps.insert(path.to_owned(), map);
        Ok(())
    }

    /// Bytes `offset .. offset + length` of an opened file (I2).
    pub fn range(&self, path: &str, offset: u64, length: u64) -> Outcome<&[u8]> {
        let map = self
            .maps
            .get(path)
            .ok_or_else(|| bad(format!("weight file {path} is not open")))?;
        let end = offset
            .checked_add(length)
            .filter(|&end| end <= map.len() as u64);
        match end {
            // Both fit in usize, because they are at most the map's length.
            Some(end) => Ok(&map[offset as usize..end as usize]),
            None => Err(bad(format!(
                "bytes {offset} to {offset} + {length} lie outside {path}, which has {} bytes",
                map.len()
            ))),
        }
    }

    /// Give the pages of a range back to the system; they would be read again from the file if anyone looked.
    pub fn release(&self, path: &str, offset: u64, length: u64) {
        #[cfg(unix)]
        if let Some(map) = self.maps.get(path) {
            // SAFETY: a read-only map of a file: dropping its pages loses nothing. Failing only keeps memory longer.
            let _ = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    offset as usize,
                    length as usize,
                )
            };
        }
        #[cfg(not(unix))]
        let _ = (path, offset, length);
    }
}

fn bad(message: String) -> Failure {
    Failure::new(Code::BadWeight, message)
}
