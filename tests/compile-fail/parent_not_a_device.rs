// SPDX-License-Identifier: GPL-2.0

//! The parent of an object is a device, whose devres is the backstop, or another object.
//!
//! Promise 2: every constructor is safe, also against `mem::forget`: devres holds the teardown.

use holdfast::object::{
    Operations,
    Registration,
    Unregistered, //
};
use kernel::prelude::*;

/// Registers below something that never ends.
pub fn register<T>(unregistered: Unregistered<T>, argument: T::Argument) -> Result<Registration<T>>
where
    T: Operations<Parent = u32>,
{
    unregistered.register(&1, argument) //~ E0277
}
