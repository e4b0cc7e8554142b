// SPDX-License-Identifier: GPL-2.0

//! SR-IOV: drivers of physical functions (PFs) and of their virtual functions (VFs).
//!
//! A driver that is registered with [`module_sriov_driver!`] is an ordinary [`pci::Driver`] whose
//! VFs are switched by the standard `sriov_numvfs` file, which asks [`Driver::sriov_configure`].
//!
//! # VFs are a registration
//!
//! [`Request::enable`] enables VFs and returns [`Vfs`], which disables them when it is dropped. A
//! driver that returns it leaves it to the library, and one that fails half-way has it dropped.
//! They are disabled when the PF is configured to have none, and before the driver's own
//! [`pci::Driver::unbind`] runs, whatever it is that unbinds. So there is no VF without its PF's
//! driver, and no way to forget them.
//!
//! # What a VF's driver sees of its PF
//!
//! [`physical_function`] gives the driver of a VF what the driver of its PF has for it,
//! [`Driver::Shared`], if the PF's driver is the one that it is asked for by type. It can be used
//! without a check for as long as the VF is bound, because a PF is not unbound before: the library
//! knows which VFs' drivers have been given it, refuses any other once the end has begun, and
//! unbinds those that the PCI core has left bound. So this needs no lock, and does not depend on
//! what else happens to the VF at the same time.
//!
//! # Locks
//!
//! Everything here happens with the PF's device lock held. VFs come and go with the rescan/remove
//! lock held as well, which [`Request::rescan_lock`] lends; see [`super::rescan`] for their order.
//! [`set_num_vfs`] is for a driver's own files: it is called with none of the two, and takes both
//! in an order that no other task can make a deadlock of.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)
//!
//! [`module_sriov_driver!`]: crate::module_sriov_driver

use super::{
    raw,
    rescan::{
        Adopted,
        Callback,
        RescanLock,
        Unlocked, //
    }, //
};

use crate::{
    binding::Binding,
    chardev,
    object::{
        self,
        device_pointer,
        Access,
        Header, //
    },
    revocable::Reference,
    shims, //
};

use core::{
    any::TypeId,
    marker::PhantomData,
    num::NonZero, //
};

use kernel::{
    bindings,
    device::{
        Bound,
        Core,
        CoreInternal, //
    },
    driver,
    error::{
        from_result,
        to_result, //
    },
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        global_lock,
        Arc, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
    workqueue, //
};

/// The number of VFs that are enabled.
///
/// May be called in any context. It can change at any time, unless the caller is in a callback of
/// the PF's driver.
///
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

/// Whether a device is a VF.
pub fn is_virtfn(pdev: &pci::Device) -> bool {
    // SAFETY: A reference to a device is a valid `struct pci_dev`.
    unsafe { shims::holdfast_pci_is_virtfn(raw(pdev)) }
}

/// The number of a VF among those of its PF, from 0 on; [`None`] if the device is no VF.
///
/// The VF must be bound: its PF, which is asked, is there as long as that.
pub fn vf_number(pdev: &pci::Device<Bound>) -> Option<u16> {
    // SAFETY: A reference to a device is a valid `struct pci_dev`. The PF of a VF that is bound is
    // there, because a VF is unbound before it gives up its reference to it.
    u16::try_from(unsafe { bindings::pci_iov_vf_id(raw(pdev)) }).ok()
}

