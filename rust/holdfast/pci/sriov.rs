// SPDX-License-Identifier: GPL-2.0

//! SR-IOV: drivers of physical functions.
//!
//! A driver that is registered through [`Adapter`] is an ordinary [`pci::Driver`] whose device's
//! virtual functions (VFs) are switched by the standard `sriov_numvfs` file, and are gone before
//! the driver's own unbind code runs, so that none is ever left without its physical function (PF).
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::marker::PhantomData;

use kernel::{
    bindings,
    device::{
        Bound,
        Core, //
    },
    driver,
    error::{
        from_result,
        to_result, //
    },
    pci,
    prelude::*,
    types::Opaque, //
};

/// The `struct pci_dev` of a device.
fn raw(pdev: &pci::Device) -> *mut bindings::pci_dev {
    // CAST: `pci::Device` is a transparent wrapper of an `Opaque<bindings::pci_dev>`.
    core::ptr::from_ref(pdev).cast_mut().cast()
}

/// The number of VFs that are enabled.
///
/// May be called in any context. It can change at any time, unless the caller is in a callback of
/// the PF's driver.
/// # Examples
///
/// ```
/// use holdfast::pci::sriov;
/// use kernel::{
///     device::Bound,
///     pci, //
/// };
///
/// /// Divides the queues of a device among the functions that it has now.
/// fn queues_per_function(pdev: &pci::Device<Bound>, queues: u16) -> u16 {
///     queues / (1 + sriov::num_vfs(pdev))
/// }
/// # let _ = queues_per_function;
/// # Ok::<(), Error>(())
/// ```
pub fn num_vfs(pdev: &pci::Device<Bound>) -> u16 {
    // SAFETY: A reference to a device is a valid `struct pci_dev`.
    let num_vfs = unsafe { bindings::pci_num_vf(raw(pdev)) };

    // CAST: The number is a 16-bit register, and never negative.
    num_vfs as u16
}

/// Disables all VFs. Their drivers are unbound and their devices removed when this returns.
fn disable_vfs(pdev: &pci::Device<Core<'_>>) {
    // SAFETY: A reference to a device is a valid `struct pci_dev`. `Core` shows that the caller is
    // a bus callback, which the device lock serialises with the others.
    unsafe { bindings::pci_disable_sriov(raw(pdev)) };
}

/// A [`pci::Driver`] whose VFs are gone before it unbinds.
/// # Examples
///
/// It is a driver like the one that it is made of, for the same devices:
///
/// ```
/// # use holdfast::pci::sriov;
/// # use kernel::{device::Core, pci, prelude::*};
/// # struct PfDriver;
/// #
/// # kernel::pci_device_table!(
/// #     PCI_TABLE,
/// #     <PfDriver as pci::Driver>::IdInfo,
/// #     [(pci::DeviceId::from_id(pci::Vendor::REDHAT, 0xffff), ())]
/// # );
/// #
/// # impl pci::Driver for PfDriver {
/// #     type IdInfo = ();
/// #     type Data<'bound> = Self;
/// #     const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;
/// #
/// #     fn probe<'bound>(
/// #         pdev: &'bound pci::Device<Core<'_>>,
/// #         _info: Option<&'bound Self::IdInfo>,
/// #     ) -> impl PinInit<Self, Error> + 'bound {
/// #         dev_info!(pdev, "{} VFs\n", sriov::num_vfs(pdev));
/// #         Ok(PfDriver)
/// #     }
/// # }
/// #
/// fn is_driver_of<D: pci::Driver>(info: D::IdInfo) -> D::IdInfo {
///     info
/// }
///
/// is_driver_of::<sriov::PhysicalFunction<PfDriver>>(());
/// # Ok::<(), Error>(())
/// ```
pub struct PhysicalFunction<T: pci::Driver>(PhantomData<T>);

impl<T: pci::Driver> pci::Driver for PhysicalFunction<T> {
    type IdInfo = T::IdInfo;
    type Data<'bound> = T::Data<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = T::ID_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        T::probe(pdev, info)
    }

    fn unbind<'bound>(pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        // The core warns about VFs that are left when this has returned, and they would keep
        // working without the one who configures them.
        disable_vfs(pdev);
        T::unbind(pdev, this);
    }
}

/// An adapter for the registration of PF drivers; see [`module_sriov_driver!`].
/// # Examples
///
/// What that macro does, for a module that also does something else:
///
/// ```
/// # use holdfast::pci::sriov;
/// # use kernel::{device::Core, pci, prelude::*};
/// # use kernel::{driver, module::this_module};
/// # struct PfDriver;
/// #
/// # kernel::pci_device_table!(
/// #     PCI_TABLE,
/// #     <PfDriver as pci::Driver>::IdInfo,
/// #     [(pci::DeviceId::from_id(pci::Vendor::REDHAT, 0xffff), ())]
/// # );
/// #
/// # impl pci::Driver for PfDriver {
/// #     type IdInfo = ();
/// #     type Data<'bound> = Self;
/// #     const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;
/// #
/// #     fn probe<'bound>(
/// #         pdev: &'bound pci::Device<Core<'_>>,
/// #         _info: Option<&'bound Self::IdInfo>,
/// #     ) -> impl PinInit<Self, Error> + 'bound {
/// #         dev_info!(pdev, "{} VFs\n", sriov::num_vfs(pdev));
/// #         Ok(PfDriver)
/// #     }
/// # }
/// #
/// type Registration = driver::Registration<sriov::Adapter<PfDriver>>;
///
/// # let module = this_module::<crate::LocalModule>();
/// let registration = KBox::pin_init(Registration::new(c"example_pf", module), GFP_KERNEL)?;
/// // The driver of all its devices, until this is dropped.
/// drop(registration);
/// # Ok::<(), Error>(())
/// ```
///
/// [`module_sriov_driver!`]: crate::module_sriov_driver
pub struct Adapter<T: pci::Driver>(PhantomData<T>);

