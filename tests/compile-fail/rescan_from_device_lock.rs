// SPDX-License-Identifier: GPL-2.0

//! Who has a device lock has no way from there to the rescan lock.
//!
//! Promise 8: the order of the device lock and the rescan lock is in the types.

use holdfast::pci::{
    DeviceLock,
    RescanLock, //
};
use kernel::prelude::*;

/// Takes the rescan lock inside of a device lock.
pub fn inside(device: &DeviceLock<'_>) -> Result {
    RescanLock::with(device, |_lock| ()) //~ E0277
}
