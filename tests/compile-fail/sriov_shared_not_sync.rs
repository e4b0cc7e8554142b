// SPDX-License-Identifier: GPL-2.0

//! What the drivers of VFs see is seen by all of them at once.
//!
//! Promise 9: drivers contain no `unsafe`, so the types say what may be shared.

use core::cell::Cell;
use example::PfDriver;
use holdfast::pci::sriov;
use kernel::{
    device::Core,
    pci,
    prelude::*, //
};

struct Driver;

impl pci::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Cell<u32>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = <PfDriver as pci::Driver>::ID_TABLE;

    fn probe<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Cell<u32>, Error> + 'bound {
        Ok(Cell::new(0))
    }
}

impl sriov::Driver for Driver {
    type Shared<'bound> = Cell<u32>; //~ E0277

    fn shared<'a, 'bound>(this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
        this.get_ref()
    }
}
