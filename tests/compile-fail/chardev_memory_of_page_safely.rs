// SPDX-License-Identifier: GPL-2.0

//! That a page can be mapped into user space is a promise that only `unsafe` code can make: nobody
//! else may have references into it.
//!
//! Promise 9: drivers contain no `unsafe`.

use holdfast::chardev::Memory;
use kernel::page::Page;

/// Shares a page of any kind with user space.
pub fn share(page: &Page) -> Memory<'_> {
    Memory::from_page(page) //~ E0133
}
