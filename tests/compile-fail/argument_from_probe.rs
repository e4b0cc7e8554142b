// SPDX-License-Identifier: GPL-2.0

//! A registration outlives the frame of the function that makes it, so nothing in there can be
//! given to it.
//!
//! Promise 2: every constructor is safe, also against `mem::forget`.

use holdfast::object::{
    Operations,
    Parent,
    Registration,
    Unregistered, //
};
use kernel::prelude::*;

/// Lends a variable to an object.
pub fn register<T>(
    unregistered: Unregistered<T>,
    parent: <T::Parent as Parent>::Ref<'_>,
) -> Result<Registration<T>>
where
    T: Operations<Argument = &'static u32>,
{
    let local = 1;
    unregistered.register(parent, &local) //~ E0597
}
