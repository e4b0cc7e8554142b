// SPDX-License-Identifier: GPL-2.0

//! The parent of an object is of the type that it names, because `bind` is given it.
//!
//! Promise 7: a child ends before its parent does.

use example::Child;
use holdfast::object::{
    Object,
    Registration,
    Unregistered, //
};
use kernel::prelude::*;

/// Registers a child below another child.
pub fn register(child: Unregistered<Child>, object: &Object<Child>) -> Result<Registration<Child>> {
    object.access(|parent| child.register(parent.registered(), ()))? //~ E0308
}
