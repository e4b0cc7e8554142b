// SPDX-License-Identifier: GPL-2.0

//! Nothing that is bound can be kept in a cell, which needs no mutable borrow.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use core::cell::Cell;
use example::Example;
use holdfast::object::Object;
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// Keeps the bound device after the door was left.
pub fn keep<'a>(object: &Object<Example>, kept: &Cell<Option<&'a pci::Device<Bound>>>) -> Result {
    object.access(|access| kept.set(Some(access.pdev))) //~ E0521
}
