// SPDX-License-Identifier: GPL-2.0

//! The reference of a registration stays in it, so that its end is not lost.
//!
//! Promise 4: unregistration happens once, from anywhere.

use example::Example;
use holdfast::object::{
    Object,
    Registration, //
};
use kernel::sync::aref::ARef;

/// Takes the object out.
pub fn object(registration: Registration<Example>) -> ARef<Object<Example>> {
    registration.object //~ E0616
}
