// SPDX-License-Identifier: GPL-2.0

//! The caller of `access` cannot choose the binding's lifetime either.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::{
    Access,
    Object, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// Keeps the bound device for as long as the caller likes.
pub fn keep<'a>(object: &'a Object<Example>) -> Result<&'a pci::Device<Bound>> {
    object.access(|access: &Access<'a, 'a, Example>| access.pdev) //~ ERROR
}
