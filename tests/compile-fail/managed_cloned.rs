// SPDX-License-Identifier: GPL-2.0

//! A managed value has one owner, who alone can end it early.
//!
//! Promise 4: unregistration happens once.

use holdfast::managed::Managed;
use kernel::prelude::*;

/// Doubles the owner.
pub fn double(managed: Managed<KVec<u8>>) -> [Managed<KVec<u8>>; 2] {
    let second = Clone::clone(&managed); //~ E0277
    [managed, second]
}
