// SPDX-License-Identifier: GPL-2.0

//! Only who is bound to a region maps its memory.
//!
//! Promise 3: what is bound is reached through a door only.

use holdfast_cxl::cxl::Region;
use kernel::prelude::*;

/// Maps the memory of a region that any driver may be bound to, or none.
pub fn map(region: &Region) -> Result {
    region.map(c"example").map(drop) //~ E0599
}
