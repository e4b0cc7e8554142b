// SPDX-License-Identifier: GPL-2.0

//! A driver of PFs says what the drivers of its VFs see, if that is nothing.
//!
//! Promise 9: drivers contain no `unsafe`, so the macro checks what they say.

use kernel::{
    device::Core,
    pci,
    prelude::*, //
};

struct Driver;

kernel::pci_device_table!(
    PCI_TABLE,
    <Driver as pci::Driver>::IdInfo,
    [(pci::DeviceId::from_id(pci::Vendor::INTEL, 0x10c9), ())]
);

impl pci::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        Ok(Self)
    }
}

holdfast::module_sriov_driver! { //~ E0277 //~ E0080
    type: Driver,
    name: "driver",
    authors: ["The Holdfast authors"],
    description: "A driver",
    license: "GPL",
}