/// A driver of physical functions.
///
/// # Examples
///
/// ```
/// use core::num::NonZero;
/// use holdfast::pci::sriov::{
///     self,
///     Request,
///     Vf,
///     Vfs, //
/// };
/// # use kernel::{device::Core, pci, sync::atomic::{Atomic, Relaxed}};
///
/// struct PfDriver {
///     shared: Shared,
/// }
///
/// /// What the drivers of VFs see.
/// struct Shared {
///     queues_each: Atomic<u32>,
/// }
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
/// #         _pdev: &'bound pci::Device<Core<'_>>,
/// #         _info: Option<&'bound Self::IdInfo>,
/// #     ) -> impl PinInit<Self, Error> + 'bound {
/// #         Ok(PfDriver { shared: Shared { queues_each: Atomic::new(0) } })
/// #     }
/// # }
///
/// impl sriov::Driver for PfDriver {
///     type Shared<'bound> = Shared;
///
///     fn shared<'a, 'bound>(this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
///         &this.get_ref().shared
///     }
///
///     fn sriov_configure<'a>(
///         pdev: &pci::Device<Core<'_>>,
///         this: Pin<&Self>,
///         request: Request<'a>,
///     ) -> Result<Vfs<'a>> {
///         // Before they are enabled, because their drivers are bound in there.
///         let queues = 64 / request.count();
///         this.shared.queues_each.store(queues.into(), Relaxed);
///         dev_dbg!(pdev, "the lock is held, {} deep\n", request.rescan_lock().depth());
///
///         let most = NonZero::new(16).ok_or(EINVAL)?;
///         let vfs = if request.count() > most {
///             request.enable_fewer(most)?
///         } else {
///             request.enable()?
///         };
///         dev_info!(pdev, "{} VFs\n", vfs.count());
///         Ok(vfs)
///     }
///
///     fn vfs_disabled(_pdev: &pci::Device<Core<'_>>, this: Pin<&Self>) {
///         this.shared.queues_each.store(0, Relaxed);
///     }
///
///     fn sriov_get_vf_total_msix(_pdev: &pci::Device<Core<'_>>, _this: Pin<&Self>) -> u32 {
///         128
///     }
///
///     fn sriov_set_msix_vec_count(
///         pdev: &pci::Device<Core<'_>>,
///         _this: Pin<&Self>,
///         vf: Vf<'_>,
///         count: u32,
///     ) -> Result {
///         dev_info!(pdev, "{count} vectors for VF {}\n", vf.number());
///         dev_info!(vf.device(), "has {count} vectors\n");
///         Ok(())
///     }
/// }
/// # fn is_driver<D: sriov::Driver>() {}
/// # is_driver::<PfDriver>();
/// # Ok::<(), Error>(())
/// ```
pub trait Driver: pci::Driver + 'static {
    /// What the drivers of VFs see of this one; `()` if that is nothing.
    type Shared<'bound>: Sync + 'bound;

    /// Shows what the drivers of VFs see.
    ///
    /// Called once for a device, when it has been probed.
    fn shared<'a, 'bound>(this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound>;

    /// Enables VFs.
    ///
    /// Called when VFs are asked for and none are enabled, with the device lock and the rescan lock
    /// held. The VFs' drivers are bound inside of [`Request::enable`].
    ///
    /// # Errors
    ///
    /// What this returns is the answer to who has written to `sriov_numvfs`.
    fn sriov_configure<'a>(
        pdev: &pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'_>>,
        request: Request<'a>,
    ) -> Result<Vfs<'a>> {
        let _ = (pdev, this);
        request.enable()
    }

    /// Takes back what [`Driver::sriov_configure`] has set up for VFs.
    ///
    /// Called when the VFs that it has returned have been disabled, also when that is because the
    /// device is unbound; then before [`pci::Driver::unbind`].
    fn vfs_disabled(pdev: &pci::Device<Core<'_>>, this: Pin<&Self::Data<'_>>) {
        let _ = (pdev, this);
    }

    /// How many MSI-X vectors there are to be given to VFs: what `sriov_vf_total_msix` says.
    fn sriov_get_vf_total_msix(pdev: &pci::Device<Core<'_>>, this: Pin<&Self::Data<'_>>) -> u32 {
        let _ = (pdev, this);
        0
    }

    /// Gives a VF this many MSI-X vectors, or as many as it has by itself if `count` is 0: the
    /// answer to a write to its `sriov_vf_msix_count`.
    ///
    /// Called with the device locks of the PF and the VF held, and no driver bound to the VF.
    ///
    /// # Errors
    ///
    /// What this returns is the answer to who has written; [`EOPNOTSUPP`] unless it is implemented.
    fn sriov_set_msix_vec_count(
        pdev: &pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'_>>,
        vf: Vf<'_>,
        count: u32,
    ) -> Result {
        let _ = (pdev, this, vf, count);
        Err(EOPNOTSUPP)
    }
}

/// A VF without a driver, in a callback of its PF's driver.
#[derive(Clone, Copy)]
pub struct Vf<'a> {
    device: &'a pci::Device,
    number: u16,
}

impl<'a> Vf<'a> {
    /// The device.
    pub fn device(self) -> &'a pci::Device {
        self.device
    }

    /// Its number among those of the PF, from 0 on.
    pub fn number(self) -> u16 {
        self.number
    }
}

/// That VFs are asked for, and the right to enable them.
///
/// # Invariants
///
/// `device` is a PF without VFs, which is bound and locked for `'a`.
#[must_use = "no VFs are enabled unless this is used"]
pub struct Request<'a> {
    device: *mut bindings::pci_dev,
    count: NonZero<u16>,
    rescan_lock: &'a RescanLock,
}

impl<'a> Request<'a> {
    /// How many are asked for.
    pub fn count(&self) -> NonZero<u16> {
        self.count
    }

    /// The rescan lock, which the PCI core holds, or the library.
    pub fn rescan_lock(&self) -> &'a RescanLock {
        self.rescan_lock
    }

    /// Enables them all.
    ///
    /// May sleep. Their drivers are bound when this returns, if there are any.
    ///
    /// # Errors
    ///
    /// As the device and the PCI core have it; then none are enabled.
    pub fn enable(self) -> Result<Vfs<'a>> {
        let count = self.count;
        self.enable_fewer(count)
    }

    /// Enables fewer than are asked for, because the device or the driver has not as many.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if these are more; otherwise as [`Request::enable`].
    pub fn enable_fewer(self, count: NonZero<u16>) -> Result<Vfs<'a>> {
        if count > self.count {
            return Err(EINVAL);
        }
        // SAFETY: By the type invariants.
        to_result(unsafe { bindings::pci_enable_sriov(self.device, c_int::from(count.get())) })?;
        // INVARIANT: Enabled just now.
        Ok(Vfs {
            device: self.device,
            count: count.get(),
            _locked: PhantomData,
            _not_send: NotThreadSafe,
        })
    }
}

/// The VFs of a PF, which are disabled when this is dropped.
///
/// It cannot be kept: [`Driver::sriov_configure`] returns it, and then it belongs to the library.
///
/// # Invariants
///
/// They were enabled with the locks held that are held for `'a`, and were not disabled since.
#[must_use = "the VFs are disabled when this is dropped"]
pub struct Vfs<'a> {
    device: *mut bindings::pci_dev,
    count: u16,
    _locked: PhantomData<&'a RescanLock>,
    _not_send: NotThreadSafe,
}

