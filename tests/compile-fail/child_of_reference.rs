// SPDX-License-Identifier: GPL-2.0

//! A reference does not show that an object is registered, so nothing is registered below it.
//!
//! Promise 7: a child ends before its parent does.

use example::{
    Child,
    Example, //
};
use holdfast::object::{
    Object,
    Registration,
    Unregistered, //
};
use kernel::prelude::*;

/// Registers below an object that may have ended.
pub fn register(
    child: Unregistered<Child>,
    object: &Object<Example>,
) -> Result<Registration<Child>> {
    child.register(object, ()) //~ E0308
}
