// SPDX-License-Identifier: GPL-2.0

//! The library keeps the name of a class, so it must not be on a stack.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use holdfast::class::Class;
use kernel::{
    prelude::*,
    str::CString, //
};

/// Describes a class by a name that is freed.
pub fn describe(number: u32) -> Result<Class> {
    let name = CString::try_from_fmt(fmt!("example{number}"))?;
    Ok(Class::new(&name, c"example")) //~ E0597
}