impl Vfs<'_> {
    /// How many there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Leaves them to the library.
    fn keep(self) -> u16 {
        core::mem::ManuallyDrop::new(self).count
    }
}

impl Drop for Vfs<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, this is a PF with both locks held.
        unsafe { bindings::pci_disable_sriov(self.device) };
    }
}

/// What the driver of a VF has of its PF, whose driver is a `T`.
///
/// # Examples
///
/// ```
/// use holdfast::pci::sriov::{
///     self,
///     PhysicalFunction, //
/// };
/// # use kernel::{device::{Bound, Core}, pci};
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
/// #         _pdev: &'bound pci::Device<Core<'_>>,
/// #         _info: Option<&'bound Self::IdInfo>,
/// #     ) -> impl PinInit<Self, Error> + 'bound {
/// #         Ok(PfDriver)
/// #     }
/// # }
/// #
/// # impl sriov::Driver for PfDriver {
/// #     type Shared<'bound> = PfDriver;
/// #
/// #     fn shared<'a, 'bound>(this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
/// #         this.get_ref()
/// #     }
/// # }
/// #
/// # impl PfDriver {
/// #     fn queues_each(&self) -> u32 {
/// #         4
/// #     }
/// # }
///
/// struct VfBound<'bound> {
///     pf: PhysicalFunction<'bound, PfDriver>,
///     number: u16,
/// }
///
/// impl<'bound> VfBound<'bound> {
///     fn new(pdev: &'bound pci::Device<Bound>) -> Result<Self> {
///         if !sriov::is_virtfn(pdev) {
///             return Err(ENODEV);
///         }
///         Ok(Self {
///             pf: sriov::physical_function(pdev)?,
///             number: sriov::vf_number(pdev).ok_or(ENODEV)?,
///         })
///     }
///
///     fn first_queue(&self) -> u32 {
///         u32::from(self.number) * self.pf.with(|shared| shared.queues_each())
///     }
/// }
/// # let _ = (VfBound::new, VfBound::first_queue);
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// `shared` points to what [`Driver::shared`] of `T` has shown, which is not dropped for `'bound`.
pub struct PhysicalFunction<'bound, T: Driver> {
    shared: *const c_void,
    _binding: PhantomData<&'bound ()>,
    _driver: PhantomData<fn() -> T>,
}

impl<T: Driver> Clone for PhysicalFunction<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Driver> Copy for PhysicalFunction<'_, T> {}

// SAFETY: It gives out shared references to a `T::Shared`, which is `Sync`.
unsafe impl<T: Driver> Send for PhysicalFunction<'_, T> {}
// SAFETY: As above.
unsafe impl<T: Driver> Sync for PhysicalFunction<'_, T> {}

impl<T: Driver> PhysicalFunction<'_, T> {
    /// Calls `inside` with what the PF's driver shows. Nothing is checked, nor locked.
    ///
    /// May be called in any context. `inside` works for any binding of the PF, so that nothing of
    /// the VF's can be put there, and nothing of the PF's be kept.
    #[inline]
    pub fn with<R>(self, inside: impl for<'pf> FnOnce(&T::Shared<'pf>) -> R) -> R {
        // SAFETY: By the type invariants. The closure works for any lifetime.
        inside(unsafe { &*self.shared.cast::<T::Shared<'_>>() })
    }
}

/// What the driver of a VF has of its PF, for as long as the VF is bound.
///
/// May sleep. May be called wherever the VF is shown to be bound: in `probe`, or in
/// [`object::Operations::bind`].
///
/// # Errors
///
/// [`ENODEV`] if `vf` is no VF, or is being unbound, or if its PF is not bound to a driver that was
/// registered with [`module_sriov_driver!`], or is being unbound; [`EINVAL`] if that driver is
/// another one than `T`; [`ENOMEM`].
///
/// [`module_sriov_driver!`]: crate::module_sriov_driver
pub fn physical_function<'bound, T: Driver>(
    vf: &'bound pci::Device<Bound>,
) -> Result<PhysicalFunction<'bound, T>> {
    let shared = attach(vf, TypeId::of::<T>())?;
    // INVARIANT: The type is that of the driver, and the end of the PF's binding waits for that of
    // the VF's, which `'bound` does not outlive.
    Ok(PhysicalFunction {
        shared,
        _binding: PhantomData,
        _driver: PhantomData,
    })
}

/// Configures a PF, as `sriov_numvfs` does.
///
/// # Safety
///
/// The device must be bound to the driver that the function belongs to, with its device lock held.
pub(crate) type Configure = unsafe fn(*mut bindings::pci_dev, &RescanLock, u16) -> Result<u16>;

/// A PF that is bound to a driver of the library.
///
/// # Invariants
///
/// - `device` is bound to `driver`, `shared` is what that shows, and `configure` is its.
/// - `attached` are the VFs whose drivers have been given `shared`. `detach` is in the devres of
///   each, older than what could use `shared` there, and takes it out.
pub(crate) struct Record {
    // Used for comparison, and by who holds its device lock.
    device: *mut bindings::pci_dev,
    driver: *mut bindings::pci_driver,
    type_id: TypeId,
    shared: *const c_void,
    configure: Configure,
    /// Whether VFs may be enabled, and their drivers be given `shared`.
    open: bool,
    attached: KVec<ARef<pci::Device>>,
}

