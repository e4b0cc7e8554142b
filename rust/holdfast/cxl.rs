// SPDX-License-Identifier: GPL-2.0

//! Drivers for CXL regions.
//!
//! A region is a range of host physical addresses that decoders interleave over memory devices. It
//! is a device on the CXL bus, to which the core's own driver is bound, or one of these: a
//! [`Driver`] that [`module_cxl_region_driver!`] registers.
//!
//! # When a driver is bound
//!
//! The bus matches by the type of a device alone: the driver is offered every region, and the
//! core's `cxl_region` driver is, too. A region that is not committed is refused here, without
//! asking the driver. A region that user space has made and committed is bound by a write to
//! `bind` of the driver; it has been offered when it was not committed.
//!
//! # When a region goes
//!
//! Its driver is unbound by `unbind`, by `commit`, by `delete_region`, by the detachment of a
//! target, and when one of the memory devices, ports or decoders below or above it goes. What a
//! driver has registered below the region has ended then, and its [`Memory`] is unmapped.
//!
//! Of those, the detachment of a target and what goes with a memory device take the decoders away
//! *before* the core unbinds the driver. What is read from the memory in between is not its
//! contents, and what is written is lost. A driver cannot prevent that.
//!
//! # Examples
//!
//! A driver that maps the memory of a region, and reads how it is made up. It is only compiled: it
//! takes a region.
//!
//! ```no_run
//! use holdfast_cxl::cxl::{self, Memory, Region};
//! use kernel::device::Core;
//!
//! struct Driver;
//!
//! struct Bound<'bound> {
//!     memory: Memory<'bound>,
//! }
//!
//! impl cxl::Driver for Driver {
//!     type Data<'bound> = Bound<'bound>;
//!
//!     fn probe<'bound>(
//!         region: &'bound Region<Core<'_>>,
//!     ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
//!         let parameters = region.parameters()?;
//!         let ways = parameters.interleave_ways;
//!         dev_info!(region, "{} bytes over {ways} targets\n", parameters.size());
//!         Ok(Bound {
//!             memory: region.map(c"example")?,
//!         })
//!     }
//! }
//! ```
//!
//! C header: [`drivers/cxl/cxl.h`](srctree/drivers/cxl/cxl.h)
//!
//! [`module_cxl_region_driver!`]: crate::module_cxl_region_driver

use holdfast::{
    chardev,
    object::{
        Child,
        Parent,
        Place, //
    }, //
};

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device::{
        self,
        AsBusDevice,
        Bound, //
    },
    driver,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    module::this_module,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    str::CString,
    sync::aref::AlwaysRefCounted,
    types::Opaque, //
};

/// The C side, in `rust/helpers/cxl.c`.
mod shims {
    use super::*;

    /// `struct holdfast_cxl_parameters`.
    #[repr(C)]
    #[derive(Default)]
    pub(super) struct Parameters {
        pub(super) start: u64,
        pub(super) end: u64,
        pub(super) ways: u32,
        pub(super) granularity: u32,
        pub(super) targets: u32,
        pub(super) mode: u32,
        pub(super) state: u64,
    }

    // Of the kernel's structures, only pointers are passed.
    #[allow(improper_ctypes)]
    extern "C" {
        pub(super) fn holdfast_cxl_driver_register(
            driver: *mut RawDriver,
            owner: *mut bindings::module,
            modname: *const c_char,
        ) -> c_int;
        pub(super) fn holdfast_cxl_driver_unregister(driver: *mut RawDriver);
        pub(super) fn holdfast_cxl_is_region(dev: *mut bindings::device) -> bool;
        pub(super) fn holdfast_cxl_state(dev: *mut bindings::device) -> c_uint;
        pub(super) fn holdfast_cxl_parameters(
            dev: *mut bindings::device,
            parameters: *mut Parameters,
        ) -> c_int;
        pub(super) fn holdfast_cxl_target(
            dev: *mut bindings::device,
            position: c_uint,
            name: *mut c_char,
        ) -> c_int;
        pub(super) fn holdfast_cxl_map(start: u64, size: u64, name: *const c_char) -> *mut c_void;
        pub(super) fn holdfast_cxl_unmap(address: *mut c_void, start: u64, size: u64);
        pub(super) fn holdfast_cxl_copy_to_iter(
            from: *const c_void,
            length: usize,
            to: *mut bindings::iov_iter,
        ) -> usize;
        pub(super) fn holdfast_cxl_copy_from_iter(
            to: *mut c_void,
            length: usize,
            from: *mut bindings::iov_iter,
        ) -> usize;
    }
}

