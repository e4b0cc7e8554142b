// SPDX-License-Identifier: GPL-2.0

//! Objects: memory that outlives what it does.
//!
//! An [`Object`] embeds a `struct device`, whose reference count owns its memory. It is made as an
//! [`Unregistered`], which nobody else can reach, and becomes visible to the system as a
//! [`Registration`]. References to it, [`ARef<Object<T>>`], outlive both.
//!
//! What the object *does* is [`Operations::Bound`]. It is made when the object is registered, it
//! may borrow from the binding of the parent device, and it is dropped when the registration ends,
//! when nobody uses it any more. The only way to it is through the door, [`Object::access`].
//!
//! # The end of a registration
//!
//! It ends once, whoever asks: [`Object::unregister`], the drop of the [`Registration`], the unbind
//! of the parent device, or the failure of the registration itself. One caller does it, and the
//! others return when it is done. In this order:
//!
//! 1. the door is closed: whoever comes now gets [`ENODEV`];
//! 2. [`Operations::wake`] wakes who sleeps inside;
//! 3. the object is unlinked from the system (sysfs, devtmpfs);
//! 4. those who are still inside leave;
//! 5. the per-file data of open files is dropped;
//! 6. [`Operations::Bound`] is dropped;
//! 7. the number in the class is given back, and the reference of the registration dropped.
//!
//! # Nothing of a driver is called after that
//!
//! Releasing the memory is the library's own, and runs safely at any later time, also after the
//! driver's module is gone. This is why [`Operations::Data`] must not need to be dropped.

use crate::{
    chardev,
    class::{
        Class,
        Membership,
        RegisteredClass, //
    },
    hold_library,
    platform::{
        current_task,
        KernelWord,
        WaitQueue, //
    },
    protocol::{
        Claim,
        Lost,
        Protocol, //
    },
    release_library,
    shims, //
};

use core::{
    cell::UnsafeCell,
    convert::Infallible,
    mem::MaybeUninit,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device::{
        self,
        AsBusDevice,
        Bound, //
    },
    error::to_result,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        Arc,
        Mutex, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// What a driver says of its objects.
///
/// # Examples
///
/// A register of a PCI device, offered as an object:
///
/// ```ignore
/// impl object::Operations for Pf {
///     type Parent = pci::Device<Bound>;
///     type Data = ();
///     type Bound<'bound> = pci::Bar<'bound, 0x10>;
///     type Argument = ();
///     const CLASS: Class = Class::new(c"example", c"example");
///
///     fn bind<'bound>(
///         _object: &'bound Object<Self>,
///         pdev: &'bound pci::Device<Bound>,
///         _argument: (),
///     ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
///         pdev.iomap_region_sized::<0x10>(0, c"example")
///     }
/// }
/// ```
pub trait Operations: Sized + Send + Sync + 'static {
    /// The device under which the objects are registered, and with whose binding they end.
    type Parent: Parent;

    /// Data that lives as long as the memory of the object, reachable through any reference to it.
    ///
    /// It must not need to be dropped, because the memory may outlive the driver's module. What
    /// needs to be dropped belongs into [`Operations::Bound`].
    type Data: Send + Sync;

    /// Data that lives from the registration of the object to its end.
    ///
    /// `'bound` is the binding of the parent device: the data may hold what borrows from it, such
    /// as a mapped BAR.
    type Bound<'bound>: Send + Sync + 'bound;

    /// What [`Operations::bind`] is given by [`Unregistered::register`].
    type Argument: 'static;

    /// The class of the objects.
    const CLASS: Class;

    /// The functions of the character device of the objects, if they have one:
    /// [`chardev::Functions::of`] the same type.
    const CHARACTER_DEVICE: Option<chardev::Functions> = None;

    /// Makes the data that lives until the end of the registration.
    ///
    /// Called once in the life of an object, by [`Unregistered::register`], before anybody can see
    /// the object. May sleep. An error ends the object.
    ///
    /// It is a function for every `'bound`, and not an argument of `register`, so that what it
    /// returns can borrow from the binding of `parent` and from the object, and from nothing that
    /// lives less long.
    fn bind<'bound>(
        object: &'bound Object<Self>,
        parent: &'bound Self::Parent,
        argument: Self::Argument,
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound;

    /// Wakes whoever sleeps inside, because the door has just been closed.
    ///
    /// Called once for a registration that ends, before it waits for those inside to leave. May
    /// sleep. A driver whose operations wait for something wakes them here; they find
    /// [`Object::is_registered`] false and return.
    fn wake(object: &Object<Self>) {
        let _ = object;
    }
}

