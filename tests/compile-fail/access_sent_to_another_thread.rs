// SPDX-License-Identifier: GPL-2.0

//! The guard of the door belongs to the task that went in.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::prelude::*;

fn give_to_another_thread<T: Send>(_: T) {}

/// Lets another thread use the guard.
pub fn share(object: &Object<Example>) -> Result {
    object.access(|access| give_to_another_thread(access)) //~ E0277
}
