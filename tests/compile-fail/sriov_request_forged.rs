// SPDX-License-Identifier: GPL-2.0

//! VFs are enabled where they were asked for, with both locks held: not in `probe`.
//!
//! Promise 8: the order of the device lock and the rescan lock is in the types.

use core::num::NonZero;
use holdfast::pci::sriov::Request;
use kernel::{
    device::Core,
    pci,
    prelude::*, //
};

/// Enables VFs in `probe`.
pub fn probe(pdev: &pci::Device<Core<'_>>) -> Result {
    let request = Request {
        device: pdev, //~ E0451
        count: NonZero::<u16>::MIN, //~ E0451
        rescan_lock: pdev, //~ E0451
    };
    drop(request.enable()?);
    Ok(())
}
