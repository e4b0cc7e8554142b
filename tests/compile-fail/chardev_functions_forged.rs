// SPDX-License-Identifier: GPL-2.0

//! The functions that the library calls are those it made of a driver's.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::chardev::Functions;

/// Puts functions together.
pub fn mix(first: Functions, second: Functions) -> Functions {
    Functions {
        read: first.read, //~ E0616
        ..second
    }
}