/// `struct cxl_driver`, which `rust/helpers/cxl.c` compares with the kernel's.
#[doc(hidden)]
#[repr(C)]
pub struct RawDriver {
    name: *const c_char,
    probe: Option<unsafe extern "C" fn(*mut bindings::device) -> c_int>,
    remove: Option<unsafe extern "C" fn(*mut bindings::device)>,
    add_dport: *const c_void,
    drv: bindings::device_driver,
    id: c_int,
}

impl Default for RawDriver {
    fn default() -> Self {
        Self {
            name: core::ptr::null(),
            probe: None,
            remove: None,
            add_dport: core::ptr::null(),
            drv: pin_init::zeroed(),
            id: 0,
        }
    }
}

/// A driver for CXL regions.
///
/// # Examples
///
/// A driver that says how often it is bound:
///
/// ```no_run
/// use holdfast_cxl::cxl::{self, Region};
/// use kernel::{device::Core, sync::atomic::{Atomic, Relaxed}};
///
/// static BINDINGS: Atomic<u32> = Atomic::new(0);
///
/// struct Counter {
///     number: u32,
/// }
///
/// impl cxl::Driver for Counter {
///     type Data<'bound> = Self;
///
///     fn probe<'bound>(
///         _region: &'bound Region<Core<'_>>,
///     ) -> impl PinInit<Self, Error> + 'bound {
///         Ok(Self {
///             number: BINDINGS.fetch_add(1, Relaxed),
///         })
///     }
///
///     fn unbind<'bound>(region: &'bound Region<Core<'_>>, this: Pin<&Self>) {
///         dev_info!(region, "end of binding {}\n", this.number);
///     }
/// }
/// ```
pub trait Driver {
    /// What the driver has while it is bound to a region.
    type Data<'bound>: Send + 'bound;

    /// Binds the driver to a region, which is committed.
    fn probe<'bound>(
        region: &'bound Region<device::Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound;

    /// Unbinds the driver from a region, before its data is dropped.
    fn unbind<'bound>(region: &'bound Region<device::Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let _ = (region, this);
    }
}

/// An adapter for the registration of region drivers; see [`module_cxl_region_driver!`].
///
/// # Examples
///
/// What that macro does, for a module that also does something else:
///
/// ```no_run
/// # use holdfast_cxl::cxl::{self, Region};
/// # use kernel::device::Core;
/// # struct Driver;
/// #
/// # impl cxl::Driver for Driver {
/// #     type Data<'bound> = ();
/// #
/// #     fn probe<'bound>(
/// #         _region: &'bound Region<Core<'_>>,
/// #     ) -> impl PinInit<(), Error> + 'bound {
/// #         Ok(())
/// #     }
/// # }
/// #
/// use kernel::driver;
///
/// type Registration = driver::Registration<cxl::Adapter<Driver>>;
///
/// fn register(module: &'static ThisModule) -> Result<Pin<KBox<Registration>>> {
///     KBox::pin_init(Registration::new(c"example", module), GFP_KERNEL)
/// }
/// ```
///
/// [`module_cxl_region_driver!`]: crate::module_cxl_region_driver
pub struct Adapter<T: Driver>(PhantomData<T>);

// SAFETY: `RawDriver` is `struct cxl_driver`, which the C side asserts; `drv` is its
// `struct device_driver`. `T::Data` is what `probe_callback` stores.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = RawDriver;
    type DriverData<'bound> = T::Data<'bound>;
    const DEVICE_DRIVER_OFFSET: usize = core::mem::offset_of!(RawDriver, drv);
}

// SAFETY: What `register` has registered can be unregistered.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        driver: &Opaque<RawDriver>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: The fields of a driver may be set before it is registered.
        unsafe {
            (*driver.get()).name = name.as_char_ptr();
            (*driver.get()).probe = Some(Self::probe_callback);
            (*driver.get()).remove = Some(Self::remove_callback);
        }
        // SAFETY: By the safety requirements, it stays where it is.
        unsafe { register_driver(driver.get(), module, name) }
    }

    unsafe fn unregister(driver: &Opaque<RawDriver>) {
        // SAFETY: By the safety requirements, it is registered.
        unsafe { unregister_driver(driver.get()) };
    }
}

