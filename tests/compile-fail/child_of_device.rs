// SPDX-License-Identifier: GPL-2.0

//! What belongs below an object is not registered below a device.
//!
//! Promise 7: a child keeps its parent's memory.

use example::Child;
use holdfast::object::{
    Registration,
    Unregistered, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// Registers below a device.
pub fn register(
    child: Unregistered<Child>,
    pdev: &pci::Device<Bound>,
) -> Result<Registration<Child>> {
    child.register(pdev, ()) //~ E0308
}
