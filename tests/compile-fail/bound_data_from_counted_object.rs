// SPDX-License-Identifier: GPL-2.0

//! A reference that outlives the registration leads to what is bound through the door only.
//!
//! Promise 3: access is fenced at the boundary of an operation.

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

/// Asks for the bound device without entering.
pub fn parent(registration: &Registration<Example>) -> Result<u16> {
    let object: ARef<Object<Example>> = registration.reference();
    let pdev: &pci::Device<Bound> = object.parent(); //~ E0599
    Ok(pdev.vendor_id().as_raw())
}
