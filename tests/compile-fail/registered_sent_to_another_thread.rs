// SPDX-License-Identifier: GPL-2.0

//! That an object is registered may be told to other tasks, and not to those that run later.
//!
//! Promise 7: a child ends before its parent does.

use example::Example;
use holdfast::object::Object;
use kernel::{
    io::Io,
    prelude::*,
    workqueue, //
};

/// Lets a work queue read through what is bound, whenever it comes to it.
pub fn defer(object: &Object<Example>) -> Result {
    object.access(|access| {
        let registered = access.registered();
        let read = move || drop(registered.with(|access| access.bar.read32(0)));
        workqueue::system().try_spawn(GFP_KERNEL, read) //~ E0521
    })??;
    Ok(())
}