type PciAdapter<T> = pci::Adapter<PhysicalFunction<T>>;

// SAFETY: All of it is the adapter's for PCI drivers.
unsafe impl<T: pci::Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = <PciAdapter<T> as driver::DriverLayout>::DriverType;
    type DriverData<'bound> = <PciAdapter<T> as driver::DriverLayout>::DriverData<'bound>;
    const DEVICE_DRIVER_OFFSET: usize =
        <PciAdapter<T> as driver::DriverLayout>::DEVICE_DRIVER_OFFSET;
}

// SAFETY: Registration and unregistration are the adapter's for PCI drivers.
unsafe impl<T: pci::Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        pdrv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: The fields of a `struct pci_driver` may be set before it is registered.
        unsafe { (*pdrv.get()).sriov_configure = Some(Self::sriov_configure_callback) };

        // SAFETY: The safety requirements are the same.
        unsafe { <PciAdapter<T> as driver::RegistrationOps>::register(pdrv, name, module) }
    }

    unsafe fn unregister(pdrv: &Opaque<Self::DriverType>) {
        // SAFETY: The safety requirements are the same.
        unsafe { <PciAdapter<T> as driver::RegistrationOps>::unregister(pdrv) };
    }
}

impl<T: pci::Driver> Adapter<T> {
    /// The answer to a write to `sriov_numvfs`: the number of VFs that are enabled, or an error.
    ///
    /// The PCI core calls this for a bound device, with its device lock and the rescan/remove lock
    /// held (`sriov_numvfs_store()` in `drivers/pci/iov.c`).
    extern "C" fn sriov_configure_callback(pdev: *mut bindings::pci_dev, num_vfs: c_int) -> c_int {
        // SAFETY: The PCI core gives a device that is bound to this driver and locked.
        let pdev = unsafe { &*pdev.cast::<pci::Device<Core<'_>>>() };

        from_result(|| Self::sriov_configure(pdev, num_vfs))
    }

    fn sriov_configure(pdev: &pci::Device<Core<'_>>, num_vfs: c_int) -> Result<c_int> {
        if num_vfs == 0 {
            // SAFETY: A reference to a device is a valid `struct pci_dev`.
            if unsafe { bindings::pci_vfs_assigned(raw(pdev)) } != 0 {
                dev_warn!(
                    pdev,
                    "VFs are assigned to virtual machines, so they stay enabled\n"
                );
                return Err(EBUSY);
            }
            disable_vfs(pdev);
            return Ok(0);
        }

        // SAFETY: A reference to a device is a valid `struct pci_dev`, and none of its VFs are
        // enabled: the PCI core has looked.
        to_result(unsafe { bindings::pci_enable_sriov(raw(pdev), num_vfs) })?;
        Ok(num_vfs)
    }
}

/// Declares a kernel module that exposes a single driver of SR-IOV physical functions.
///
/// # Examples
///
/// ```
/// use holdfast::pci::sriov;
/// use kernel::{device::Core, pci, prelude::*};
///
/// struct PfDriver;
///
/// kernel::pci_device_table!(
///     PCI_TABLE,
///     <PfDriver as pci::Driver>::IdInfo,
///     [(pci::DeviceId::from_id(pci::Vendor::REDHAT, 0xffff), ())]
/// );
///
/// impl pci::Driver for PfDriver {
///     type IdInfo = ();
///     type Data<'bound> = Self;
///     const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;
///
///     fn probe<'bound>(
///         pdev: &'bound pci::Device<Core<'_>>,
///         _info: Option<&'bound Self::IdInfo>,
///     ) -> impl PinInit<Self, Error> + 'bound {
///         dev_info!(pdev, "{} VFs\n", sriov::num_vfs(pdev));
///         Ok(PfDriver)
///     }
/// }
///
/// # #[cfg(any())] // It makes a module of the crate, which the examples are already.
/// holdfast::module_sriov_driver! {
///     type: PfDriver,
///     name: "example_pf",
///     authors: ["Author name"],
///     description: "An SR-IOV physical function",
///     license: "GPL",
/// }
/// # Ok::<(), Error>(())
/// ```
#[macro_export]
macro_rules! module_sriov_driver {
    ($($f:tt)*) => {
        ::kernel::module_driver!(<T>, $crate::pci::sriov::Adapter<T>, { $($f)* });
    };
}
