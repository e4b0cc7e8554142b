// SPDX-License-Identifier: GPL-2.0

//! What is lent to a callback of the bus is not kept: the driver's data can be dropped after it.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::managed::Managed;
use kernel::{
    device::{
        Core,
        Device, //
    },
    prelude::*, //
};

/// Takes the value along.
pub fn take<'a>(managed: &'a Managed<KVec<u8>>, device: &'a Device<Core<'_>>) -> Result<&'a u8> {
    managed.with(device, |value| value.first())?.ok_or(EINVAL) //~ ERROR lifetime may not live long enough
}
