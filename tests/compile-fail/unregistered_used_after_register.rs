// SPDX-License-Identifier: GPL-2.0

//! What is unique is not any more when it is visible to the system.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::Unregistered;
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// Uses the unregistered object after its registration.
pub fn register(unregistered: Unregistered<Example>, pdev: &pci::Device<Bound>) -> Result<u32> {
    let _registration = unregistered.register(pdev, ())?;
    Ok(**unregistered) //~ E0382
}
