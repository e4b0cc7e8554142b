// SPDX-License-Identifier: GPL-2.0

//! Nobody but the library says who is inside the door.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::{
    Example,
    ExampleBound, //
};
use holdfast::object::{
    Access,
    Object, //
};
use kernel::types::NotThreadSafe;

/// Makes a guard without the door.
pub fn forge<'a, 'bound>(
    object: &'a Object<Example>,
    bound: &'a ExampleBound<'bound>,
) -> Access<'a, 'bound, Example> {
    Access {
        object,                   //~ E0451
        bound,                    //~ E0451
        _not_send: NotThreadSafe, //~ E0451
    }
}
