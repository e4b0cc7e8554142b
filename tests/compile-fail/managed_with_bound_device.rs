// SPDX-License-Identifier: GPL-2.0

//! That a device is bound does not show that its managed values are there: what is bound can say so
//! while they end. A callback of the bus can, because the device is locked there.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::{
    managed::Managed,
    object::Object, //
};
use kernel::prelude::*;

/// Uses the value with what is known inside the door of an object.
pub fn length(object: &Object<Example>, managed: &Managed<KVec<u8>>) -> Result<usize> {
    object.access(|access| managed.with(access.pdev.as_ref(), |value| value.len()))?
    //~^ E0308
}