/// Not generic, so that only this module imports what the CXL core exports.
///
/// # Safety
///
/// `driver` must be initialised, and stay valid until [`unregister_driver`].
#[inline(never)]
unsafe fn register_driver(
    driver: *mut RawDriver,
    module: &'static ThisModule,
    name: &'static CStr,
) -> Result {
    // SAFETY: By the safety requirements.
    to_result(unsafe {
        shims::holdfast_cxl_driver_register(driver, module.as_ptr(), name.as_char_ptr())
    })
}

/// # Safety
///
/// [`register_driver`] must have registered `driver`.
#[inline(never)]
unsafe fn unregister_driver(driver: *mut RawDriver) {
    // SAFETY: By the safety requirements.
    unsafe { shims::holdfast_cxl_driver_unregister(driver) };
}

impl<T: Driver> Adapter<T> {
    /// # Safety
    ///
    /// The CXL bus calls this with a device that it binds to this driver, and locks.
    pub(crate) unsafe extern "C" fn probe_callback(device: *mut bindings::device) -> c_int {
        // SAFETY: By the safety requirements. The bus matches regions only, and `Region` is one.
        let region = unsafe { &*device.cast::<Region<device::CoreInternal<'_>>>() };

        from_result(|| {
            if !region.is_region() {
                return Err(ENODEV);
            }
            // Not the driver's business: it would be offered again by a write to `bind`.
            region.parameters()?;
            region.as_ref().set_drvdata(T::probe(region))?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// The CXL bus calls this with a device that `probe_callback` has bound, and locks.
    unsafe extern "C" fn remove_callback(device: *mut bindings::device) {
        // SAFETY: As in `probe_callback`.
        let region = unsafe { &*device.cast::<Region<device::CoreInternal<'_>>>() };
        // SAFETY: `probe_callback` has stored it, and `driver::Registration` takes it after this.
        let data = unsafe { region.as_ref().drvdata_borrow::<T::Data<'_>>() };

        T::unbind(region, data);
    }
}

/// How far the configuration of a region has come.
///
/// # Examples
///
/// ```no_run
/// use holdfast_cxl::cxl::{Region, State};
///
/// fn is_usable(region: &Region) -> bool {
///     region.state() == State::Committed
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything can be set.
    Idle,
    /// It has a size, so its interleaving is fixed.
    InterleaveActive,
    /// It has all its targets.
    Active,
    /// It is about to be taken out of the decoders.
    ResetPending,
    /// It is in the decoders: there is memory behind it.
    Committed,
}

impl State {
    /// What the kernel calls `state`, as `rust/helpers/cxl.c` asserts.
    pub(crate) fn from_raw(state: c_uint) -> Self {
        match state {
            0 => Self::Idle,
            1 => Self::InterleaveActive,
            2 => Self::Active,
            3 => Self::ResetPending,
            _ => Self::Committed,
        }
    }
}

/// What the memory of a region is.
///
/// # Examples
///
/// ```
/// use holdfast_cxl::cxl::Mode;
///
/// assert_eq!(Mode::Ram.name(), "ram");
/// assert_eq!(Mode::Pmem.name(), "pmem");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Volatile memory.
    Ram,
    /// Persistent memory.
    Pmem,
}

impl Mode {
    /// What sysfs calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ram => "ram",
            Self::Pmem => "pmem",
        }
    }
}

/// How a committed region is made up.
///
/// # Examples
///
/// ```no_run
/// use holdfast_cxl::cxl::Region;
/// use kernel::device::Bound;
///
/// fn bytes_per_target(region: &Region<Bound>) -> Result<u64> {
///     let parameters = region.parameters()?;
///     assert!(parameters.start < parameters.start + parameters.size());
///     Ok(parameters.size() / u64::from(parameters.interleave_ways))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Its first host physical address.
    pub start: u64,
    /// Its last host physical address.
    pub end: u64,
    /// Over how many targets it is interleaved.
    pub interleave_ways: u32,
    /// How many bytes of one target follow each other.
    pub interleave_granularity: u32,
    /// How many targets it has.
    pub targets: u32,
    /// What its memory is.
    pub mode: Mode,
}

impl Parameters {
    /// Its size in bytes.
    pub const fn size(&self) -> u64 {
        self.end - self.start + 1
    }
}

/// A CXL region.
///
/// # Examples
///
/// ```no_run
/// use holdfast_cxl::cxl::Region;
/// use kernel::device::Bound;
///
/// /// Says what a region is made of.
/// fn describe(region: &Region<Bound>) -> Result {
///     let parameters = region.parameters()?;
///     for position in 0..parameters.targets {
///         dev_info!(region, "target {position}: {}\n", &*region.target(position)?);
///     }
///     Ok(())
/// }
/// ```
///
/// # Invariants
///
/// It is a `struct cxl_region`, which begins with its `struct device`.
#[repr(transparent)]
pub struct Region<Ctx: device::DeviceContext = device::Normal>(
    Opaque<bindings::device>,
    PhantomData<Ctx>,
);

impl<Ctx: device::DeviceContext> Region<Ctx> {
    fn as_raw(&self) -> *mut bindings::device {
        self.0.get()
    }

