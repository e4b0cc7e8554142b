// SPDX-License-Identifier: GPL-2.0

//! What an object keeps is borrowed from a reference to it, which keeps the memory.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use example::Example;
use holdfast::object::Object;
use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

/// Uses what an object has kept.
pub fn use_late(object: ARef<Object<Example>>) -> Result<u32> {
    let kept = object.keep::<u32, Error>(Ok(1))?;
    drop(object); //~ E0505
    Ok(*kept)
}
