// SPDX-License-Identifier: GPL-2.0

//! A child is registered below an object while that is known to be registered: inside its door.
//!
//! Promise 7: a child ends before its parent does.

use example::{
    Child,
    Example, //
};
use holdfast::object::{
    Object,
    Registered,
    Registration,
    Unregistered, //
};
use kernel::prelude::*;

/// Registers after the parent's door was left.
pub fn register_later(
    child: Unregistered<Child>,
    object: &Object<Example>,
) -> Result<Registration<Child>> {
    let mut kept: Option<Registered<'_, Example>> = None;
    object.access(|access| kept = Some(access.registered()))?; //~ E0521
    child.register(kept.ok_or(ENODEV)?, ())
}
