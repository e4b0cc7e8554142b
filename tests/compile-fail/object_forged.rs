// SPDX-License-Identifier: GPL-2.0

//! An object is an allocation of its own that the library makes.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use example::Example;
use holdfast::object::Object;

/// Makes an object of the parts of another, inside something else.
pub fn forge(other: Object<Example>) -> Object<Example> {
    Object { data: 1, ..other } //~ E0451
}
