// SPDX-License-Identifier: GPL-2.0

//! The guard of the door cannot be kept when the door is left.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::{
    io::Io,
    prelude::*, //
};

/// Reads after the door was left.
pub fn read_later(object: &Object<Example>) -> Result<u32> {
    let access = object.access(|access| access)?; //~ ERROR
    Ok(access.bar.read32(0))
}
