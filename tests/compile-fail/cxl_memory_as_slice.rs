// SPDX-License-Identifier: GPL-2.0

//! There are no references into the memory of a region, which user space changes meanwhile.
//!
//! Promise 9: drivers contain no `unsafe`, and what they do without it is checked.

use holdfast_cxl::cxl::Memory;

/// Borrows what somebody else writes to.
pub fn borrow<'a>(memory: &'a Memory<'_>) -> &'a [u8] {
    memory //~ E0308
}