/// A bound device that objects can be registered under.
///
/// # Safety
///
/// [`Parent::from_device`] must return the `Self` whose [`Parent::as_device`] it is given.
pub unsafe trait Parent: 'static {
    /// The generic device of `self`.
    fn as_device(&self) -> &device::Device<Bound>;

    /// The reverse of [`Parent::as_device`].
    ///
    /// # Safety
    ///
    /// `device` must be a device that [`Parent::as_device`] of this type returned.
    unsafe fn from_device(device: &device::Device<Bound>) -> &Self;
}

// SAFETY: The identity.
unsafe impl Parent for device::Device<Bound> {
    fn as_device(&self) -> &device::Device<Bound> {
        self
    }

    unsafe fn from_device(device: &device::Device<Bound>) -> &Self {
        device
    }
}

/// Makes a bus device a [`Parent`].
macro_rules! impl_parent {
    ($($(#[$attribute:meta])* $device:ty),* $(,)?) => {$(
        $(#[$attribute])*
        // SAFETY: `AsBusDevice` inverts `AsRef`.
        unsafe impl Parent for $device {
            fn as_device(&self) -> &device::Device<Bound> {
                self.as_ref()
            }

            unsafe fn from_device(device: &device::Device<Bound>) -> &Self {
                // SAFETY: By the safety requirements, `device` is the one of a `Self`.
                unsafe { <Self as AsBusDevice<Bound>>::from_device(device) }
            }
        }
    )*};
}

impl_parent! {
    kernel::faux::Device<Bound>,
    kernel::platform::Device<Bound>,
    #[cfg(CONFIG_PCI)]
    kernel::pci::Device<Bound>,
}

/// The functions of a driver that the library calls, with the type of the object erased.
///
/// They lie in the driver's module, so they are called only inside the door or by the owner of the
/// teardown: the registration has not ended then, and it ends before the driver is gone.
pub(crate) struct Functions {
    /// # Safety
    ///
    /// The header must be one of an object of this type.
    wake: unsafe fn(&Header),

    /// # Safety
    ///
    /// The header must be one of an object of this type. Its bound data must be initialised, and
    /// must not be used any more.
    drop_bound: unsafe fn(&Header),

    /// The functions of the character device, if there is one.
    pub(crate) chardev: Option<chardev::Functions>,
}

/// How an object is linked into the system.
enum Link {
    None,
    Device,
    CharacterDevice { _node: chardev::Node },
}

/// Somebody inside the door of an object.
///
/// # Invariants
///
/// Counted by the protocol of the object.
pub(crate) struct Inside<'a>(&'a Header);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.protocol.leave(&self.0.waiters);
    }
}

/// The part of an object that does not depend on its type.
///
/// # Invariants
///
/// - It is the first field of an [`Object`] that was allocated with `kmalloc`, and `device` is
///   initialised; its release function is [`Header::release`], which frees the object.
/// - The object holds this module.
/// - `link`, `parent` and `membership` are written before `protocol` is `Registered`, by the one
///   who registers, and from then on only by the owner of the teardown; `parent` is not changed any
///   more once it is set.
/// - While the door is open, `parent` is set and bound, and the bound data is initialised.
#[pin_data]
#[repr(C)]
pub(crate) struct Header {
    #[pin]
    device: Opaque<bindings::device>,
    protocol: Protocol<KernelWord>,
    #[pin]
    waiters: WaitQueue,
    functions: &'static Functions,
    class: Arc<RegisteredClass>,
    membership: UnsafeCell<Option<Membership>>,
    parent: UnsafeCell<Option<ARef<device::Device>>>,
    link: UnsafeCell<Link>,
    #[pin]
    pub(crate) files: Mutex<chardev::OpenFiles>,
}

// SAFETY: The fields are synchronised as the type invariants say, the rest by the kernel.
unsafe impl Sync for Header {}

