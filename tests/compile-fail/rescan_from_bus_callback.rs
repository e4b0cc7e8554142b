// SPDX-License-Identifier: GPL-2.0

//! In a callback of the bus the device lock is held, and the rescan lock comes before that.
//!
//! Promise 8: the order of the device lock and the rescan lock is in the types.

use holdfast::pci::RescanLock;
use kernel::{
    device::Core,
    pci,
    prelude::*, //
};

/// Takes the rescan lock inside of the device lock.
pub fn unbind(pdev: &pci::Device<Core<'_>>) -> Result {
    RescanLock::with(pdev, |_lock| ()) //~ E0277
}