// SAFETY: The pointers are not followed but as the type invariants say.
unsafe impl Send for Record {}

/// The PFs that are bound, and the drivers that are about to be unregistered.
pub(crate) struct Records {
    records: KVec<Record>,
    ending: KVec<*mut bindings::pci_driver>,
}

// SAFETY: The pointers in `ending` are compared only.
unsafe impl Send for Records {}

global_lock! {
    // SAFETY: `initialise` is called when the library is loaded, before anything else of it runs.
    unsafe(uninit) static RECORDS: Mutex<Records> = Records::new();
}

/// Makes this module ready for use.
///
/// # Safety
///
/// Must be called exactly once, before anything else in this module.
pub(crate) unsafe fn initialise() {
    // SAFETY: By the safety requirements.
    unsafe { RECORDS.init() };
}

impl Records {
    pub(crate) const fn new() -> Self {
        Self {
            records: KVec::new(),
            ending: KVec::new(),
        }
    }

    pub(crate) fn find(&mut self, device: *mut bindings::pci_dev) -> Option<&mut Record> {
        self.records
            .iter_mut()
            .find(|record| record.device == device)
    }

    /// Adds a PF that has been probed.
    pub(crate) fn add(&mut self, mut record: Record) -> Result {
        record.open = !self.ending.contains(&record.driver);
        Ok(self.records.push(record, GFP_KERNEL)?)
    }

    /// The record of a PF, for what the driver of a VF has asked for by type.
    pub(crate) fn of_type(
        &mut self,
        device: *mut bindings::pci_dev,
        type_id: TypeId,
    ) -> Result<&mut Record> {
        let record = self.find(device).ok_or(ENODEV)?;
        if record.type_id != type_id {
            return Err(EINVAL);
        }
        Ok(record)
    }

    /// Ends a record: from now on there are no VFs and none of their drivers come.
    pub(crate) fn close(&mut self, device: *mut bindings::pci_dev) {
        if let Some(record) = self.find(device) {
            record.open = false;
        }
    }

    /// A VF whose driver has not given back what it was given.
    pub(crate) fn attached(&mut self, device: *mut bindings::pci_dev) -> Option<ARef<pci::Device>> {
        self.find(device)?.attached.first().cloned()
    }

    /// Takes a record away, to which nobody is attached.
    pub(crate) fn remove(&mut self, device: *mut bindings::pci_dev) {
        if let Some(place) = self
            .records
            .iter()
            .position(|record| record.device == device)
        {
            let _ = self.records.remove(place);
        }
        if self.records.is_empty() {
            // A static is never dropped, and would keep its memory when the library is unloaded.
            self.records = KVec::new();
        }
    }

    /// PFs that are bound to `driver` from now on get no VFs, as it is about to be unregistered.
    pub(crate) fn begin_end(&mut self, driver: *mut bindings::pci_driver) {
        // If there is no memory for it, a PF that is bound right now may get VFs, as it may at any
        // time before; they are disabled when it is unbound.
        let _ = self.ending.push(driver, GFP_KERNEL);
    }

    /// Forgets a driver that has been unregistered.
    pub(crate) fn forget_end(&mut self, driver: *mut bindings::pci_driver) {
        if let Some(place) = self.ending.iter().position(|other| *other == driver) {
            let _ = self.ending.remove(place);
        }
        if self.ending.is_empty() {
            self.ending = KVec::new();
        }
    }
}

impl Record {
    pub(crate) fn new(
        device: *mut bindings::pci_dev,
        driver: *mut bindings::pci_driver,
        type_id: TypeId,
        shared: *const c_void,
        configure: Configure,
    ) -> Self {
        Self {
            device,
            driver,
            type_id,
            shared,
            configure,
            open: true,
            attached: KVec::new(),
        }
    }

    /// Whether VFs may be enabled, and their drivers be given something.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// What the driver shows.
    pub(crate) fn shared(&self) -> *const c_void {
        self.shared
    }

    pub(crate) fn attach(&mut self, vf: ARef<pci::Device>) -> Result {
        Ok(self.attached.push(vf, GFP_KERNEL)?)
    }

    fn is_attached(&self, vf: &pci::Device<Bound>) -> bool {
        self.attached.iter().any(|other| raw(&**other) == raw(vf))
    }

    pub(crate) fn detach(&mut self, vf: *mut bindings::pci_dev) {
        if let Some(place) = self.attached.iter().position(|other| raw(&**other) == vf) {
            let _ = self.attached.remove(place);
        }
    }
}

