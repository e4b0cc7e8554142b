// SPDX-License-Identifier: GPL-2.0

//! There is one right to register an object.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::Unregistered;

/// Doubles the right.
pub fn double(unregistered: Unregistered<Example>) -> [Unregistered<Example>; 2] {
    let second = Clone::clone(&unregistered); //~ E0277
    [unregistered, second]
}
