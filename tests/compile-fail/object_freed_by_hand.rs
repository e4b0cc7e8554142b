// SPDX-License-Identifier: GPL-2.0

//! Nobody puts a reference that is not theirs.
//!
//! Promise 1: memory is owned by the embedded device's reference count; there is no way to free
//! early. Promise 9: not without `unsafe`, which drivers do not contain.

use core::ptr::NonNull;
use example::Example;
use holdfast::object::Object;
use kernel::sync::aref::AlwaysRefCounted;

/// Puts a reference that the caller has only borrowed.
pub fn free(object: &Object<Example>) {
    Object::dec_ref(NonNull::from(object)); //~ E0133
}
