// SPDX-License-Identifier: GPL-2.0

//! A managed value is lent for as long as the caller is inside the door.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::managed::Handle;
use kernel::prelude::*;

/// Keeps the value after the door was left.
pub fn keep(handle: &Handle<KVec<u8>>) -> Result<&KVec<u8>> {
    handle.access(|value| value) //~ ERROR
}
