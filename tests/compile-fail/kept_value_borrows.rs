// SPDX-License-Identifier: GPL-2.0

//! What an object keeps is dropped with its memory, at any later time, so it does not borrow.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use example::Example;
use holdfast::object::Object;
use kernel::prelude::*;

/// Lends a variable to an object.
pub fn lend(object: &Object<Example>) -> Result<u32> {
    let local = 1;
    let kept = object.keep::<&u32, Error>(Ok(&local))?; //~ E0597
    Ok(**kept)
}
