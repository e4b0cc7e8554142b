// SPDX-License-Identifier: GPL-2.0

//! The rescan lock cannot be forgotten, as it cannot be had by value.
//!
//! Promise 8: the rescan lock is given back by who has taken it.

use holdfast::pci::{
    RescanLock,
    Unlocked, //
};
use kernel::prelude::*;

/// Never gives it back.
pub fn forget(unlocked: &mut Unlocked) -> Result {
    RescanLock::with(unlocked, |lock| core::mem::forget(*lock)) //~ E0507
}
