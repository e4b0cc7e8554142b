// SPDX-License-Identifier: GPL-2.0

//! What is bound is lent for as long as the guard is, not for longer.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::{
    Example,
    ExampleBound, //
};
use holdfast::object::Object;
use kernel::prelude::*;

/// Keeps what is bound after the door was left.
pub fn keep<'a>(object: &'a Object<Example>, kept: &mut Option<&'a ExampleBound<'a>>) -> Result {
    object.access(|access| *kept = Some(access.bound())) //~ E0521
}
