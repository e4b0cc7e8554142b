// SPDX-License-Identifier: GPL-2.0

//! A reference cannot be made the right to register.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::{
    Object,
    Unregistered, //
};
use kernel::sync::aref::ARef;

/// Says that an object is not registered.
pub fn forge(object: ARef<Object<Example>>) -> Unregistered<Example> {
    Unregistered { object } //~ E0451
}
