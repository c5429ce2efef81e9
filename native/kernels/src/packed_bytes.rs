//! Where packed weights lie: in memory of our own, or in somebody's mapped file. Owns the one, keeps the other alive.
//!
//! I1: bytes start at a cache line, so that tiles may be loaded aligned.

use std::any::Any;
use std::sync::Arc;

use crate::error::KernelError;

/// A cache line.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; LINE]);

pub(crate) const LINE: usize = 64;

pub(crate) struct PackedBytes(Holder);

enum Holder {
    Owned(Box<[Line]>),
    Shared(SharedBytes),
}

/// Read-only bytes of somebody else's, such as a mapped file.
#[derive(Clone)]
pub struct SharedBytes {
    start: *const u8,
    len: usize,
    _owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the bytes are never written (`SharedBytes::new`), and the owner may go to and be used by any thread.
unsafe impl Send for SharedBytes {}
// SAFETY: as above.
unsafe impl Sync for SharedBytes {}

impl SharedBytes {
    /// Bytes of `owner` that start at a cache line (I1).
    ///
    /// # Errors
    /// When they do not.
    ///
    /// # Safety
    /// `bytes` stay valid and unchanged for as long as `owner` lives, wherever it is moved.
    pub unsafe fn new(
        bytes: &[u8],
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Result<Self, KernelError> {
        if !(bytes.as_ptr() as usize).is_multiple_of(LINE) {
            return Err(KernelError::new("packed bytes must start at a cache line"));
        }
        Ok(Self {
            start: bytes.as_ptr(),
            len: bytes.len(),
            _owner: owner,
        })
    }
}

impl PackedBytes {
    /// Zeros, at least `len` of them, to be filled.
    pub fn zeroed(len: usize) -> Box<[Line]> {
        vec![Line([0; LINE]); len.div_ceil(LINE)].into_boxed_slice()
    }

    /// What `zeroed` gave, as bytes.
    pub fn bytes_mut(lines: &mut [Line]) -> &mut [u8] {
        // SAFETY: lines are plain bytes without padding.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LINE) }
    }

    pub fn owned(lines: Box<[Line]>) -> Self {
        Self(Holder::Owned(lines))
    }

    pub fn shared(bytes: SharedBytes) -> Self {
        Self(Holder::Shared(bytes))
    }

    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: lines are plain bytes without padding.
            Holder::Owned(lines) => unsafe {
                std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE)
            },
            // SAFETY: valid and unchanged while the owner, which is held beside it, lives (`SharedBytes::new`).
            Holder::Shared(shared) => unsafe {
                std::slice::from_raw_parts(shared.start, shared.len)
            },
        }
    }
}