impl Header {
    fn new(functions: &'static Functions, membership: Membership) -> impl PinInit<Self> {
        // SAFETY: `write` initialises all of `slot`, and cannot fail.
        unsafe {
            pin_init::pin_init_from_closure(move |slot: *mut Self| {
                Self::write(slot, functions, membership)
            })
        }
    }

    /// Initialises `slot`.
    ///
    /// Never inlined: the names of locks would be copied into the driver's module, and lockdep
    /// wants one name for one class.
    ///
    /// # Safety
    ///
    /// `slot` must be valid for writes, and pinned.
    #[inline(never)]
    unsafe fn write(
        slot: *mut Self,
        functions: &'static Functions,
        membership: Membership,
    ) -> Result<(), Infallible> {
        let class = membership.class().clone();
        let init = pin_init!(Self {
            device <- pin_init::init_zeroed(),
            protocol: Protocol::new(),
            waiters <- WaitQueue::new(),
            functions,
            class,
            membership: UnsafeCell::new(Some(membership)),
            parent: UnsafeCell::new(None),
            link: UnsafeCell::new(Link::None),
            files <- chardev::OpenFiles::new(),
        });

        // SAFETY: By the safety requirements.
        unsafe { pin_init::raw_try_init(slot, init) }
    }

    /// Makes the embedded device of a new object one that the driver core can use.
    ///
    /// # Safety
    ///
    /// The type invariants must hold but for the device, which must be zeroed. The object may only
    /// be freed by putting the device, from now on.
    #[inline(never)]
    unsafe fn initialise_device(this: NonNull<Self>) {
        hold_library();

        let device = this.cast::<bindings::device>().as_ptr();
        // SAFETY: By the safety requirements and `repr(C)`, this is a zeroed `struct device` in
        // memory that does not move.
        unsafe {
            bindings::device_initialize(device);
            (*device).release = Some(Self::release);
            (*device).class = this.as_ref().class.as_raw();
        }
    }

    /// Frees the object. The driver core calls this when the last reference is put.
    ///
    /// # Safety
    ///
    /// `device` must be the embedded device of an object whose reference count is zero.
    unsafe extern "C" fn release(device: *mut bindings::device) {
        let this = device.cast::<Self>();

        // SAFETY: By the type invariants, `device` is the first field of a `Header` that is the
        // first field of an allocation made by `kmalloc`. Nobody else has a reference. The rest of
        // the object has nothing to drop: `Data` cannot have, and `Bound` was dropped, or never
        // made, because a registration holds a reference until it has ended.
        unsafe {
            core::ptr::drop_in_place(this);
            bindings::kfree(this.cast());
        }

        // SAFETY: `initialise_device` held the library. This returns to the driver core.
        unsafe { release_library() };
    }

    /// Names the device after its class and its number there.
    #[inline(never)]
    fn set_name(&self, class: &Class) -> Result {
        // SAFETY: By the type invariants, no registration has begun, so only the caller uses this.
        let membership = unsafe { &*self.membership.get() };
        let number = membership.as_ref().map_or(0, Membership::number);

        // SAFETY: `device` is initialised. The format takes a string and an unsigned integer.
        to_result(unsafe {
            bindings::dev_set_name(
                self.device.get(),
                c"%s%u".as_char_ptr(),
                class.prefix().as_char_ptr(),
                number as c_uint,
            )
        })
    }

    /// The embedded device.
    pub(crate) fn device(&self) -> &device::Device {
        // SAFETY: By the type invariants, the device is initialised, and a reference to `self`
        // keeps it.
        unsafe { device::Device::from_raw(self.device.get()) }
    }

    /// The functions of the driver, for whoever is inside.
    pub(crate) fn functions(&self) -> &Functions {
        self.functions
    }