    /// Whether the type invariants hold.
    #[inline(never)]
    fn is_region(&self) -> bool {
        // SAFETY: It is a device.
        unsafe { shims::holdfast_cxl_is_region(self.as_raw()) }
    }

    /// How far its configuration has come. It can change at any time.
    #[inline(never)]
    pub fn state(&self) -> State {
        // SAFETY: By the type invariants.
        State::from_raw(unsafe { shims::holdfast_cxl_state(self.as_raw()) })
    }
}

impl Region<Bound> {
    /// How the region is made up.
    ///
    /// The parameters belong together: those of a committed region do not change. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENXIO`] if it is not committed, or is being taken away; [`EINTR`] if a signal is pending.
    #[inline(never)]
    pub fn parameters(&self) -> Result<Parameters> {
        let mut found = shims::Parameters::default();
        // SAFETY: By the type invariants; `found` is valid for writes.
        to_result(unsafe { shims::holdfast_cxl_parameters(self.as_raw(), &mut found) })?;
        // A range from 0 to the end of all is how the core says that there is none; its size is not
        // a number.
        let last = found.end.checked_sub(found.start).ok_or(ENXIO)?;
        if last == u64::MAX || found.ways == 0 {
            return Err(ENXIO);
        }
        Ok(Parameters {
            start: found.start,
            end: found.end,
            interleave_ways: found.ways,
            interleave_granularity: found.granularity,
            targets: found.targets,
            mode: match found.mode {
                0 => Mode::Ram,
                _ => Mode::Pmem,
            },
        })
    }

    /// The name of the endpoint decoder at a position of the interleaving. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENXIO`] if there is none; [`EINTR`] if a signal is pending; [`ENOMEM`].
    #[inline(never)]
    pub fn target(&self, position: u32) -> Result<CString> {
        let mut page = KVec::<u8>::from_elem(0, PAGE_SIZE, GFP_KERNEL)?;
        // SAFETY: By the type invariants. The memory of a page is aligned to that.
        to_result(unsafe {
            shims::holdfast_cxl_target(self.as_raw(), position, page.as_mut_ptr().cast())
        })?;
        let name = CStr::from_bytes_until_nul(&page).map_err(|_| EIO)?;
        if name.to_bytes().is_empty() {
            return Err(ENXIO);
        }
        Ok(CString::try_from(name)?)
    }

    /// Claims the memory of the region for this driver, as `name`, and maps it.
    ///
    /// # Errors
    ///
    /// As [`Region::parameters`]; [`EBUSY`] if somebody else has claimed a part of it; [`ENOMEM`].
    #[inline(never)]
    pub fn map(&self, name: &'static CStr) -> Result<Memory<'_>> {
        let parameters = self.parameters()?;
        let (start, size) = (parameters.start, parameters.size());
        if start % PAGE_SIZE as u64 != 0 || size % PAGE_SIZE as u64 != 0 {
            return Err(ENXIO);
        }
        let length = usize::try_from(size)?;

        // The claim is shown under its name for as long as it exists, also where this was forgotten
        // and the driver's module is gone with the name that it gave.
        let name = CString::try_from(name)?;

        // SAFETY: May be called anywhere that may sleep; the name is kept with the claim.
        let address =
            from_err_ptr(unsafe { shims::holdfast_cxl_map(start, size, name.as_char_ptr()) })
                .inspect_err(|error| {
                    if *error == EBUSY {
                        dev_err!(
                            self,
                            "its memory is in use: unbind who has it, as /proc/iomem tells\n"
                        );
                    }
                })?;
        // INVARIANT: Mapped just now.
        Ok(Memory {
            address: NonNull::new(address.cast()).ok_or(ENXIO)?,
            start,
            length,
            _name: Some(name),
            _region: PhantomData,
        })
    }
}

// SAFETY: The `struct device` of a region is at its start.
unsafe impl<Ctx: device::DeviceContext> AsBusDevice<Ctx> for Region<Ctx> {
    const OFFSET: usize = 0;
}

// SAFETY: `Region` is a transparent wrapper of a type that does not depend on its argument.
kernel::impl_device_context_deref!(unsafe { Region });
kernel::impl_device_context_into_aref!(Region);

// SAFETY: A region is counted by its device.
unsafe impl AlwaysRefCounted for Region {
    fn inc_ref(&self) {
        // SAFETY: A shared reference keeps the count above zero.
        unsafe { bindings::get_device(self.as_raw()) };
    }

