// SPDX-License-Identifier: GPL-2.0

//! Two objects cannot be exchanged for each other in place, not even before others see them.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use example::Example;
use holdfast::object::Unregistered;

/// Swaps the memory of two objects.
pub fn exchange(first: &mut Unregistered<Example>, second: &mut Unregistered<Example>) {
    core::mem::swap(&mut **first, &mut **second) //~ E0596
}