/// What the PF of `vf` shows to a VF's driver, if it is of this type.
///
/// Never inlined, because devres keeps a pointer to [`detach`].
#[inline(never)]
pub(crate) fn attach(vf: &pci::Device<Bound>, type_id: TypeId) -> Result<*const c_void> {
    if !is_virtfn(vf) {
        return Err(ENODEV);
    }
    // SAFETY: A reference to a device is a valid `struct pci_dev`.
    let pf = unsafe { shims::holdfast_pci_physfn(raw(vf)) };
    // Held until the end of this function: whoever finds the VF attached finds it in devres, too.
    let mut records = RECORDS.lock();
    let record = records.of_type(pf, type_id)?;
    if record.is_attached(vf) {
        // Until devres releases it, which is later than whatever the VF is bound for.
        return Ok(record.shared());
    }
    if !record.is_open() {
        return Err(ENODEV);
    }
    record.attach((&**vf).into())?;

    let device = device_pointer(vf.as_ref());
    let action = raw(vf).cast();
    // SAFETY: The device is valid. What devres gives to `detach` is the device, which has it.
    let added = to_result(unsafe { bindings::devm_add_action(device, Some(detach), action) });
    // The binding can be asked for until devres begins to release. If it has not begun now, it will
    // find what was just added; and it releases the binding, and all that is below it, before that.
    let result = added.and_then(|()| {
        Binding::of(vf.as_ref())
            .map(drop)
            // SAFETY: As above.
            .inspect_err(|_| unsafe {
                bindings::devm_remove_action_nowarn(device, Some(detach), action);
            })
    });
    if let Err(error) = result {
        // If devres had begun, and has taken it, it will not find it here any more.
        record.detach(raw(vf));
        return Err(error);
    }
    Ok(record.shared())
}

/// Takes a VF out of the record of its PF. devres calls this when the VF is unbound, and after all
/// that was registered below the VF has ended.
///
/// # Safety
///
/// `vf` must be a `struct pci_dev` of a VF, and nothing of what its PF shows be used any more.
unsafe extern "C" fn detach(vf: *mut c_void) {
    let vf = vf.cast();
    // SAFETY: By the safety requirements. It is not removed before it is unbound, and has a
    // reference to its PF until it is removed.
    let pf = unsafe { shims::holdfast_pci_physfn(vf) };
    if let Some(record) = RECORDS.lock().find(pf) {
        record.detach(vf);
    }
}

/// The record of a PF, for as long as its driver has data.
///
/// # Invariants
///
/// The record, if there is one, is that of the device.
struct Published(*mut bindings::pci_dev);

// SAFETY: The pointer is compared only.
unsafe impl Send for Published {}

impl Published {
    /// Ends what VFs' drivers see, and unbinds those that have been left bound.
    ///
    /// The PCI core unbinds the driver of a VF when the VFs are disabled. It does not if somebody
    /// else was removing that VF at the same time, and is not done.
    #[inline(never)]
    fn end(&self) {
        RECORDS.lock().close(self.0);
        loop {
            // In a statement of its own, so that the lock is not held below.
            let attached = RECORDS.lock().attached(self.0);
            let Some(vf) = attached else {
                break;
            };
            // SAFETY: The device is valid. The caller holds the lock of the PF, inside of which
            // that of a VF may be taken.
            unsafe { bindings::device_release_driver(device_pointer((*vf).as_ref())) };
        }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // Nothing to be done, unless the driver's `unbind` was never called.
        self.end();
        RECORDS.lock().remove(self.0);
    }
}

/// The data of the driver of a PF.
//
// The first field is dropped first: no driver of a VF sees the data when that is dropped.
#[doc(hidden)]
#[pin_data]
pub struct Data<'bound, T: Driver> {
    published: Published,
    #[pin]
    data: T::Data<'bound>,
}

impl<'bound, T: Driver> Data<'bound, T> {
    fn inner<'a>(self: Pin<&'a Self>) -> Pin<&'a T::Data<'bound>> {
        // SAFETY: The field is pinned structurally.
        unsafe { self.map_unchecked(|this| &this.data) }
    }
}

/// A [`Driver`] as the kernel crate sees it.
#[doc(hidden)]
pub struct PciDriver<T: Driver>(PhantomData<T>);

impl<T: Driver> pci::Driver for PciDriver<T> {
    type IdInfo = T::IdInfo;
    type Data<'bound> = Data<'bound, T>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = T::ID_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let initialise = move |slot: *mut Data<'bound, T>| {
            // SAFETY: This runs in the bus callback.
            let _callback = unsafe { Callback::enter(pdev) };
            let data = try_pin_init!(Data::<'bound, T> {
                published: Published(raw(pdev)),
                data <- T::probe(pdev, info),
            }? Error);
            let data = data.pin_chain(|data| {
                let shared = T::shared(data.as_ref().inner());
                publish(
                    pdev,
                    TypeId::of::<T>(),
                    core::ptr::from_ref(shared).cast(),
                    Adapter::<T>::configure_erased,
                )
            });
            // SAFETY: The requirements are those on this closure.
            unsafe { pin_init::raw_try_init(slot, data) }
        };
        // SAFETY: `raw_try_init` initialises the slot, or fails and leaves nothing in it.
        unsafe { pin_init::pin_init_from_closure(initialise) }
    }

    fn unbind<'bound>(pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        // SAFETY: This is a bus callback.
        let _callback = unsafe { Callback::enter(pdev) };
        let data = this.inner();

        // In this order: no VF comes; those that are there go; none of their drivers is left.
        RECORDS.lock().close(raw(pdev));
        disable_vfs::<T>(pdev, data);
        this.published.end();
        T::unbind(pdev, data);
    }
}

