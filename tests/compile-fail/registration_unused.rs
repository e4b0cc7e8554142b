// SPDX-License-Identifier: GPL-2.0

//! A registration that nobody keeps would end at once.
//!
//! Promise 2: alloc, then register, as types.
#![deny(unused_must_use)]

use example::Example;
use holdfast::object::Unregistered;
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// Registers an object, and drops the registration with the statement.
pub fn register(unregistered: Unregistered<Example>, pdev: &pci::Device<Bound>) -> Result {
    unregistered.register(pdev, ())?; //~ unused_must_use
    Ok(())
}
