// SPDX-License-Identifier: GPL-2.0

//! The data of an object is shared with whoever has a reference.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::Registration;

/// Changes the data while others read it.
pub fn change(registration: &mut Registration<Example>) {
    ***registration = 1; //~ E0594
}
