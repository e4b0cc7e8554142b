// SPDX-License-Identifier: GPL-2.0

//! The guard of the door for atomic context cannot be kept either.
//!
//! Promise 3: access is fenced at the boundary of an operation; an atomic-context door exists too.

use example::Example;
use holdfast::object::Object;
use kernel::{
    io::Io,
    prelude::*, //
};

/// Reads after the door was left.
pub fn read_later(object: &Object<Example>) -> Result<u32> {
    let access = object.access_atomic(|access| access)?; //~ ERROR
    Ok(access.bar.read32(0))
}
