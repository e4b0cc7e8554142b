// SPDX-License-Identifier: GPL-2.0

//! What is bound is not reachable without the door.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Registration;
use kernel::{
    io::Io,
    prelude::*, //
};

/// Reads without entering.
pub fn read(registration: &Registration<Example>) -> Result<u32> {
    Ok(registration.bar.read32(0)) //~ E0609
}