/// Never inlined, as [`RECORDS`] is the library's.
#[inline(never)]
fn publish(
    pdev: &pci::Device<Core<'_>>,
    type_id: TypeId,
    shared: *const c_void,
    configure: Configure,
) -> Result {
    let device = raw(pdev);
    // SAFETY: A reference to a device is a valid `struct pci_dev`, and in a bus callback its driver
    // does not change.
    let driver = unsafe { (*device).driver };
    RECORDS
        .lock()
        .add(Record::new(device, driver, type_id, shared, configure))
}

/// Disables all VFs. Their drivers are unbound and their devices removed when this returns.
fn disable_vfs<T: Driver>(pdev: &pci::Device<Core<'_>>, data: Pin<&T::Data<'_>>) {
    if num_vfs(pdev) == 0 {
        return;
    }
    // SAFETY: A reference to a device is a valid `struct pci_dev`. `Core` shows that its lock is
    // held, which serialises this with the others.
    unsafe { bindings::pci_disable_sriov(raw(pdev)) };
    T::vfs_disabled(pdev, data);
}

/// An adapter for the registration of PF drivers; see [`module_sriov_driver!`].
///
/// # Examples
///
/// What that macro does, for a module that also does something else:
///
/// ```
/// # use holdfast::pci::sriov;
/// # use kernel::{device::Core, driver, module::this_module, pci};
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
/// #         _pdev: &'bound pci::Device<Core<'_>>,
/// #         _info: Option<&'bound Self::IdInfo>,
/// #     ) -> impl PinInit<Self, Error> + 'bound {
/// #         Ok(PfDriver)
/// #     }
/// # }
/// #
/// # impl sriov::Driver for PfDriver {
/// #     type Shared<'bound> = PfDriver;
/// #
/// #     fn shared<'a, 'bound>(this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
/// #         this.get_ref()
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
pub struct Adapter<T: Driver>(PhantomData<T>);

type PciAdapter<T> = pci::Adapter<PciDriver<T>>;

// SAFETY: All of it is the adapter's for PCI drivers.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = <PciAdapter<T> as driver::DriverLayout>::DriverType;
    type DriverData<'bound> = <PciAdapter<T> as driver::DriverLayout>::DriverData<'bound>;
    const DEVICE_DRIVER_OFFSET: usize =
        <PciAdapter<T> as driver::DriverLayout>::DEVICE_DRIVER_OFFSET;
}

// SAFETY: Registration and unregistration are the adapter's for PCI drivers.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        pdrv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: The fields of a `struct pci_driver` may be set before it is registered.
        unsafe {
            (*pdrv.get()).sriov_configure = Some(Self::sriov_configure_callback);
            (*pdrv.get()).sriov_get_vf_total_msix = Some(Self::sriov_get_vf_total_msix_callback);
            (*pdrv.get()).sriov_set_msix_vec_count = Some(Self::sriov_set_msix_vec_count_callback);
        }

        // SAFETY: The safety requirements are the same.
        unsafe { <PciAdapter<T> as driver::RegistrationOps>::register(pdrv, name, module) }
    }

    unsafe fn unregister(pdrv: &Opaque<Self::DriverType>) {
        // SAFETY: A driver is unregistered by the end of its module, where nothing is held.
        disable_all_vfs(pdrv.get(), &mut unsafe { Unlocked::new() });
        // SAFETY: The safety requirements are the same.
        unsafe { <PciAdapter<T> as driver::RegistrationOps>::unregister(pdrv) };
        forget_end(pdrv.get());
    }
}

/// Disables the VFs of all PFs of a driver that is about to be unregistered, and sees to it that it
/// gets no new ones.
///
/// On a stock kernel, who unregisters a driver holds the device lock of a PF and not the rescan
/// lock, and VFs that are disabled there go while somebody else may be walking the same bus. This
/// has both, so what is left to be unbound has no VFs.
#[inline(never)]
fn disable_all_vfs(driver: *mut bindings::pci_driver, unlocked: &mut Unlocked) {
    RECORDS.lock().begin_end(driver);

    loop {
        let next = RECORDS
            .lock()
            .records
            .iter()
            .find(|record| record.open && record.driver == driver)
            .map(|record| {
                // SAFETY: By the type invariants, it is bound, and is not unbound while the lock of
                // the records is held.
                ARef::from(unsafe { &*record.device.cast::<pci::Device>() })
            });
        let Some(device) = next else {
            break;
        };
        let result = RescanLock::with_device(unlocked, &device, |lock, device| {
            let configure = close_for_driver(raw(&**device), driver)?;
            // SAFETY: Its record was there just now, and it is locked, so it is bound.
            unsafe { configure(raw(&**device), lock, 0) }.ok()
        });
        debug_assert!(result.is_ok());
    }
}

/// Closes the record of a device that is locked, if it is bound to `driver`, whose function for the
/// configuration this returns.
fn close_for_driver(
    device: *mut bindings::pci_dev,
    driver: *mut bindings::pci_driver,
) -> Option<Configure> {
    let mut records = RECORDS.lock();
    let record = records
        .find(device)
        .filter(|record| record.driver == driver)?;
    record.open = false;
    Some(record.configure)
}

/// Never inlined, as [`RECORDS`] is the library's.
#[inline(never)]
fn forget_end(driver: *mut bindings::pci_driver) {
    RECORDS.lock().forget_end(driver);
}

