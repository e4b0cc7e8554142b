// SPDX-License-Identifier: GPL-2.0

//! That the rescan lock is held cannot be said without taking it.
//!
//! Promise 8: the rescan lock has an owner.

use holdfast::pci::RescanLock;
use kernel::types::NotThreadSafe;

/// Makes a guard of nothing.
pub fn forge() -> RescanLock {
    RescanLock {
        _not_send: NotThreadSafe, //~ E0451
    }
}
