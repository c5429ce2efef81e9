//! A file of packed weights that processes share: written once, then mapped read-only.
//!
//! ```text
//! 0        "INGOTPAK", layout of the packed forms, zeros up to 64
//! 64 …     parts, each at a cache line
//! …        index (`pack_codec`)
//! last 64  u64 offset and u64 bytes of the index, 32 bytes BLAKE3 of it, zeros, "KAPTOGNI"
//! ```
//! The index holds the digest of every part, and the end holds the index's: every byte that is read as a weight was
//! checked. F1: a file has its name only once it is whole and on the disk. F2: nothing of a file is used before all of
//! it was checked. F3: a writer that does not finish leaves no file. F4: it is written in pieces of 2 MB, and mapped with
//! advice to take large pages, so that file systems with large folios (XFS; ext4 from Linux 6.16 on) map it in pages of 2 MB:
//! weights that come from memory are read up to twice as fast as through pages of 4 KB.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ingot_kernels::{PackedLinear, PackedShape, Pool, SharedBytes};
use memmap2::Mmap;

use super::pack_codec::{DIGEST_BYTES, PackIndex, PackedPart, PackedWeight};
use super::weights::Weight;
use crate::failure::{Code, Failure, Outcome};

const START: &[u8; 8] = b"INGOTPAK";
const END: &[u8; 8] = b"KAPTOGNI";
const LINE: usize = 64;
/// Digest of the sources that lay packed weights out, made by `build.rs`: other code never reads these bytes.
const LAYOUT: &str = env!("INGOT_PACK_LAYOUT");

/// A large page.
const PIECE: usize = 2 << 20;

/// Several models of a process may pack the same weights at once.
static WRITERS: AtomicU32 = AtomicU32::new(0);

pub struct PackWriter {
    file: File,
    /// Where it is written; renamed to `path` at the end (F1).
    scratch: PathBuf,
    path: PathBuf,
    /// Where the next byte goes; those of the last piece are still in memory.
    offset: u64,
    piece: Vec<u8>,
    index: PackIndex,
}

impl PackWriter {
    pub fn create(path: &str, key: &str) -> Outcome<Self> {
        let path = PathBuf::from(path);
        let number = WRITERS.fetch_add(1, Ordering::Relaxed);
        let scratch = path.with_extension(format!("{}-{number}.part", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&scratch)
            .map_err(|cause| unwritten(&path, &cause))?;
        let mut writer = Self {
            file,
            scratch,
            path,
            offset: 0,
            piece: Vec::with_capacity(PIECE),
            index: PackIndex {
                key: key.to_owned(),
                weights: Vec::new(),
            },
        };
        let mut head = [0; LINE];
        head[..8].copy_from_slice(START);
        head[8..8 + LAYOUT.len()].copy_from_slice(LAYOUT.as_bytes());
        writer.write(&head)?;
        Ok(writer)
    }

    pub fn has(&self, name: &str) -> bool {
        self.index.weights.iter().any(|weight| weight.name == name)
    }

    pub fn linear(&mut self, name: &str, weight: &PackedLinear) -> Outcome<()> {
        let mut parts = Vec::new();
        for (shape, bytes) in weight.packed_parts() {
            parts.push(self.part(shape.name(), shape.rows, bytes)?);
        }
        self.index.weights.push(PackedWeight {
            name: name.to_owned(),
            inputs: weight.k() as u64,
            parts,
        });
        Ok(())
    }

    pub fn vector(&mut self, name: &str, values: &[f32]) -> Outcome<()> {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let parts = vec![self.part("F32".to_owned(), values.len(), &bytes)?];
        self.index.weights.push(PackedWeight {
            name: name.to_owned(),
            inputs: 0,
            parts,
        });
        Ok(())
    }

    /// F1. What was written is on the disk and has its name; it is to be opened like any other.
    pub fn finish(mut self) -> Outcome<()> {
        let index = self.index.encode();
        let at = self.offset;
        self.write(&index)?;
        let mut end = [0; LINE];
        end[..8].copy_from_slice(&at.to_le_bytes());
        end[8..16].copy_from_slice(&(index.len() as u64).to_le_bytes());
        end[16..16 + DIGEST_BYTES].copy_from_slice(blake3::hash(&index).as_bytes());
        end[LINE - END.len()..].copy_from_slice(END);
        self.write(&end)?;
        let mut settle = || -> io::Result<()> {
            self.file.write_all(&self.piece)?;
            self.file.sync_all()?;
            std::fs::rename(&self.scratch, &self.path)?;
            // The name is on the disk once its folder is; not every system lets a folder be opened for that.
            if let Some(Ok(folder)) = self.path.parent().map(File::open) {
                let _ = folder.sync_all();
            }
            Ok(())
        };
        settle().map_err(|cause| unwritten(&self.path, &cause))
    }

    fn part(&mut self, form: String, rows: usize, bytes: &[u8]) -> Outcome<PackedPart> {
        let offset = self.offset;
        self.write(bytes)?;
        Ok(PackedPart {
            form,
            rows: rows as u64,
            offset,
            bytes: bytes.len() as u64,
            digest: *blake3::hash(bytes).as_bytes(),
        })
    }

    /// Padded to whole lines.
    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        let padding = bytes.len().next_multiple_of(LINE) - bytes.len();
        self.write_pieces(bytes)
            .and_then(|()| self.write_pieces(&[0; LINE][..padding]))
            .map_err(|cause| unwritten(&self.path, &cause))?;
        self.offset += (bytes.len() + padding) as u64;
        Ok(())
    }

