// SPDX-License-Identifier: GPL-2.0

//! How a region is made up is known as long as a driver is bound to it.
//!
//! Promise 3: what is bound is reached through a door only.

use holdfast_cxl::cxl::Region;
use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

/// Reads what may be changing.
pub fn ways(region: &ARef<Region>) -> Result<u32> {
    Ok(region.parameters()?.interleave_ways) //~ E0599
}
