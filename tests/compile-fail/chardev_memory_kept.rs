// SPDX-License-Identifier: GPL-2.0

//! A page that a fault may map is borrowed from its owner.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::chardev::{
    Memory,
    Pages, //
};
use kernel::prelude::*;

/// Uses a page that is freed.
pub fn keep(pages: Pages) -> Result<Memory<'static>> {
    pages.page(0) //~ E0515
}
