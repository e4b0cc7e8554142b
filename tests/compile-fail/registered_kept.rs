// SPDX-License-Identifier: GPL-2.0

//! That an object is registered is known inside its door only.
//!
//! Promise 7: a child ends before its parent does.

use example::Example;
use holdfast::object::{
    Object,
    Registered, //
};
use kernel::prelude::*;

/// Keeps the knowledge after the door was left.
pub fn keep(object: &Object<Example>) -> Result<Registered<'_, Example>> {
    object.access(|access| access.registered()) //~ ERROR
}
