// SPDX-License-Identifier: GPL-2.0

//! A driver for the virtual functions of an SR-IOV device: those of Intel's 82576 (8086:10ca),
//! which QEMU's `igb` has.
//!
//! `/dev/holdfast-vf0` tells which VF it is, a register of it, and what the driver of its physical
//! function has for it: the driver of `sriov_pf.rs`, to which it gets by type. A VF whose PF has
//! another driver, or none, is not bound. When the PF is unbound, its VFs go first, whatever user
//! space holds open.
//!
//! As the PF's driver, it takes those of other devices by their `driver_override`.
//!
//! The comments that begin with "In C" say which line would have been the bug.

use holdfast::{
    chardev::{
        self,
        Flags,
        Handle, //
    },
    class::Class,
    object::{
        self,
        Access,
        Object,
        Registration,
        Unregistered, //
    },
    pci::sriov::{
        self,
        PhysicalFunction, //
    }, //
};

use kernel::{
    device::{
        Bound,
        Core, //
    },
    io::Io,
    iov::IovIterDest,
    pci,
    prelude::*,
    str::CString, //
};

use sriov_pf::PfDriver;

/// Registers of a VF of the 82576; see its data sheet, section 8.26.
mod registers {
    /// Device status, read only.
    pub(super) const STATUS: usize = 0x8;
    /// What the driver maps of BAR 0.
    pub(super) const END: usize = 0x10;
}

/// The object that user space sees: `/dev/holdfast-vf0`.
struct Vf;

/// What the object does, until it is unregistered.
struct VfBound<'bound> {
    bar: pci::Bar<'bound, { registers::END }>,
    // In C: `struct pf_priv *pf`, which points to freed memory when the PF was unbound and a read
    // of an open file still uses it. This is there for as long as the VF is bound, and the VF is
    // unbound before its PF.
    pf: PhysicalFunction<'bound, PfDriver>,
    /// How many drivers of VFs had been bound before, and this one.
    greeting: u32,
}

impl object::Operations for Vf {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = VfBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_vf", c"holdfast-vf").with_mode(0o644);
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Self::bound(pdev)
    }
}

impl Vf {
    fn bound<'bound>(pdev: &'bound pci::Device<Bound>) -> Result<VfBound<'bound>> {
        // In C: `pci_get_drvdata(pdev->physfn)`, which is whatever the driver of the PF has put
        // there, or what it has freed.
        let pf = sriov::physical_function::<PfDriver>(pdev)?;
        Ok(VfBound {
            bar: pdev.iomap_region_sized(0, c"holdfast_sriov_vf")?,
            pf,
            greeting: pf.with(|shared| shared.greet()),
        })
    }
}

#[vtable]
impl chardev::Operations for Vf {
    type File = ();

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(())
    }

    fn read(
        access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        position: &mut i64,
        buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        let number = sriov::vf_number(access.parent()).ok_or(ENODEV)?;
        // In C: a check whether the PF is still there, and a lock against its going.
        let granted = access.pf.with(|shared| shared.granted());
        let greeting = access.greeting;
        let status = access.bar.read32(registers::STATUS);

        let line = CString::try_from_fmt(fmt!(
            "vf {number} of {granted} greeting {greeting} status 0x{status:08x}\n"
        ))?;
        buffer.simple_read_from_buffer(position, line.to_bytes())
    }
}

/// The driver, bound to a device.
struct VfDriver {
    _registration: Registration<Vf>,
}

impl VfDriver {
    fn new(pdev: &pci::Device<Core<'_>>) -> Result<Self> {
        if !sriov::is_virtfn(pdev) {
            // The VFs of some devices have the ids of the PF.
            return Err(ENODEV);
        }
        pdev.enable_device_mem()?;
        pdev.set_master();

        Ok(Self {
            _registration: Unregistered::<Vf>::new(())?.register(pdev, ())?,
        })
    }
}

kernel::pci_device_table!(
    PCI_TABLE,
    <VfDriver as pci::Driver>::IdInfo,
    [(pci::DeviceId::from_id(pci::Vendor::INTEL, 0x10ca), ())]
);

impl pci::Driver for VfDriver {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        Self::new(pdev)
    }
}

kernel::module_pci_driver! {
    type: VfDriver,
    name: "holdfast_sriov_vf",
    authors: ["The Holdfast authors"],
    description: "Sample: an SR-IOV virtual function",
    license: "GPL",
}