    unsafe fn dec_ref(region: NonNull<Self>) {
        // SAFETY: By the safety requirements, the caller gives up a reference.
        unsafe { bindings::put_device(region.cast().as_ptr()) };
    }
}

impl<Ctx: device::DeviceContext> AsRef<device::Device<Ctx>> for Region<Ctx> {
    fn as_ref(&self) -> &device::Device<Ctx> {
        // SAFETY: By the type invariants, it begins with its device.
        unsafe { device::Device::from_raw(self.as_raw()) }
    }
}

// SAFETY: A region can be released by any task.
unsafe impl Send for Region {}
// SAFETY: All that can be done with a shared reference can be done by any task.
unsafe impl Sync for Region {}
// SAFETY: As above; the context is a marker.
unsafe impl Sync for Region<Bound> {}

// SAFETY: Both are the device.
unsafe impl Parent for Region<Bound> {
    type Ref<'a> = &'a Self;

    // Never inlined: in another crate `this_module` would be that of the driver.
    #[inline(never)]
    fn above<'a: 'a>(region: &'a Self) -> Result<Place<'a>> {
        // An open file has the memory of the region, which the core releases, and the core is a
        // module that this one needs.
        Ok(Place::below_device(region.as_ref())?.holding(this_module::<crate::HoldfastCxl>()))
    }

    unsafe fn from_child<'a>(child: Child<'a>) -> &'a Self {
        // SAFETY: By the safety requirements, `above` gave the device of a region.
        unsafe { <Self as AsBusDevice<Bound>>::from_device(child.device()) }
    }
}

/// The memory of a region, claimed and mapped, while a driver is bound to that.
///
/// It borrows from the binding, so it cannot be used after that: kept in [`Driver::Data`] or in
/// [`Operations::Bound`](holdfast::object::Operations::Bound), it is unmapped before the unbind is
/// over, and when nobody uses it any more. What is forgotten stays claimed and mapped: nobody can
/// have that memory again.
///
/// User space may have mapped the same memory, and change it at any time. So there are no
/// references into it, only copies.
///
/// # Examples
///
/// ```no_run
/// use holdfast::chardev;
/// use holdfast_cxl::cxl::Memory;
/// use kernel::iov::{IovIterDest, IovIterSource};
///
/// /// What a file of the memory does: at the end there is nothing more to read.
/// fn read(memory: &Memory<'_>, at: i64, buffer: &mut IovIterDest<'_>) -> Result<usize> {
///     let at = usize::try_from(at)?.min(memory.size());
///     memory.copy_to(at, buffer)
/// }
///
/// fn write(memory: &Memory<'_>, at: i64, buffer: &mut IovIterSource<'_>) -> Result<usize> {
///     memory.copy_from(usize::try_from(at)?, buffer)
/// }
///
/// fn fault<'a>(memory: &'a Memory<'_>, page: usize) -> Result<chardev::Memory<'a>> {
///     assert!(memory.start() % 4096 == 0);
///     memory.page(page)
/// }
/// ```
///
/// # Invariants
///
/// `length` bytes from the physical address `start` on are claimed, and mapped at `address`,
/// cached. Both are multiples of the size of a page. The claim has the name that `_name` has.
pub struct Memory<'bound> {
    address: NonNull<u8>,
    start: u64,
    length: usize,
    // Dropped after the claim is given back. None is a test's.
    _name: Option<CString>,
    _region: PhantomData<&'bound Region<Bound>>,
}

// SAFETY: The mapping is the kernel's, and no task's.
unsafe impl Send for Memory<'_> {}
// SAFETY: All that can be done with a shared reference is to copy, which any number of tasks and
// user space can do at once.
unsafe impl Sync for Memory<'_> {}