impl<T: Driver> Adapter<T> {
    /// The answer to a write to `sriov_numvfs`: the number of VFs that are enabled, or an error.
    ///
    /// The PCI core calls this for a bound device, with its device lock and the rescan/remove lock
    /// held (`sriov_numvfs_store()` in `drivers/pci/iov.c`).
    extern "C" fn sriov_configure_callback(pdev: *mut bindings::pci_dev, num_vfs: c_int) -> c_int {
        from_result(|| {
            let count = u16::try_from(num_vfs)?;
            // SAFETY: The PCI core has taken it, and gives it back when this has returned.
            let lock = unsafe { Adopted::new() };
            // SAFETY: The PCI core gives a device that is bound to this driver and locked.
            unsafe {
                let _callback = Callback::enter(&*pdev.cast());
                Self::configure_erased(pdev, &lock, count).map(c_int::from)
            }
        })
    }

    /// How many MSI-X vectors VFs can have, all together.
    ///
    /// The PCI core calls this for a bound device, with its device lock held.
    extern "C" fn sriov_get_vf_total_msix_callback(pdev: *mut bindings::pci_dev) -> u32 {
        // SAFETY: As above.
        unsafe {
            let _callback = Callback::enter(&*pdev.cast());
            Self::with_data(pdev, |pdev, data| T::sriov_get_vf_total_msix(pdev, data))
        }
    }

    /// The answer to a write to `sriov_vf_msix_count`.
    ///
    /// The PCI core calls this for a VF without a driver whose PF is bound, with both device locks
    /// held.
    extern "C" fn sriov_set_msix_vec_count_callback(
        vf: *mut bindings::pci_dev,
        count: c_int,
    ) -> c_int {
        from_result(|| {
            let count = u32::try_from(count)?;
            // SAFETY: The PCI core gives a valid VF, whose PF it has locked, and which is bound to
            // this driver.
            unsafe {
                let number = u16::try_from(bindings::pci_iov_vf_id(vf))?;
                let pdev = shims::holdfast_pci_physfn(vf);
                let _callback = Callback::enter(&*pdev.cast());
                let device = &*vf.cast::<pci::Device>();
                Self::with_data(pdev, |pdev, data| {
                    T::sriov_set_msix_vec_count(pdev, data, Vf { device, number }, count)
                })?;
            }
            Ok(0)
        })
    }

    /// Calls `inside` with the data of a device.
    ///
    /// # Safety
    ///
    /// `pdev` must be bound to this driver, and its device lock be held.
    unsafe fn with_data<R>(
        pdev: *mut bindings::pci_dev,
        inside: impl FnOnce(&pci::Device<Core<'_>>, Pin<&T::Data<'_>>) -> R,
    ) -> R {
        // SAFETY: By the safety requirements, it is valid, and as good as in a bus callback.
        let pdev = unsafe { &*pdev.cast::<pci::Device<CoreInternal<'_>>>() };
        // SAFETY: By the safety requirements, it has been probed, which is done with the lock held,
        // and not been unbound. This is the type of the data of a driver with this adapter.
        let data = unsafe { pdev.as_ref().drvdata_borrow::<Data<'_, T>>() };
        inside(pdev, data.inner())
    }

    /// # Safety
    ///
    /// As [`Configure`] says, for this driver.
    unsafe fn configure_erased(
        pdev: *mut bindings::pci_dev,
        lock: &RescanLock,
        count: u16,
    ) -> Result<u16> {
        // SAFETY: By the safety requirements.
        unsafe { Self::with_data(pdev, |pdev, data| Self::configure(pdev, data, lock, count)) }
    }

    fn configure(
        pdev: &pci::Device<Core<'_>>,
        data: Pin<&T::Data<'_>>,
        rescan_lock: &RescanLock,
        count: u16,
    ) -> Result<u16> {
        let enabled = num_vfs(pdev);
        if count == enabled {
            return Ok(count);
        }
        let Some(count) = NonZero::new(count) else {
            // SAFETY: A reference to a device is a valid `struct pci_dev`.
            if unsafe { bindings::pci_vfs_assigned(raw(pdev)) } != 0 {
                dev_warn!(
                    pdev,
                    "VFs are assigned to virtual machines, so they stay enabled\n"
                );
                return Err(EBUSY);
            }
            disable_vfs::<T>(pdev, data);
            return Ok(0);
        };
        if enabled != 0 {
            return Err(EBUSY);
        }
        if pdev.sriov_get_totalvfs().is_none_or(|total| count > total) {
            return Err(ERANGE);
        }
        if !is_open(raw(pdev)) {
            return Err(ENODEV);
        }
        // INVARIANT: The caller has a PF that is bound and locked, and it has no VFs.
        let request = Request {
            device: raw(pdev),
            count,
            rescan_lock,
        };
        Ok(T::sriov_configure(pdev, data, request)?.keep())
    }
}

/// Whether a PF may have VFs.
#[inline(never)]
fn is_open(device: *mut bindings::pci_dev) -> bool {
    RECORDS
        .lock()
        .find(device)
        .is_some_and(|record| record.is_open())
}

/// A number of VFs that was asked for, and the answer.
pub(crate) struct Pending(Atomic<i32>);

impl Pending {
    const UNANSWERED: i32 = i32::MIN;

    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self(Atomic::new(Self::UNANSWERED)), GFP_KERNEL)?)
    }

    pub(crate) fn answer(&self, answer: Result<u16>) {
        let value = answer.map_or_else(|error| error.to_errno(), i32::from);
        self.0.store(value, Release);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.0.load(Acquire) != Self::UNANSWERED
    }

    pub(crate) fn result(&self) -> Result<u16> {
        let value = self.0.load(Acquire);
        to_result(value)?;
        Ok(u16::try_from(value)?)
    }
}

