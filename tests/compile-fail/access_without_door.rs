// SPDX-License-Identifier: GPL-2.0

//! The library's own way inside is not for drivers.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::{
    io::Io,
    prelude::*, //
};

/// Reads without entering.
pub fn read(object: &Object<Example>) -> Result<u32> {
    // SAFETY: There is no reason why this should be safe.
    let access = unsafe { object.inside() }; //~ E0624
    Ok(access.bar.read32(0))
}
