// SPDX-License-Identifier: GPL-2.0

//! Where both locks were taken from, they cannot be taken again while they are held.
//!
//! Promise 8: the order of the device lock and the rescan lock is in the types.

use holdfast::pci::{
    RescanLock,
    Unlocked, //
};
use kernel::{
    pci,
    prelude::*, //
};

/// Says inside of a device lock that none is held.
pub fn again(unlocked: &mut Unlocked, pdev: &pci::Device) -> Result {
    RescanLock::with_device(unlocked, pdev, |_lock, _device| {
        //~^ E0505
        RescanLock::with(unlocked, |_lock| ())
    })?
}
