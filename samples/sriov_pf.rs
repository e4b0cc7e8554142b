// SPDX-License-Identifier: GPL-2.0

//! A driver for the physical function of an SR-IOV device: Intel's 82576 (8086:10c9), which QEMU
//! offers as `igb`.
//!
//! `/dev/holdfast-pf0` tells a register of the device and how many VFs are enabled. These are set
//! through the device's `sriov_numvfs`, or through the attribute `vfs` of the object. The device
//! can be unbound, removed or unplugged, and this module unloaded, whatever user space holds open
//! meanwhile, and whatever the drivers of its VFs do.
//!
//! Nothing here is about the 82576 but the meaning of one register, so any device with SR-IOV and
//! memory in BAR 0 will do, if it is given to the driver by the device's `driver_override`: QEMU's
//! NVMe controller (1b36:0010), whose register at that place is its version.
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
    pci::sriov::{
        self,
        Request,
        Vfs, //
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
    str::{
        parse_int::ParseInt,
        BStr,
        CString, //
    },
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
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
    const ATTRIBUTES: attribute::Groups<Self> = list![Group::new(list![Attribute::read_write(
        c"vfs",
        Self::show_vfs,
        Self::store_vfs
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

    fn store_vfs(access: &Access<'_, '_, Self>, text: &BStr) -> Result {
        // In C: `device_lock()` here, then `pci_enable_sriov()` without the rescan lock, which
        // another task holds that removes this device, and with it this very file, for which it
        // waits. Here no lock is taken, and if the device goes this returns.
        sriov::set_num_vfs(access, u16::from_str(text)?).map(drop)
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

/// What the drivers of the VFs see.
pub struct Shared {
    // What a VF's driver writes here belongs to no VF, so it may outlive one.
    greetings: Atomic<u32>,
    granted: Atomic<u32>,
}

impl Shared {
    /// Counts a VF's driver that has been bound, from 1 on.
    #[inline]
    pub fn greet(&self) -> u32 {
        self.greetings.fetch_add(1, Relaxed) + 1
    }

    /// How many VFs there are, or are being made.
    #[inline]
    pub fn granted(&self) -> u32 {
        self.granted.load(Relaxed)
    }
}

/// The driver, bound to a device.
pub struct PfDriver {
    // In C: `cdev_device_del()` in `.remove`, which must not be forgotten on any path, must not be
    // called twice, and leaves calls in flight. Dropping this waits for them; if it were forgotten,
    // the unbinding would end the registration all the same.
    _registration: Registration<Pf>,
    // In C: `pci_get_drvdata(pdev->physfn)` in the VF's driver, which must know by itself when that
    // is valid, and what it is.
    shared: Shared,
}

impl PfDriver {
    fn new(pdev: &pci::Device<Core<'_>>) -> Result<Self> {
        if sriov::is_virtfn(pdev) {
            // The VFs of some devices have the ids of the PF.
            return Err(ENODEV);
        }
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
            shared: Shared {
                greetings: Atomic::new(0),
                granted: Atomic::new(0),
            },
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

impl sriov::Driver for PfDriver {
    type Shared<'bound> = Shared;

    fn shared<'a, 'bound>(this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
        &this.get_ref().shared
    }

    fn sriov_configure<'a>(
        _pdev: &pci::Device<Core<'_>>,
        this: Pin<&Self>,
        request: Request<'a>,
    ) -> Result<Vfs<'a>> {
        // What VFs need must be there before they are enabled, since their drivers are bound in
        // there.
        this.shared
            .granted
            .store(u32::from(request.count().get()), Relaxed);
        // In C: an error after `pci_enable_sriov()`, and a path that forgets to take it back. What
        // this returns takes it back, if it is not returned.
        request
            .enable()
            .inspect_err(|_| this.shared.granted.store(0, Relaxed))
    }

    fn vfs_disabled(_pdev: &pci::Device<Core<'_>>, this: Pin<&Self>) {
        this.shared.granted.store(0, Relaxed);
    }
}

holdfast::module_sriov_driver! {
    type: PfDriver,
    name: "holdfast_sriov_pf",
    authors: ["The Holdfast authors"],
    description: "Sample: an SR-IOV physical function",
    license: "GPL",
}
