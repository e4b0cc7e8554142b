// SPDX-License-Identifier: GPL-2.0

//! What was asked for is enabled once.
//!
//! Promise 4: a registration ends once.

use holdfast::pci::sriov::{
    Request,
    Vfs, //
};
use kernel::prelude::*;

/// Enables them twice.
pub fn configure(request: Request<'_>) -> Result<Vfs<'_>> {
    drop(request.enable()?);
    request.enable() //~ E0382
}
