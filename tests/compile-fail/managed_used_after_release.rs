// SPDX-License-Identifier: GPL-2.0

//! Who has released a value does not own it any more.
//!
//! Promise 4: unregistration happens once.

use holdfast::managed::Managed;
use kernel::prelude::*;

/// Releases a value twice.
pub fn release(managed: Managed<KVec<u8>>) -> Result {
    managed.release()?;
    managed.release()?; //~ E0382
    Ok(())
}
