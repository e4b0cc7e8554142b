// SPDX-License-Identifier: GPL-2.0

//! Any number of tasks use a managed value at once.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use core::cell::Cell;
use holdfast::managed::Managed;

/// Owns a value of a type that cannot be shared.
pub struct Owner {
    /// The value.
    pub managed: Managed<Cell<u32>>, //~ E0277
}
