// SPDX-License-Identifier: GPL-2.0

//! What is bound is shared by all who are inside, so nobody replaces it.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::prelude::*;

/// Takes a BAR that others are using for itself.
pub fn take(object: &Object<Example>) -> Result {
    object.access(|access| {
        let _bar = &mut access.bar; //~ E0596
    })
}