    /// F4. Whole pieces at places that are multiples of their size.
    fn write_pieces(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                self.file.write_all(&self.piece)?;
                self.piece.clear();
            }
        }
        Ok(())
    }
}

impl Drop for PackWriter {
    /// F3. After `finish` the name is gone already.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.scratch);
    }
}

/// All weights of a pack file, F2.
pub fn open(path: &str, key: &str, pool: &Pool) -> Outcome<Vec<(String, Weight)>> {
    let no = |why: &str| Failure::new(Code::BadPack, format_args!("{path} {why}"));
    let file = File::open(path).map_err(|cause| no(&format!("cannot be opened: {cause}")))?;
    // SAFETY: the file was renamed into place whole and is never written again; who cuts it short while it is mapped
    // ends the process, as with any mapped weights.
    let map =
        unsafe { Mmap::map(&file) }.map_err(|cause| no(&format!("cannot be mapped: {cause}")))?;
    // F4. It is advice: a refusal changes nothing.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    let map = Arc::new(map);
    let index = read_index(&map).map_err(no)?;
    if index.key != key {
        return Err(no("holds the weights of something else"));
    }
    check_digests(&map, &index, pool).map_err(no)?;
    index
        .weights
        .iter()
        .map(|weight| {
            let made = to_weight(weight, &map).ok_or_else(|| no("has parts that do not fit"))?;
            Ok((weight.name.clone(), made))
        })
        .collect()
}

fn read_index(map: &[u8]) -> Result<PackIndex, &'static str> {
    let (Some((head, _)), Some((_, end))) = (
        map.split_first_chunk::<LINE>(),
        map.split_last_chunk::<LINE>(),
    ) else {
        return Err("is too short for packed weights");
    };
    if &head[..8] != START || &end[LINE - END.len()..] != END {
        return Err("is no whole file of packed weights");
    }
    if &head[8..8 + LAYOUT.len()] != LAYOUT.as_bytes() {
        return Err("was packed by another version");
    }
    let number = |at: usize| u64::from_le_bytes(*end[at..].first_chunk().expect("8 of 64 bytes"));
    let bytes = range(map, number(0), number(8)).ok_or("has its index outside of itself")?;
    if blake3::hash(bytes).as_bytes()[..] != end[16..16 + DIGEST_BYTES] {
        return Err("has an index that was changed");
    }
    PackIndex::decode(bytes).ok_or("has an index that cannot be read")
}

fn check_digests(map: &[u8], index: &PackIndex, pool: &Pool) -> Result<(), &'static str> {
    let parts: Vec<_> = index
        .weights
        .iter()
        .flat_map(|weight| &weight.parts)
        .collect();
    let is_good = AtomicBool::new(true);
    pool.run(parts.len(), &|at| {
        let part = parts[at];
        let fits = range(map, part.offset, part.bytes)
            .is_some_and(|bytes| *blake3::hash(bytes).as_bytes() == part.digest);
        if !fits {
            is_good.store(false, Ordering::Relaxed);
        }
    });
    if is_good.into_inner() {
        Ok(())
    } else {
        Err("has weights that were changed")
    }
}

fn to_weight(weight: &PackedWeight, map: &Arc<Mmap>) -> Option<Weight> {
    if weight.inputs == 0 {
        let [part] = &weight.parts[..] else {
            return None;
        };
        let (values, rest) = range(map, part.offset, part.bytes)?.as_chunks::<4>();
        let is_whole = rest.is_empty() && values.len() as u64 == part.rows;
        let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
        return is_whole.then(|| Weight::Vector(values.collect()));
    }
    let parts = weight.parts.iter().map(|part| {
        let bytes = range(map, part.offset, part.bytes)?;
        let shape = PackedShape::parse(&part.form, usize::try_from(part.rows).ok()?)?;
        // SAFETY: the bytes are the map's, which never moves, is never written and lives as long as its owner.
        let bytes = unsafe { SharedBytes::new(bytes, map.clone()) }.ok()?;
        Some((shape, bytes))
    });
    let parts = parts.collect::<Option<Vec<_>>>()?;
    let linear = PackedLinear::from_packed(parts, usize::try_from(weight.inputs).ok()?).ok()?;
    Some(Weight::Linear(Arc::new(linear)))
}

fn range(map: &[u8], offset: u64, bytes: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(bytes).ok()?)?;
    map.get(start..end)
}

fn unwritten(path: &Path, cause: &io::Error) -> Failure {
    let path = path.display();
    Failure::new(
        Code::BadPack,
        format_args!("{path} cannot be written: {cause}"),
    )
}
