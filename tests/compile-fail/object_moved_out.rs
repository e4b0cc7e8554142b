// SPDX-License-Identifier: GPL-2.0

//! An object stays where its reference count can free it.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use example::Example;
use holdfast::object::{
    Object,
    Registration, //
};
use kernel::prelude::*;

/// Moves an object into memory of the driver.
pub fn take(registration: Registration<Example>) -> Result<KBox<Object<Example>>> {
    Ok(KBox::new(*registration, GFP_KERNEL)?) //~ E0507
}