    /// Enters the door, if it is open.
    #[inline(never)]
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        // INVARIANT: Counted by `enter`, if that returned true.
        self.protocol.enter(&self.waiters).then(|| Inside(self))
    }

    /// Begins the registration of an object below `parent`.
    #[inline(never)]
    fn begin_registration(&self, parent: &device::Device<Bound>) -> Result {
        self.protocol
            .begin_registration(current_task())
            .map_err(|_| ENODEV)?;

        // SAFETY: By the type invariants, the task that registers owns these fields, and a device
        // that is not added is not looked at by the driver core.
        unsafe {
            *self.parent.get() = Some(parent.into());
            (*self.device.get()).parent = device_pointer(parent);
        }
        Ok(())
    }

    /// Ends a registration whose bound data could not be made.
    #[inline(never)]
    fn fail_registration(&self) {
        self.protocol.abandon_registration(current_task());
        self.conclude();
    }

    /// Makes an object with bound data visible to the system.
    #[inline(never)]
    fn publish(&self) -> Result {
        self.protocol.open();

        let published = self.add_devres().and_then(|()| self.add_link());
        if published.is_err() {
            self.protocol.abandon_registration(current_task());
        }

        published
            .and_then(|()| {
                self.protocol
                    .finish_registration(current_task())
                    .map_err(|_: Lost| ENODEV)
            })
            .inspect_err(|_| self.tear_down())
    }

    /// Has the end of the parent's binding end the registration.
    fn add_devres(&self) -> Result {
        let device = ARef::from(self.device());

        // SAFETY: The parent is bound, so it has a devres list. The reference to the device, which
        // is leaked below, makes the header valid until the action has run or been removed.
        to_result(unsafe {
            shims::holdfast_devm_add_action(
                (*self.device.get()).parent,
                Self::parent_unbinds,
                self.device.get().cast(),
            )
        })?;

        core::mem::forget(device);
        Ok(())
    }

    /// Takes back [`Header::add_devres`], unless the parent's unbinding has begun.
    fn remove_devres(&self) -> Option<ARef<device::Device>> {
        // SAFETY: The parent exists, because `parent` holds it.
        let removed = unsafe {
            bindings::devm_remove_action_nowarn(
                (*self.device.get()).parent,
                Some(Self::parent_unbinds),
                self.device.get().cast(),
            )
        } == 0;

        // SAFETY: The action is gone, and the reference that it owned is this one.
        removed.then(|| unsafe { ARef::from_raw(NonNull::from(self.device())) })
    }

    /// The devres action.
    ///
    /// # Safety
    ///
    /// `data` must be the device of an object, and a reference to it is handed over.
    unsafe extern "C" fn parent_unbinds(data: *mut c_void) {
        // SAFETY: By the safety requirements, this is a device with a reference for us.
        let _device =
            unsafe { ARef::from_raw(NonNull::new_unchecked(data.cast::<device::Device>())) };
        // SAFETY: By the type invariants, it is the first field of a header.
        let this = unsafe { &*data.cast::<Self>() };

        // If the task that unbinds is the one that is ending the registration, then it has asked
        // for the unbinding from there, and goes on with it when this returns.
        let _ = this.unregister();
    }

    /// Adds the object to sysfs and, if it has a character device, to devtmpfs.
    fn add_link(&self) -> Result {
        let link = match self.functions.chardev {
            Some(_) => Link::CharacterDevice {
                _node: chardev::Node::add(self.device.get())?,
            },
            None => Link::Device,
        };

        // SAFETY: The device is initialised, named, and was never added. On an error `link` is
        // dropped, which takes back a character device.
        to_result(unsafe { bindings::device_add(self.device.get()) })?;

        // SAFETY: By the type invariants, the task that registers owns this field.
        unsafe { *self.link.get() = link };
        Ok(())
    }

    /// Ends the registration, or waits until whoever does it is done.
    #[inline(never)]
    fn unregister(&self) -> Result<Outcome> {
        match self.protocol.unregister(current_task(), &self.waiters) {
            Claim::Owner => {
                self.tear_down();
                Ok(Outcome::Done)
            }
            Claim::Ended => Ok(Outcome::AlreadyDone),
            Claim::WouldWaitForItself => Err(EDEADLK),
        }
    }

    /// The end of a registration. Must be called by the owner of the teardown only, with an open
    /// door.
    fn tear_down(&self) {
        self.protocol.close();

        // SAFETY: These are the functions for this object.
        unsafe { (self.functions.wake)(self) };

        // SAFETY: By the type invariants, the owner of the teardown owns this field.
        let link = unsafe { core::mem::replace(&mut *self.link.get(), Link::None) };
        if !matches!(link, Link::None) {
            // SAFETY: The device was added, and is taken away once, because `link` is.
            unsafe { bindings::device_del(self.device.get()) };
        }
        drop(link);

        self.protocol.drain(&self.waiters);

        chardev::drop_file_data(self);

        // SAFETY: These are the functions for this object. The door was open, so the bound data was
        // made; it is closed and nobody is inside, so nobody uses it.
        unsafe { (self.functions.drop_bound)(self) };

        let _reference = self.remove_devres();
        self.conclude();
    }

    /// The last step of every registration, by the owner of the teardown.
    fn conclude(&self) {
        // SAFETY: By the type invariants, the owner of the teardown owns this field.
        drop(unsafe { (*self.membership.get()).take() });

        self.protocol.end(&self.waiters);
    }
}

