// SPDX-License-Identifier: GPL-2.0

//! What an object keeps is reached by every task that has a reference, and dropped by any.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use core::cell::Cell;
use example::Example;
use holdfast::object::Object;
use kernel::prelude::*;

/// Lets an object keep something that cannot be shared.
pub fn keep(object: &Object<Example>) -> Result {
    object.keep::<Cell<u32>, Error>(Ok(Cell::new(1)))?; //~ E0277
    Ok(())
}
