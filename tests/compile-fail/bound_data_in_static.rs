// SPDX-License-Identifier: GPL-2.0

//! Nothing that is bound can be stored in a static.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::{
    device::Bound,
    pci,
    prelude::*,
    sync::SetOnce, //
};

static KEPT: SetOnce<&'static pci::Device<Bound>> = SetOnce::new();

/// Keeps the bound device for ever.
pub fn keep(object: &Object<Example>) -> Result<bool> {
    object.access(|access| KEPT.populate(access.pdev)) //~ E0521
}
