// SPDX-License-Identifier: GPL-2.0

//! Which addresses belong to a device is a promise that only `unsafe` code can make.
//!
//! Promise 9: drivers contain no `unsafe`.

use holdfast::chardev::{
    Caching,
    Memory, //
};

/// Gives user space the memory at an address.
pub fn share(address: u64) -> Memory<'static> {
    Memory::from_device(address, Caching::Uncached) //~ E0133
}
