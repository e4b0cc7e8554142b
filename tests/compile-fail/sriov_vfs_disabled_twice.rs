// SPDX-License-Identifier: GPL-2.0

//! VFs are disabled once: whoever drops them has none to return.
//!
//! Promise 4: a registration ends once.

use holdfast::pci::sriov::{
    Request,
    Vfs, //
};
use kernel::prelude::*;

/// Disables them, and returns them.
pub fn configure(request: Request<'_>) -> Result<Vfs<'_>> {
    let vfs = request.enable()?;
    drop(vfs);
    Ok(vfs) //~ E0382
}
