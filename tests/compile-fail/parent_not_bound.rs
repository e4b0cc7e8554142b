// SPDX-License-Identifier: GPL-2.0

//! Objects are registered below a device that is bound, which its type shows.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::{
    Registration,
    Unregistered, //
};
use kernel::{
    pci,
    prelude::*, //
};

/// Registers below a device that may have no driver.
pub fn register(
    unregistered: Unregistered<Example>,
    pdev: &pci::Device,
) -> Result<Registration<Example>> {
    unregistered.register(pdev, ()) //~ E0308
}
