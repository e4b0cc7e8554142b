// SPDX-License-Identifier: GPL-2.0

//! The rescan lock is lent, and given back when the closure returns.
//!
//! Promise 8: the rescan lock cannot be given back twice, or by another task.

use holdfast::pci::{
    RescanLock,
    Unlocked, //
};
use kernel::prelude::*;

/// Keeps the lock for longer.
pub fn keep(unlocked: &mut Unlocked) -> Result<&RescanLock> {
    RescanLock::with(unlocked, |lock| lock) //~ ERROR
}
