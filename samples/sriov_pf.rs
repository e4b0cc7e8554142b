// SPDX-License-Identifier: GPL-2.0

//! A driver for the physical function of an SR-IOV device: Intel's 82576 (8086:10c9), which QEMU
//! offers as `igb`.
//!
//! `/dev/holdfast-pf0` tells a register of the device and how many VFs are enabled, and the
//! attribute `vfs` of the object only the latter; VFs are switched through the device's
//! `sriov_numvfs`. The device can be unbound, removed or unplugged, and this module unloaded,
//! whatever user space holds open meanwhile.
//!
//! The comments that begin with "In C" say which line would have been the bug.

use holdfast::{
    attribute::{
        self,
        list,
        Attribute,
        Group,
        Output, //
    },
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
    pci::sriov, //
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

/// Registers of the 82576; see its data sheet, section 8.
mod registers {
    /// Device status, read only.
    pub(super) const STATUS: usize = 0x8;
    /// What the driver maps of BAR 0.
    pub(super) const END: usize = 0x10;
}

/// The object that user space sees: `/dev/holdfast-pf0`.
struct Pf;

/// What the object does, until it is unregistered.
struct PfBound<'bound> {
    // In C: `priv->regs = devm_ioremap(…)`, which is unmapped at unbind while a read of an open
    // file is still using it. This BAR is unmapped when the last such read has left.
    bar: pci::Bar<'bound, { registers::END }>,
}

impl object::Operations for Pf {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    // In C: `priv = devm_kzalloc(…)` with a `struct device` or a `struct cdev` inside, which is
    // freed at unbind while an open file still points to it. This data is part of the object, and
    // the object is freed with its last reference.
    type Data = ();
    type Bound<'bound> = PfBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_pf", c"holdfast-pf").with_mode(0o644);
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());
    // In C: `device_create_file()` after `device_add()`, which user space has been told of by then;
    // and a `show` that uses `dev_get_drvdata()` while `.remove` frees it.
    const ATTRIBUTES: attribute::Groups<Self> = list![Group::new(list![Attribute::read_only(
        c"vfs",
        Self::show_vfs
    )])];

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        pdev.iomap_region_sized(0, c"holdfast_sriov_pf")
            .map(|bar| PfBound { bar })
    }
}

impl Pf {
    fn show_vfs(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        writeln!(output, "{}", sriov::num_vfs(access.parent()))
    }
}

#[vtable]
impl chardev::Operations for Pf {
    type File = ();

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        // In C: `inode->i_cdev` and `container_of()`, then a reference that is easily forgotten;
        // or none, and the file outlives the device.
        Ok(())
    }

    fn read(
        access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        position: &mut i64,
        buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        // In C: `if (priv->dead) return -ENODEV;` here, and the device unbound right after the
        // check. Inside `access` it stays bound until this function returns.
        let status = access.bar.read32(registers::STATUS);
        let vfs = sriov::num_vfs(access.parent());

        let line = CString::try_from_fmt(fmt!("status 0x{status:08x} vfs {vfs}\n"))?;
        buffer.simple_read_from_buffer(position, line.to_bytes())
    }
}

/// The driver, bound to a device.
struct PfDriver {
    // In C: `cdev_device_del()` in `.remove`, which must not be forgotten on any path, must not be
    // called twice, and leaves calls in flight. Dropping this waits for them; if it were forgotten,
    // the unbinding would end the registration all the same.
    _registration: Registration<Pf>,
}

impl PfDriver {
    fn new(pdev: &pci::Device<Core<'_>>) -> Result<Self> {
        pdev.enable_device_mem()?;
        pdev.set_master();

        let registration = Unregistered::<Pf>::new(())?.register(pdev, ())?;
        dev_info!(
            pdev,
            "{} is ready, {} VFs possible\n",
            registration.name(),
            pdev.sriov_get_totalvfs().map_or(0, |total| total.get())
        );

        Ok(Self {
            _registration: registration,
        })
    }
}

kernel::pci_device_table!(
    PCI_TABLE,
    <PfDriver as pci::Driver>::IdInfo,
    [(pci::DeviceId::from_id(pci::Vendor::INTEL, 0x10c9), ())]
);

impl pci::Driver for PfDriver {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        Self::new(pdev)
    }

    // In C: `pci_disable_sriov()` in `.remove`, before anything that the VFs need is taken away.
    // `module_sriov_driver!` has done it when a driver's `unbind` runs.
}

holdfast::module_sriov_driver! {
    type: PfDriver,
    name: "holdfast_sriov_pf",
    authors: ["The Holdfast authors"],
    description: "Sample: an SR-IOV physical function",
    license: "GPL",
}
