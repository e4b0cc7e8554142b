// SPDX-License-Identifier: GPL-2.0

//! The guard of the door is lent, so that it cannot be given to `mem::forget`, which would let
//! the end of the registration wait for ever.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::prelude::*;

/// Never leaves.
pub fn stay(object: &Object<Example>) -> Result {
    object.access(|access| core::mem::forget(*access)) //~ E0507
}