/// Sets the number of VFs of the PF below which an object is registered, as a write to its
/// `sriov_numvfs` does, for a file of the driver's own: an attribute, or an ioctl.
///
/// May sleep. The caller is inside the door of the object, which the end of the PF's binding waits
/// for, and perhaps inside a file of sysfs, whose removal waits for it. Both can happen in a task
/// that holds the rescan lock. So the caller takes no lock here: a worker does, for which nobody
/// waits but this function; and when the registration of the object ends, this returns at once.
///
/// # Errors
///
/// - What the driver's [`Driver::sriov_configure`] returns.
/// - [`EBUSY`] if there are VFs, and others are asked for; [`ERANGE`] if there cannot be as many.
/// - [`ENODEV`] if the PF is being unbound, or is not bound to a driver that was registered with
///   [`module_sriov_driver!`](crate::module_sriov_driver).
/// - [`ERESTARTSYS`] if the task got a signal. The number is set all the same.
///
/// # Examples
///
/// ```
/// # use holdfast::{class::Class, object::{self, Object}};
/// # use kernel::{device::Bound, pci, str::BStr};
/// use holdfast::{
///     object::Access,
///     pci::sriov, //
/// };
/// use kernel::str::parse_int::ParseInt;
/// #
/// # struct Pf;
/// #
/// # impl object::Operations for Pf {
/// #     type Parent = pci::Device<Bound>;
/// #     type Structure = object::ClassDevice;
/// #     type Data = ();
/// #     type Bound<'bound> = ();
/// #     type Argument = ();
/// #     const CLASS: Class = Class::new(c"example_pf", c"example-pf");
/// #
/// #     fn bind<'bound>(
/// #         _object: &'bound Object<Self>,
/// #         _pdev: &'bound pci::Device<Bound>,
/// #         _argument: (),
/// #     ) -> impl PinInit<(), Error> + 'bound {
/// #         Ok(())
/// #     }
/// # }
///
/// fn store_vfs(access: &Access<'_, '_, Pf>, text: &BStr) -> Result {
///     sriov::set_num_vfs(access, u16::from_str(text)?).map(drop)
/// }
/// # let _ = store_vfs;
/// # Ok::<(), Error>(())
/// ```
pub fn set_num_vfs<O>(access: &Access<'_, '_, O>, count: u16) -> Result<u16>
where
    O: object::Operations<Parent = pci::Device<Bound>>,
{
    let pending = ask(access.parent(), access.object().header(), count)?;
    access.wait_until(|| pending.is_answered())?;
    pending.result()
}

/// Never inlined, because what the worker runs must be the library's.
#[inline(never)]
fn ask(pdev: &pci::Device<Bound>, header: &Header, count: u16) -> Result<Arc<Pending>> {
    let pending = Pending::new()?;
    let answer = pending.clone();
    let device: ARef<pci::Device> = (&**pdev).into();
    let object = Reference::new(header.revocable());

    crate::hold_library();
    let spawned = workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
        answer.answer(set_num_vfs_of(&device, count));
        // SAFETY: It is the header of the object that `object` is a reference to.
        chardev::wake_waiters(unsafe { Header::of_revocable(&object) });
        drop((answer, object, device));
        // SAFETY: Held above; what is left is to return.
        unsafe { crate::release_library() };
    });
    if let Err(error) = spawned {
        // SAFETY: Held above, and the object holds it as well.
        unsafe { crate::release_library() };
        return Err(error.into());
    }
    Ok(pending)
}

/// Sets the number of VFs of a PF.
pub(crate) fn set_num_vfs_of(device: &pci::Device, count: u16) -> Result<u16> {
    // SAFETY: A worker that runs this holds no lock, is inside of nothing, and nobody waits for it.
    let mut unlocked = unsafe { Unlocked::new() };
    RescanLock::with_device(&mut unlocked, device, |lock, device| {
        let device = raw(&**device);
        // A statement of its own, so that the lock of the records is not held below.
        let configure = RECORDS.lock().find(device).map(|record| record.configure);
        // SAFETY: There is a record of it and it is locked, so it is bound to that driver: its
        // record is added by its probe, and is closed and removed by its unbinding.
        unsafe { configure.ok_or(ENODEV)?(device, lock, count) }
    })?
}

/// Declares a kernel module that exposes a single driver of SR-IOV physical functions.
///
/// # Examples
///
/// ```
/// # use holdfast::pci::sriov;
/// # use kernel::{device::Core, pci};
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
/// #         _pdev: &'bound pci::Device<Core<'_>>,
/// #         _info: Option<&'bound Self::IdInfo>,
/// #     ) -> impl PinInit<Self, Error> + 'bound {
/// #         Ok(PfDriver)
/// #     }
/// # }
/// #
/// # impl sriov::Driver for PfDriver {
/// #     type Shared<'bound> = PfDriver;
/// #
/// #     fn shared<'a, 'bound>(this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
/// #         this.get_ref()
/// #     }
/// # }
/// #
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
