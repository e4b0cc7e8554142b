// SPDX-License-Identifier: GPL-2.0

//! A worker that acts for the owner is lent the lock, and does not use that of the owner.
//!
//! Promise 8: the rescan lock has one owner at a time.

use holdfast::pci::{
    RescanLock,
    Unlocked, //
};
use kernel::prelude::*;

/// Uses the owner's in the worker.
pub fn hand_over(unlocked: &mut Unlocked) -> Result<usize> {
    RescanLock::with(unlocked, |lock| {
        lock.hand_over(|_lent| lock.depth()) //~ E0277
    })?
}
