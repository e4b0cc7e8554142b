// SPDX-License-Identifier: GPL-2.0

//! Objects are registered below a device of the bus that their type names, because `bind` is
//! given that device.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::{
    Registration,
    Unregistered, //
};
use kernel::{
    device::Bound,
    platform,
    prelude::*, //
};

/// Registers below a platform device what maps a BAR.
pub fn register(
    unregistered: Unregistered<Example>,
    pdev: &platform::Device<Bound>,
) -> Result<Registration<Example>> {
    unregistered.register(pdev, ()) //~ E0308
}
