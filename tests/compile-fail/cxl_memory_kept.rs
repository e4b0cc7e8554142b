// SPDX-License-Identifier: GPL-2.0

//! The memory of a region is not kept when the driver is unbound from that.
//!
//! Promise 3: what is bound is reached through a door only.

use holdfast_cxl::cxl::{
    Memory,
    Region, //
};
use kernel::{
    device::Bound,
    prelude::*, //
};

/// Maps the memory for longer than the driver is bound.
pub fn keep(region: &Region<Bound>) -> Result<Memory<'static>> {
    region.map(c"example") //~ ERROR
}
