// SPDX-License-Identifier: GPL-2.0

//! A device of unknown bus is not the parent of objects that need one of a certain bus.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::{
    Registration,
    Unregistered, //
};
use kernel::{
    device,
    prelude::*, //
};

/// Registers below any device.
pub fn register(
    unregistered: Unregistered<Example>,
    device: &device::Device<device::Bound>,
) -> Result<Registration<Example>> {
    unregistered.register(device, ()) //~ E0308
}
