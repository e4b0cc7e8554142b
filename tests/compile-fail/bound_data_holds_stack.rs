// SPDX-License-Identifier: GPL-2.0

//! Nothing that lives less long than the binding can be put into what is bound.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::prelude::*;

/// Leaves a pointer to a stack frame behind.
pub fn leave_behind(object: &Object<Example>) -> Result {
    let local = 5;
    object.access(|access| *access.slot.lock() = Some(&local)) //~ E0597
}
