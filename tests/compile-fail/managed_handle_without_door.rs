// SPDX-License-Identifier: GPL-2.0

//! Whoever has a handle goes through the door, because the owner may release the value meanwhile.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::managed::Handle;
use kernel::{
    device::{
        Core,
        Device, //
    },
    prelude::*, //
};

/// Uses the value without entering.
pub fn length(handle: &Handle<KVec<u8>>, device: &Device<Core<'_>>) -> Result<usize> {
    Ok(handle.get(device)?.len()) //~ E0599
}
