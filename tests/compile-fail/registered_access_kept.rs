// SPDX-License-Identifier: GPL-2.0

//! The guard that a registered object gives is lent as that of the door is.
//!
//! Promise 7: a child ends before its parent does.

use example::Example;
use holdfast::object::Registered;
use kernel::io::Io;

/// Stores the guard.
pub fn keep(registered: Registered<'_, Example>) -> u32 {
    let mut kept = None;
    registered.with(|access| kept = Some(access)); //~ E0521 //~ ERROR
    kept.map_or(0, |access| access.bar.read32(0))
}
