// SPDX-License-Identifier: GPL-2.0

//! Nobody but the library says that an object is registered.
//!
//! Promise 7: a child ends before its parent does.

use example::Example;
use holdfast::object::{
    Object,
    Registered, //
};

/// Says it of any object.
pub fn forge(object: &Object<Example>) -> Registered<'_, Example> {
    Registered(object) //~ E0423
}
