// SPDX-License-Identifier: GPL-2.0

//! Work that runs later cannot use what is bound.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::{
    io::Io,
    prelude::*,
    workqueue, //
};

/// Lets a work queue read, whenever it comes to it.
pub fn defer(object: &Object<Example>) -> Result {
    object.access(|access| {
        let bar = &access.bar;
        let read = move || drop(bar.read32(0));
        workqueue::system().try_spawn(GFP_KERNEL, read) //~ E0521
    })??;
    Ok(())
}
