// SPDX-License-Identifier: GPL-2.0

//! The guard that a registered object gives is not returned either.
//!
//! Promise 7: a child ends before its parent does.

use example::Example;
use holdfast::object::Registered;
use kernel::io::Io;

/// Takes the guard out.
pub fn read(registered: Registered<'_, Example>) -> u32 {
    let access = registered.with(|access| access); //~ ERROR
    access.bar.read32(0)
}
