// SPDX-License-Identifier: GPL-2.0

//! An object has a character device if it says what that does.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::chardev::Functions;

/// No object.
pub struct Example;

/// Functions of nothing.
pub const FUNCTIONS: Functions<Example> = Functions::new(); //~ E0277
