// SPDX-License-Identifier: GPL-2.0

//! VFs that are enabled are returned to the library, and cannot be kept by the driver.
//!
//! Promise 7: a child ends before its parent does.

use holdfast::pci::sriov::{
    Request,
    Vfs, //
};
use kernel::prelude::*;

/// Something of the driver's own.
pub struct Data {
    vfs: Option<Vfs<'static>>,
}

/// Keeps them.
pub fn configure(data: &mut Data, request: Request<'_>) -> Result {
    data.vfs = Some(request.enable()?); //~ ERROR
    Ok(())
}
