// SPDX-License-Identifier: GPL-2.0

//! An object cannot be made of zeroes, as driver data often is.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use example::Example;
use holdfast::object::Object;

/// Makes an object as `devm_kzalloc()` does.
pub fn zeroed() -> Object<Example> {
    pin_init::zeroed() //~ E0277
}
