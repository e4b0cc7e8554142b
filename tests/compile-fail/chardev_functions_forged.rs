// SPDX-License-Identifier: GPL-2.0

//! The functions that the library calls are those it made of a driver's.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use core::marker::PhantomData;
use holdfast::chardev::Functions;

/// Gives functions to objects of another type.
pub fn convert<T, U>(functions: Functions<T>) -> Functions<U> {
    Functions {
        erased: functions.erased, //~ E0616
        _type: PhantomData,
    }
}