/// The pointer to a device.
fn device_pointer<Ctx: device::DeviceContext>(
    device: &device::Device<Ctx>,
) -> *mut bindings::device {
    // CAST: `device::Device` is a transparent wrapper of an `Opaque<bindings::device>`.
    core::ptr::from_ref(device).cast_mut().cast()
}

/// An object: memory with an embedded `struct device`, whose reference count owns it.
///
/// It dereferences to its [`Operations::Data`]. See the [module's documentation](self).
///
/// # Invariants
///
/// - It is initialised, and lives in an allocation of its own that [`Header::release`] frees.
/// - `bound` is initialised while the door is open, and until the owner of the teardown drops it.
#[repr(C)]
#[pin_data]
pub struct Object<T: Operations> {
    #[pin]
    header: Header,
    bound: UnsafeCell<MaybeUninit<T::Bound<'static>>>,
    #[pin]
    data: T::Data,
}

// SAFETY: `Data` and `Bound` are `Send` and `Sync`, and the last reference can be put by any task.
unsafe impl<T: Operations> Send for Object<T> {}
// SAFETY: As above, and `Header` is `Sync`.
unsafe impl<T: Operations> Sync for Object<T> {}

impl<T: Operations> Object<T> {
    const FUNCTIONS: Functions = Functions {
        wake: Self::wake,
        drop_bound: Self::drop_bound,
        chardev: T::CHARACTER_DEVICE,
    };

    /// # Safety
    ///
    /// `header` must be the one of an `Object<T>`.
    pub(crate) unsafe fn from_header(header: &Header) -> &Self {
        // SAFETY: By the safety requirements, and because the header is the first field.
        unsafe { &*core::ptr::from_ref(header).cast() }
    }

    /// # Safety
    ///
    /// As [`Functions::wake`] says.
    unsafe fn wake(header: &Header) {
        // SAFETY: By the safety requirements.
        T::wake(unsafe { Self::from_header(header) });
    }

