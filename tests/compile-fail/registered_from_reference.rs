// SPDX-License-Identifier: GPL-2.0

//! Whoever has a reference to an object cannot register it.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::{
    Object,
    Registration, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*,
    sync::aref::ARef, //
};

/// Registers an object that somebody else may have registered.
pub fn register(
    object: ARef<Object<Example>>,
    pdev: &pci::Device<Bound>,
) -> Result<Registration<Example>> {
    object.register(pdev, ()) //~ E0599
}
