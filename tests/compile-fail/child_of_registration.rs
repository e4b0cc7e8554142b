// SPDX-License-Identifier: GPL-2.0

//! A registration does not show that it has not ended, so nothing is registered below it without
//! the door.
//!
//! Promise 7: a child ends before its parent does.

use example::{
    Child,
    Example, //
};
use holdfast::object::{
    Registration,
    Unregistered, //
};
use kernel::prelude::*;

/// Registers below a registration that may have ended.
pub fn register(
    child: Unregistered<Child>,
    parent: &Registration<Example>,
) -> Result<Registration<Child>> {
    child.register(parent, ()) //~ E0308
}
