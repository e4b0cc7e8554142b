// SPDX-License-Identifier: GPL-2.0

//! The release callback is the library's, and cannot be called.
//!
//! Promise 1: memory is owned by the embedded device's reference count; there is no way to write
//! a release callback, and none to free early.

use holdfast::object::Header; //~ E0603

/// Releases an object.
pub fn release(header: &Header) {
    let device = core::ptr::from_ref(header).cast_mut().cast();
    // SAFETY: There is no reason why this should be safe.
    unsafe { Header::release(device) };
}