    /// # Safety
    ///
    /// As [`Functions::drop_bound`] says.
    unsafe fn drop_bound(header: &Header) {
        // SAFETY: By the safety requirements.
        let this = unsafe { Self::from_header(header) };
        // SAFETY: By the safety requirements it is initialised, and this is its last use.
        unsafe { core::ptr::drop_in_place(this.bound.get().cast::<T::Bound<'_>>()) };
    }

    /// What is reachable inside the door.
    ///
    /// # Safety
    ///
    /// The caller must be inside the door for as long as the result exists, and hand it out only
    /// to code that works for any lifetimes.
    pub(crate) unsafe fn inside(&self) -> Access<'_, '_, T> {
        // SAFETY: By the type invariants of `Header`, the parent is set and bound while the door is
        // open, and until everybody inside has left. It was given as a `T::Parent` to `register`.
        let parent = unsafe {
            let device = (*self.header.device.get()).parent;
            T::Parent::from_device(device::Device::<Bound>::from_raw(device))
        };

        // SAFETY: By the type invariants, it is initialised until everybody inside has left.
        let bound = unsafe { &*self.bound.get().cast::<T::Bound<'_>>() };

        Access {
            object: self,
            bound,
            parent,
            _not_send: NotThreadSafe,
        }
    }

    /// Enters the door and calls `inside` there.
    ///
    /// While `inside` runs, the object is registered, its parent is bound, and everything in
    /// [`Operations::Bound`] can be used without another check. It may sleep; but the end of the
    /// registration waits for it, so it must not sleep for something that is not woken by
    /// [`Operations::wake`], and must not unregister the object itself.
    ///
    /// May be called in any context in which the caller holds a reference, except hard interrupts.
    ///
    /// The guard is lent, and never given away, so it cannot be forgotten.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the object is not registered, or not any more.
    ///
    /// # Examples
    ///
    /// ```ignore
    /// let status = object.access(|access| access.bar.read32(STATUS))?;
    /// ```
    pub fn access<R>(
        &self,
        inside: impl for<'access, 'bound> FnOnce(&Access<'access, 'bound, T>) -> R,
    ) -> Result<R> {
        let _inside = self.header.enter().ok_or(ENODEV)?;
        // SAFETY: Inside until the end of this function; the closure works for any lifetimes.
        Ok(inside(&unsafe { self.inside() }))
    }

    /// Whether the door is open: the object is registered and its end has not begun.
    ///
    /// Only a hint unless the caller is inside; there, false means that the end is waiting for it.
    pub fn is_registered(&self) -> bool {
        self.header.protocol.is_open()
    }

    /// Ends the registration, if it has not ended.
    ///
    /// May be called by anybody who has a reference, any number of times, also at once. When it
    /// returns without an error, the registration has ended, the parent's resources are not used
    /// any more, and the outcome says whether this call has done it. An object that was never
    /// registered can never be, after this.
    ///
    /// Sleeps until whoever is inside the door has left. The caller must not be inside it, and must
    /// not hold locks that [`Operations::wake`], the drop of [`Operations::Bound`], or those inside
    /// take.
    ///
    /// # Errors
    ///
    /// [`EDEADLK`] if the caller is the task that is registering or unregistering the object: it
    /// would wait for itself.
    pub fn unregister(&self) -> Result<Outcome> {
        self.header.unregister()
    }

    /// The number of references. For tests only: nothing can be done with it.
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn reference_count(&self) -> c_uint {
        // SAFETY: The device is initialised.
        unsafe { shims::holdfast_device_references(self.header.device.get()) }
    }

    /// The name of the embedded device.
    pub fn name(&self) -> &CStr {
        self.header.device().name()
    }
}

impl<T: Operations> Deref for Object<T> {
    type Target = T::Data;

    fn deref(&self) -> &T::Data {
        &self.data
    }
}

impl<T: Operations> AsRef<device::Device> for Object<T> {
    fn as_ref(&self) -> &device::Device {
        self.header.device()
    }
}

// SAFETY: The reference count of the embedded device owns the object, and every `Object` has one.
unsafe impl<T: Operations> AlwaysRefCounted for Object<T> {
    fn inc_ref(&self) {
        // SAFETY: A shared reference keeps the count above zero.
        unsafe { bindings::get_device(self.header.device.get()) };
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: By the safety requirements, the caller gives up a reference. The device is the
        // first field.
        unsafe { bindings::put_device(object.cast().as_ptr()) };
    }
}

/// What a call of [`Object::unregister`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This call has ended the registration.
    Done,
    /// It had ended before, or another caller has ended it meanwhile, or there was none.
    AlreadyDone,
}

/// The inside of the door of an object.
///
/// Lent to a driver's operations for as long as they run. It dereferences to
/// [`Operations::Bound`], whose lifetime `'bound` the driver cannot choose, so that nothing can be
/// put in there that lives less long, and nothing of it can be kept.
pub struct Access<'access, 'bound, T: Operations> {
    object: &'access Object<T>,
    bound: &'access T::Bound<'bound>,
    parent: &'access T::Parent,
    _not_send: NotThreadSafe,
}

impl<'access, T: Operations> Access<'access, '_, T> {
    /// The object.
    pub fn object(&self) -> &'access Object<T> {
        self.object
    }

    /// The parent device, which is bound.
    pub fn parent(&self) -> &'access T::Parent {
        self.parent
    }
}

impl<'bound, T: Operations> Deref for Access<'_, 'bound, T> {
    type Target = T::Bound<'bound>;

    fn deref(&self) -> &T::Bound<'bound> {
        self.bound
    }
}

