// SPDX-License-Identifier: GPL-2.0

//! Nothing that is bound can be returned from inside the door.
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
    let bar = object.access(|access| &access.bar)?; //~ ERROR
    Ok(bar.read32(0))
}
