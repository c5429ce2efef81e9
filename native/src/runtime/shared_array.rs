//! One array of plain numbers in native memory that Rust and JavaScript share.
//!
//! Owns the memory. Knows nothing of N-API, nor of what the numbers mean.
//!
//! I1: an array never moves and never changes its length.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use crate::failure::{Code, Failure, Outcome};

/// A zeroed array of plain numbers that Rust and JavaScript share.
pub struct SharedArray<T> {
    data: NonNull<T>,
    len: usize,
}

// SAFETY: plain memory without thread affinity; the owner says who touches it when.
unsafe impl<T: Send> Send for SharedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for SharedArray<T> {}

/// Numbers whose all-zero bytes are a value. Sealed to the two that cross the surface.
pub trait Number: Copy {}
impl Number for i32 {}
impl Number for f32 {}

impl<T: Number> SharedArray<T> {
    /// `len` ≥ 1 zeros; pages are touched on first use only.
    pub fn zeroed(len: usize) -> Outcome<Self> {
        let layout = Layout::array::<T>(len.max(1)).map_err(|_| out_of_memory(len))?;
        // SAFETY: the layout's size is not zero.
        let raw = unsafe { alloc_zeroed(layout) }.cast::<T>();
        let data = NonNull::new(raw).ok_or_else(|| out_of_memory(layout.size()))?;
        Ok(Self { data, len })
    }

    pub fn as_ptr(&self) -> *mut T {
        self.data.as_ptr()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The first `count` elements.
    ///
    /// # Safety
    /// No one writes them while the slice lives; `count` ≤ `len`, which is checked.
    pub unsafe fn first(&self, count: usize) -> &[T] {
        assert!(count <= self.len);
        // SAFETY: initialised, in bounds; aliasing is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), count) }
    }

    /// The first `count` elements, to be written.
    ///
    /// # Safety
    /// No one else reads or writes them while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn first_mut(&self, count: usize) -> &mut [T] {
        assert!(count <= self.len);
        // SAFETY: initialised, in bounds; aliasing is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), count) }
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // The same layout as in `zeroed`, where it was found valid.
        if let Ok(layout) = Layout::array::<T>(self.len.max(1)) {
            // SAFETY: allocated by `zeroed` with this layout, freed once.
            unsafe { dealloc(self.data.as_ptr().cast(), layout) };
        }
    }
}

fn out_of_memory(bytes: usize) -> Failure {
    Failure::new(
        Code::OutOfMemory,
        format_args!(
            "no memory for a step buffer of {bytes} bytes; lower maxLogitsRows or maxNumBatchedTokens"
        ),
    )
}
