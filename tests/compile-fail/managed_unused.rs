// SPDX-License-Identifier: GPL-2.0

//! A managed value that nobody keeps would be released at once.
//!
//! Promise 2: alloc, then register, as types.
#![deny(unused_must_use)]

use holdfast::managed::Managed;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    prelude::*, //
};

/// Makes a value, and drops it with the statement.
pub fn make(device: &Device<Bound>) -> Result {
    Managed::<u32>::new(device, Ok::<u32, Error>(1))?; //~ unused_must_use
    Ok(())
}
