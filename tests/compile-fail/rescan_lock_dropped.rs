// SPDX-License-Identifier: GPL-2.0

//! The rescan lock is given back once, by the library.
//!
//! Promise 8: the rescan lock cannot be given back twice.

use holdfast::pci::{
    RescanLock,
    Unlocked, //
};
use kernel::prelude::*;

/// Gives it back, and lets the library do it again.
pub fn drop_it(unlocked: &mut Unlocked) -> Result {
    RescanLock::with(unlocked, |lock| drop(*lock)) //~ E0507
}
