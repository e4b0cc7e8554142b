// SPDX-License-Identifier: GPL-2.0

//! A closure that goes inside works for every binding; it cannot ask for one that never ends.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::{
    Example,
    ExampleBound, //
};
use holdfast::object::{
    Access,
    Object, //
};
use kernel::prelude::*;

fn use_for_ever(_bound: &ExampleBound<'static>) {}

/// Says that the binding never ends.
pub fn choose(object: &Object<Example>) -> Result {
    object.access(|access: &Access<'_, 'static, Example>| use_for_ever(access)) //~ ERROR
}
