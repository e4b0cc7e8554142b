// SPDX-License-Identifier: GPL-2.0

//! What an object keeps outlives the binding, so it holds nothing that is bound.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use example::Example;
use holdfast::object::Object;
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// Keeps the bound device for longer than it is bound.
pub fn keep(object: &Object<Example>) -> Result {
    object.access(|access| {
        object.keep::<&pci::Device<Bound>, Error>(Ok(access.pdev))?; //~ E0521
        Ok(())
    })?
}
