// SPDX-License-Identifier: GPL-2.0

//! What is bound is not reachable around the door either.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::{
    Example,
    ExampleBound, //
};
use holdfast::object::Object;

/// Finds the data without entering.
pub fn bound(object: &Object<Example>) -> *const ExampleBound<'static> {
    object.bound.get().cast_const().cast() //~ E0616
}
