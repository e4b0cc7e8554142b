// SPDX-License-Identifier: GPL-2.0

//! A driver of CXL regions as it should be.
//!
//! Promise 3: what is bound is reached through a door only.

use holdfast_cxl::cxl::{
    self,
    Memory,
    Region,
    State, //
};
use kernel::{
    device::{
        Bound,
        Core, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// The driver.
pub struct Driver;

/// What it has while it is bound.
pub struct Data<'bound> {
    /// The memory of the region.
    pub memory: Memory<'bound>,
    /// The region, which can be kept, and not used when it is not bound.
    pub region: ARef<Region>,
}

impl cxl::Driver for Driver {
    type Data<'bound> = Data<'bound>;

    fn probe<'bound>(
        region: &'bound Region<Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        Ok(Data {
            memory: region.map(c"example")?,
            region: ARef::from(&**region),
        })
    }
}

/// Looks at a region that may not be bound.
pub fn is_committed(region: &Region) -> bool {
    region.state() == State::Committed
}

/// Maps for as long as the driver is bound.
pub fn map(region: &Region<Bound>) -> Result<Memory<'_>> {
    assert!(region.parameters()?.interleave_ways > 0);
    region.map(c"example")
}