#[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
impl<'a> Memory<'a> {
    /// Memory that a test must neither drop nor copy from behind the end of `page`.
    pub(crate) fn of_test(page: &'a mut [u8], length: usize) -> Self {
        Self {
            address: NonNull::from(page).cast(),
            start: 0,
            length,
            _name: None,
            _region: PhantomData,
        }
    }
}

impl Memory<'_> {
    /// Its first physical address.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.length
    }

    /// Copies from `offset` on to `buffer`, as far as both reach; the number of bytes.
    ///
    /// A task that is killed stops before that. May sleep.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `offset` is behind the end; [`EFAULT`] if nothing could be copied: the buffer
    /// is not there, or the memory is poisoned.
    #[inline(never)]
    pub fn copy_to(&self, offset: usize, buffer: &mut IovIterDest<'_>) -> Result<usize> {
        let length = self.length.checked_sub(offset).ok_or(EINVAL)?;
        let length = length.min(buffer.len());
        // SAFETY: By the type invariants and the check above, all of it is in the mapping.
        let copied = unsafe {
            let from = self.address.as_ptr().add(offset);
            shims::holdfast_cxl_copy_to_iter(from.cast(), length, buffer.as_raw())
        };
        if copied == 0 && length != 0 {
            return Err(EFAULT);
        }
        Ok(copied)
    }

    /// Copies from `buffer` to `offset` and on, as far as both reach; the number of bytes.
    ///
    /// A task that is killed stops before that. May sleep.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `offset` is behind the end; [`EFAULT`] if nothing could be copied.
    #[inline(never)]
    pub fn copy_from(&self, offset: usize, buffer: &mut IovIterSource<'_>) -> Result<usize> {
        let length = self.length.checked_sub(offset).ok_or(EINVAL)?;
        let length = length.min(buffer.len());
        // SAFETY: As in `copy_to`.
        let copied = unsafe {
            let to = self.address.as_ptr().add(offset);
            shims::holdfast_cxl_copy_from_iter(to.cast(), length, buffer.as_raw())
        };
        if copied == 0 && length != 0 {
            return Err(EFAULT);
        }
        Ok(copied)
    }

    /// A page of it, for user space: what `fault` of a character device returns.
    ///
    /// It can be mapped where `mmap` has said that there is memory of a device, and that it is
    /// [cached](chardev::Caching::Cached); elsewhere it is SIGBUS.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is no such page.
    pub fn page(&self, index: usize) -> Result<chardev::Memory<'_>> {
        if index >= self.length >> PAGE_SHIFT {
            return Err(EINVAL);
        }
        let address = self.start + ((index as u64) << PAGE_SHIFT);
        // SAFETY: By the type invariants, the frame is claimed, and the kernel maps it cached.
        // It is memory, which user space may read and write. Whoever has this for as long as an
        // access has it from what is bound, or from what is leaked.
        Ok(unsafe { chardev::Memory::from_device(address, chardev::Caching::Cached) })
    }
}

impl Drop for Memory<'_> {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: By the type invariants, and nobody can use it any more.
        unsafe {
            shims::holdfast_cxl_unmap(self.address.as_ptr().cast(), self.start, self.length as u64)
        };
    }
}

/// Declares a kernel module that exposes a single driver of CXL regions.
///
/// # Examples
///
/// ```no_run
/// use holdfast_cxl::cxl::{self, Region};
/// use kernel::device::Core;
///
/// struct Driver;
///
/// impl cxl::Driver for Driver {
///     type Data<'bound> = ();
///
///     fn probe<'bound>(
///         region: &'bound Region<Core<'_>>,
///     ) -> impl PinInit<(), Error> + 'bound {
///         dev_info!(region, "it is committed\n");
///         Ok(())
///     }
/// }
///
/// # #[cfg(any())] // It makes a module of the crate, which the examples are already.
/// holdfast_cxl::module_cxl_region_driver! {
///     type: Driver,
///     name: "example",
///     authors: ["Author name"],
///     description: "A driver for CXL regions",
///     license: "GPL",
/// }
/// ```
#[macro_export]
macro_rules! module_cxl_region_driver {
    ($($f:tt)*) => {
        ::kernel::module_driver!(<T>, $crate::cxl::Adapter<T>, { $($f)* });
    };
}
