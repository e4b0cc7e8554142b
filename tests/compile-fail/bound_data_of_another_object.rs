// SPDX-License-Identifier: GPL-2.0

//! The bindings of two objects have two lifetimes: what belongs to one cannot be put into the
//! other.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::prelude::*;

/// Puts what ends with one binding where it ends with another.
pub fn mix(first: &Object<Example>, second: &Object<Example>) -> Result {
    first.access(|first| {
        second.access(|second| *second.slot.lock() = *first.slot.lock()) //~ E0521
    })?
}
