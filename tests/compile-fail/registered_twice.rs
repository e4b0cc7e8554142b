// SPDX-License-Identifier: GPL-2.0

//! An object is registered once.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::{
    Registration,
    Unregistered, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// Registers the same object twice.
pub fn register(
    unregistered: Unregistered<Example>,
    pdev: &pci::Device<Bound>,
) -> Result<(Registration<Example>, Registration<Example>)> {
    let first = unregistered.register(pdev, ())?;
    let second = unregistered.register(pdev, ())?; //~ E0382
    Ok((first, second))
}
