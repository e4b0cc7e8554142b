// SPDX-License-Identifier: GPL-2.0

//! The owner does not release a value that it has borrowed.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::managed::Managed;
use kernel::{
    device::{
        Core,
        Device, //
    },
    prelude::*, //
};

/// Uses the value after its release.
pub fn use_late(managed: Managed<KVec<u8>>, device: &Device<Core<'_>>) -> Result<usize> {
    managed.with(device, |value| {
        //~^ E0505
        managed.release()?;
        Ok(value.len())
    })?
}
