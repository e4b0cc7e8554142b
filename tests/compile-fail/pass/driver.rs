// SPDX-License-Identifier: GPL-2.0

//! A whole driver: an object, its file operations, its registration in `probe`, its module.
//!
//! Promise 9: drivers that use Holdfast contain no `unsafe`.

use example::Example;
use holdfast::{
    object::{
        Registration,
        Unregistered, //
    },
    pci::sriov, //
};
use kernel::{
    device::Core,
    pci,
    prelude::*, //
};

struct Driver {
    _registration: Registration<Example>,
}

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
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        Ok(Self {
            _registration: Unregistered::<Example>::new(1)?.register(pdev, ())?,
        })
    }
}

impl sriov::Driver for Driver {
    type Shared<'bound> = ();

    fn shared<'a, 'bound>(_this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
        &()
    }
}

holdfast::module_sriov_driver! {
    type: Driver,
    name: "driver",
    authors: ["The Holdfast authors"],
    description: "A driver",
    license: "GPL",
}
