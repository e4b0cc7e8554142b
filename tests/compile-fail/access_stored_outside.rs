// SPDX-License-Identifier: GPL-2.0

//! The guard of the door cannot be stored in a variable outside.
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
    let mut kept = None;
    object.access(|access| kept = Some(access))?; //~ E0521
    Ok(kept.map_or(0, |access| access.bar.read32(0)))
}