/// An object that is not registered.
///
/// # Invariants
///
/// No registration of `object` has begun, and only this can begin one.
pub struct Unregistered<T: Operations> {
    object: ARef<Object<T>>,
}

impl<T: Operations> Unregistered<T> {
    /// Makes an object with `data`.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENOSPC`] if the class has no free number; what the registration of the class
    /// or the initialisation of `data` returns.
    pub fn new<E>(data: impl PinInit<T::Data, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        const {
            assert!(
                !core::mem::needs_drop::<T::Data>(),
                "the memory of an object may outlive the driver: what needs to be dropped belongs into Operations::Bound"
            )
        };

        let membership = Membership::new(&T::CLASS)?;
        let object = KBox::try_pin_init::<Error>(
            try_pin_init!(Object::<T> {
                header <- Header::new(&Object::<T>::FUNCTIONS, membership),
                bound: UnsafeCell::new(MaybeUninit::uninit()),
                data <- data,
            }? Error),
            GFP_KERNEL,
        )?;

        // SAFETY: The object stays where it is.
        let object = NonNull::from(KBox::leak(unsafe { Pin::into_inner_unchecked(object) }));
        // SAFETY: Initialised just now, but for the device; nobody else knows it.
        unsafe { Header::initialise_device(object.cast()) };
        // SAFETY: `device_initialize` made the reference that this is.
        let object = unsafe { ARef::from_raw(object) };

        // INVARIANT: Nobody else has a reference yet, and there is no other way to register.
        let this = Self { object };
        this.object.header.set_name(&T::CLASS)?;
        Ok(this)
    }

    /// Registers the object below `parent`, until `parent` is unbound at the latest.
    ///
    /// Makes the bound data with [`Operations::bind`], opens the door, and adds the object to sysfs
    /// and devtmpfs, in this order: whoever sees the object sees it complete. On an error all of
    /// it is undone, in the reverse order.
    ///
    /// May sleep. `parent` must stay bound while this runs, which its type shows.
    ///
    /// # Errors
    ///
    /// What [`Operations::bind`] and the driver core return; [`ENODEV`] if somebody asked for the
    /// end of the object before the registration was complete.
    pub fn register(self, parent: &T::Parent, argument: T::Argument) -> Result<Registration<T>> {
        self.object.header.begin_registration(parent.as_device())?;

        // The number in the class is the registration's from now on.
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is neither used again nor dropped, so the reference is moved.
        let object = unsafe { core::ptr::read(&this.object) };

        let slot = object.bound.get();
        // SAFETY: By the protocol, only the task that registers uses `bound` before the door is
        // open. On an error it stays uninitialised, and the door closed.
        let made = unsafe {
            pin_init::raw_try_init(
                slot.cast::<T::Bound<'_>>(),
                T::bind(&object, parent, argument),
            )
        };
        if let Err(error) = made {
            object.header.fail_registration();
            return Err(error);
        }

        object.header.publish()?;

        Ok(Registration { object })
    }
}

impl<T: Operations> Deref for Unregistered<T> {
    type Target = Object<T>;

    fn deref(&self) -> &Object<T> {
        &self.object
    }
}

impl<T: Operations> Drop for Unregistered<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, no registration has begun and none will, so this owns the
        // field.
        drop(unsafe { (*self.object.header.membership.get()).take() });
    }
}

/// The registration of an object.
///
/// It ends when this is dropped, at the latest; [`Object::unregister`] ends it earlier, and the
/// unbind of the parent ends it if this was forgotten.
#[must_use = "the registration ends when this is dropped"]
pub struct Registration<T: Operations> {
    object: ARef<Object<T>>,
}

impl<T: Operations> Deref for Registration<T> {
    type Target = Object<T>;

    fn deref(&self) -> &Object<T> {
        &self.object
    }
}

impl<T: Operations> Registration<T> {
    /// A reference to the object, which outlives its registration.
    pub fn reference(&self) -> ARef<Object<T>> {
        self.object.clone()
    }
}

impl<T: Operations> Drop for Registration<T> {
    fn drop(&mut self) {
        // A registration that is dropped by the task that is ending it ends when that goes on.
        let _ = self.object.unregister();
    }
}
