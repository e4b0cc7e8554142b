// SPDX-License-Identifier: GPL-2.0

//! That no device lock is held is not for a driver to say.
//!
//! Promise 8: the order of the device lock and the rescan lock is in the types.

use holdfast::pci::{
    RescanLock,
    Unlocked, //
};
use kernel::prelude::*;

/// Takes the rescan lock wherever it is called.
pub fn take() -> Result {
    RescanLock::with(&mut Unlocked::new(), |_lock| ()) //~ E0133
}
