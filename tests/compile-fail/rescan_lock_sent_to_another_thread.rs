// SPDX-License-Identifier: GPL-2.0

//! The rescan lock belongs to the task that has taken it.
//!
//! Promise 8: the rescan lock cannot be given back by another task.

use holdfast::pci::{
    RescanLock,
    Unlocked, //
};
use kernel::prelude::*;

fn give_to_another_thread<T: Send>(_: T) {}

/// Lets another thread use it.
pub fn share(unlocked: &mut Unlocked) -> Result {
    RescanLock::with(unlocked, |lock| give_to_another_thread(lock)) //~ E0277
}
