// SPDX-License-Identifier: GPL-2.0

//! A managed value ends with a binding, which there must be.
//!
//! Promise 2: every constructor is safe, also against `mem::forget`: devres holds the teardown.

use holdfast::managed::Managed;
use kernel::{
    device::Device,
    prelude::*, //
};

/// Makes a value below a device that may have no driver.
pub fn make(device: &Device) -> Result<Managed<u32>> {
    Managed::new(device, Ok::<u32, Error>(1)) //~ E0308
}
