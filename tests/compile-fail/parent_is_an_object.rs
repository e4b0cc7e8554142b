// SPDX-License-Identifier: GPL-2.0

//! The device inside an object has no driver, so it is no parent whose unbinding would end
//! anything.
//!
//! Promise 7: a child ends before its parent does.

use holdfast::object::{
    Object,
    Operations,
    Registration,
    Unregistered, //
};
use kernel::{
    device,
    prelude::*, //
};

/// Registers below an object.
pub fn register<T, U>(
    unregistered: Unregistered<T>,
    object: &Object<U>,
    argument: T::Argument,
) -> Result<Registration<T>>
where
    T: Operations<Parent = device::Device<device::Bound>>,
    U: Operations,
{
    unregistered.register(object.as_ref(), argument) //~ E0308
}
