// SPDX-License-Identifier: GPL-2.0

//! Nothing that is bound can be stored in a variable outside the door.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// Keeps the bound device after the door was left.
pub fn keep<'a>(object: &Object<Example>, kept: &mut Option<&'a pci::Device<Bound>>) -> Result {
    object.access(|access| *kept = Some(access.pdev)) //~ E0521
}
