// SPDX-License-Identifier: GPL-2.0

//! An object that is referred to cannot be given to an allocator to free.
//!
//! Promise 1: memory is owned by the embedded device's reference count; there is no way to free
//! early. Promise 9: not without `unsafe`, which drivers do not contain.

use example::Example;
use holdfast::object::Object;
use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

/// Frees the memory, whoever else refers to it.
pub fn free(object: ARef<Object<Example>>) {
    drop(KBox::from_raw(ARef::into_raw(object).as_ptr())); //~ E0133
}
