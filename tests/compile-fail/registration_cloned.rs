// SPDX-License-Identifier: GPL-2.0

//! There is one registration of an object.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::Registration;

/// Doubles the registration.
pub fn double(registration: Registration<Example>) -> [Registration<Example>; 2] {
    let second = Clone::clone(&registration); //~ E0277
    [registration, second]
}
