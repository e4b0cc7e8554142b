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
//! of the parent device, the end of the parent object, or the failure of the registration itself.
//! One caller does it, and the others return when it is done. In this order:
//!
//! 1. the door is closed: whoever comes now gets [`ENODEV`];
//! 2. [`Operations::wake`] wakes who sleeps inside;
//! 3. the same is done for all objects below, the newest first; and one grace period follows;
//! 4. the objects below, and then this, are unlinked from the system (sysfs, devtmpfs), those who
//!    are still inside leave, and [what calls the driver by itself](crate::callbacks) is cancelled;
//! 5. the objects below, the newest first, and then this, drop the per-file data of open files and
//!    [`Operations::Bound`];
//! 6. the number in the class is given back, and the reference of the registration dropped.
//!
//! # Nothing of a driver is called after that
//!
//! Releasing the memory is the library's own, and runs safely at any later time, also after the
//! driver's module is gone. [`Operations::Data`], and what the object keeps ([`Object::keep`]), are
//! dropped with the memory, or when the module goes, whichever is first: nobody is left then who
//! could look at them.

use crate::{
    attribute,
    binding::Binding,
    callbacks::{
        Callbacks,
        Declarations,
        Items, //
    },
    chardev,
    class::{
        Class,
        Membership,
        RegisteredClass, //
    },
    hold_library,
    memory::{
        self,
        Memory, //
    },
    release_library,
    revocable::{
        self,
        Above,
        Inside,
        Reference,
        Revocable, //
    },
    shims, //
};

pub use crate::revocable::Outcome;

use core::{
    cell::UnsafeCell,
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
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        rcu,
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
/// ```no_run
/// use holdfast::{
///     class::Class,
///     object::{self, Object, Registration, Unregistered},
/// };
/// use kernel::{device::Bound, io::Io, pci};
///
/// struct Pf;
///
/// impl object::Operations for Pf {
///     type Parent = pci::Device<Bound>;
///     type Structure = object::ClassDevice;
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
///
/// // What probe() does, and anybody who has a reference to the object. This is only compiled:
/// // it takes a PCI device.
/// fn probe(pdev: &pci::Device<Bound>) -> Result<Registration<Pf>> {
///     Unregistered::<Pf>::new(())?.register(pdev, ())
/// }
///
/// fn status(pf: &Object<Pf>) -> Result<u32> {
///     pf.access(|bar| bar.read32(0x8))
/// }
/// ```
pub trait Operations: Sized + Send + Sync + 'static {
    /// What the objects are registered below, and with what they end: a bus device that is bound,
    /// such as `pci::Device<Bound>`; any device that is bound, `Device<Bound>`; or an [`Object`] of
    /// another type.
    type Parent: Parent;

    /// The C structure of the objects that embeds the `struct device`: [`ClassDevice`], where there
    /// is nothing else in it.
    type Structure: Structure;

    /// Data that lives as long as the memory of the object, reachable through any reference to it.
    ///
    /// If it needs to be dropped, the last reference must be put where that may happen.
    type Data: Send + Sync + 'static;

    /// Data that lives from the registration of the object to its end.
    ///
    /// `'bound` is the binding of the parent device, or the registration of the parent object: the
    /// data may hold what borrows from it, such as a mapped BAR.
    type Bound<'bound>: Send + Sync + 'bound;

    /// What [`Operations::bind`] is given by [`Unregistered::register`].
    type Argument: 'static;

    /// The class of the objects.
    const CLASS: Class;

    /// The functions of the character device of the objects, if they have one:
    /// `Some(chardev::Functions::new())`.
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = None;

    /// The attributes of the objects in sysfs: see [`attribute`].
    const ATTRIBUTES: attribute::Groups<Self> = attribute::list![];

    /// What calls the driver by itself: work, timers and interrupts.
    const CALLBACKS: Callbacks<Self> = Callbacks::new();

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
        parent: <Self::Parent as Parent>::Ref<'bound>,
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

/// What objects can be registered below.
///
/// The devices of some buses are, any bound device is, and any object. An abstraction of another
/// bus says it of its devices.
///
/// # Safety
///
/// [`Parent::above`] must return what `parent` stands for, and [`Parent::from_child`] the reverse.
///
/// # Examples
///
/// ```
/// use holdfast::object::{Child, Parent, Place};
/// use kernel::{device::{Bound, Device}, faux};
///
/// /// A device of another bus.
/// #[repr(transparent)]
/// struct Card(Device<Bound>);
///
/// // SAFETY: Both are the device.
/// unsafe impl Parent for Card {
///     type Ref<'a> = &'a Self;
///
///     fn above<'a: 'a>(card: &'a Self) -> Result<Place<'a>> {
///         Place::below_device(&card.0)
///     }
///
///     unsafe fn from_child<'a>(child: Child<'a>) -> &'a Self {
///         // SAFETY: By the safety requirements; it is a transparent wrapper.
///         unsafe { &*core::ptr::from_ref(child.device()).cast::<Self>() }
///     }
/// }
///
/// # let device = faux::Registration::new(c"holdfast-card", None)?;
/// # let device: &Device<Bound> = device.as_ref().as_ref();
/// # // SAFETY: It is a transparent wrapper.
/// # let card = unsafe { &*core::ptr::from_ref(device).cast::<Card>() };
/// assert!(Card::above(card).is_ok());
/// # Ok::<(), Error>(())
/// ```
pub unsafe trait Parent: 'static {
    /// One that is bound, or registered, for `'a`.
    type Ref<'a>: Copy + Send + Sync;

    #[doc(hidden)]
    fn above<'a: 'a>(parent: Self::Ref<'a>) -> Result<Place<'a>>;

    /// # Safety
    ///
    /// `child` must be registered below one of this type, and its registration must not end for
    /// `'a`.
    #[doc(hidden)]
    unsafe fn from_child<'a>(child: Child<'a>) -> Self::Ref<'a>;
}

/// Where an object is registered. For implementations of [`Parent`].
pub struct Place<'a> {
    above: Above,
    device: &'a device::Device,
    module: Option<&'static ThisModule>,
}

impl<'a> Place<'a> {
    /// Below a bound device.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENODEV`] if the device is being unbound.
    pub fn below_device(device: &'a device::Device<Bound>) -> Result<Self> {
        Ok(Self {
            above: Above::Binding(Binding::of(device)?),
            device,
            module: None,
        })
    }

    /// Holds `module` for as long as the object has the device.
    ///
    /// For a bus that is a module: the object keeps the memory of the device, an open file keeps
    /// the object, and what releases that memory is in the bus. `module` is the one of the
    /// abstraction, which holds that of the bus.
    ///
    /// # Examples
    ///
    /// ```
    /// use holdfast::object::Place;
    /// use kernel::{device::{Bound, Device}, module::this_module};
    /// # use kernel::faux;
    ///
    /// /// For `Parent::above`. Never inlined: it is this module that is meant.
    /// #[inline(never)]
    /// fn above(device: &Device<Bound>) -> Result<Place<'_>> {
    ///     Ok(Place::below_device(device)?.holding(this_module::<crate::LocalModule>()))
    /// }
    ///
    /// # let device = faux::Registration::new(c"holdfast-place", None)?;
    /// assert!(above(device.as_ref().as_ref()).is_ok());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn holding(self, module: &'static ThisModule) -> Self {
        Self {
            module: Some(module),
            ..self
        }
    }
}

/// A module that is held.
///
/// # Invariants
///
/// It is null, as that of what is built in, or held once for this.
struct HeldModule(*mut bindings::module);

impl HeldModule {
    fn new(module: &'static ThisModule) -> Self {
        let module = module.as_ptr();
        // SAFETY: It is there and in use: its abstraction of a bus is registering something.
        unsafe { shims::holdfast_module_get(module) };
        // INVARIANT: Held just now.
        Self(module)
    }
}

impl Drop for HeldModule {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { shims::holdfast_module_put(self.0) };
    }
}

/// An object that is registered below another. For implementations of [`Parent`].
#[derive(Clone, Copy)]
pub struct Child<'a>(&'a Header);

impl<'a> Child<'a> {
    /// The device that it was registered below.
    ///
    /// # Safety
    ///
    /// It must have been registered with [`Place::below_device`], and its registration must not end
    /// for `'a`.
    pub unsafe fn device(self) -> &'a device::Device<Bound> {
        // SAFETY: By the type invariants of `Header`, the parent is set while it is registered; by
        // the safety requirements, it is bound, because the registration ends with that.
        unsafe { device::Device::from_raw((*self.0.device()).parent) }
    }
}

// SAFETY: Both are the device.
unsafe impl Parent for device::Device<Bound> {
    type Ref<'a> = &'a Self;

    fn above<'a: 'a>(parent: &'a Self) -> Result<Place<'a>> {
        Place::below_device(parent)
    }

    unsafe fn from_child(child: Child<'_>) -> &Self {
        // SAFETY: By the safety requirements.
        unsafe { child.device() }
    }
}

/// Makes a bus device a [`Parent`].
macro_rules! impl_parent {
    ($($(#[$attribute:meta])* $device:ty),* $(,)?) => {$(
        $(#[$attribute])*
        // SAFETY: `AsBusDevice` inverts `AsRef`.
        unsafe impl Parent for $device {
            type Ref<'a> = &'a Self;

            fn above<'a: 'a>(parent: &'a Self) -> Result<Place<'a>> {
                Place::below_device(parent.as_ref())
            }

            unsafe fn from_child(child: Child<'_>) -> &Self {
                // SAFETY: By the safety requirements, `above` gave the device of a `Self`.
                unsafe { <Self as AsBusDevice<Bound>>::from_device(child.device()) }
            }
        }
    )*};
}

impl_parent! {
    kernel::platform::Device<Bound>,
    #[cfg(CONFIG_AUXILIARY_BUS)]
    kernel::auxiliary::Device<Bound>,
    #[cfg(CONFIG_PCI)]
    kernel::pci::Device<Bound>,
}

/// An object that is registered for `'a`.
///
/// [`Access::registered`] gives one for as long as the caller is inside the door, and
/// [`Operations::bind`] gets one for the parent object, which cannot end before its child.
///
/// # Examples
///
/// ```
/// # use holdfast::example::{self, Led};
/// # use kernel::sync::atomic::Relaxed;
/// # let device = example::device()?;
/// # let led = Led::register(device.as_ref().as_ref())?;
/// use holdfast::{
///     class::Class,
///     object::{self, Object, Registered, Unregistered},
/// };
///
/// /// Something that an LED does by itself.
/// struct Trigger;
///
/// impl object::Operations for Trigger {
///     type Parent = Object<Led>;
///     type Structure = object::ClassDevice;
///     type Data = ();
///     type Bound<'bound> = Registered<'bound, Led>;
///     type Argument = ();
///     const CLASS: Class = Class::new(c"holdfast_example_trigger", c"holdfast-example-trigger");
///
///     fn bind<'bound>(
///         _object: &'bound Object<Self>,
///         led: Registered<'bound, Led>,
///         _argument: (),
///     ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
///         Ok(led)
///     }
/// }
///
/// // Only who is inside of the LED can show that it is registered.
/// let trigger = Unregistered::<Trigger>::new(())?;
/// let trigger = led.access(|led| trigger.register(led.registered(), ()))??;
///
/// // Inside of the trigger, the LED cannot have ended: there is no error to handle.
/// trigger.access(|trigger| trigger.with(|led| led.brightness.store(100, Relaxed)))?;
/// assert_eq!(led.access(|led| led.brightness.load(Relaxed))?, 100);
/// let same = trigger.access(|trigger| core::ptr::eq(trigger.bound().object(), &*led))?;
/// assert!(same);
///
/// // The LED ends its trigger first.
/// led.unregister()?;
/// assert!(!trigger.is_registered());
/// # Ok::<(), Error>(())
/// ```
/// # Invariants
///
/// The registration of the object does not end for `'a`.
pub struct Registered<'a, T: Operations>(&'a Object<T>);

impl<T: Operations> Clone for Registered<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Operations> Copy for Registered<'_, T> {}

impl<'a, T: Operations> Registered<'a, T> {
    /// The object.
    pub fn object(self) -> &'a Object<T> {
        self.0
    }

    /// Calls `inside` with what is bound, without a check: there is nothing that could have ended.
    ///
    /// May be called in any context.
    pub fn with<R>(self, inside: impl for<'bound> FnOnce(&Access<'a, 'bound, T>) -> R) -> R {
        // SAFETY: By the type invariants, the registration does not end; the closure works for any
        // `'bound`.
        inside(&unsafe { self.0.inside() })
    }
}

// SAFETY: `above` is the object, to which its children have a reference.
unsafe impl<T: Operations> Parent for Object<T> {
    type Ref<'a> = Registered<'a, T>;

    fn above<'a: 'a>(parent: Registered<'a, T>) -> Result<Place<'a>> {
        Ok(Place {
            above: Above::Revocable(Reference::new(&parent.0.header.revocable)),
            device: parent.0.header.as_device(),
            module: None,
        })
    }

    unsafe fn from_child(child: Child<'_>) -> Registered<'_, T> {
        // SAFETY: By the safety requirements, the child is registered below the embedded device of
        // an `Object<T>`, to which it has a reference.
        let object = unsafe { Object::from_header(Header::of_device((*child.0.device()).parent)) };
        // INVARIANT: An object ends after its children.
        Registered(object)
    }
}

/// A C structure that embeds a `struct device`, of a subsystem.
///
/// The subsystem's abstraction implements this. The structure is part of the [`Object`], is zeroed
/// at first, and its memory is released with the object; the driver's data must not be in it.
///
/// # Safety
///
/// - All zeroes must be a value of the type, and it must be fine not to drop it.
/// - `DEVICE` must be the offset of a `struct device` in it, which nobody else initialises, and
///   whose `platform_data`, `groups` and `release` nobody else uses.
///
/// # Examples
///
/// ```
/// use holdfast::object::Structure;
/// # use holdfast::{class::Class, object::{self, Object, Unregistered}};
/// # use kernel::{device::{Bound, Device}, faux};
/// use kernel::bindings;
///
/// /// What a subsystem in C makes its devices of.
/// #[repr(C)]
/// struct Tuner {
///     channel: u32,
///     device: bindings::device,
/// }
///
/// // SAFETY: Zeroes are a value of it, and there is nothing to drop. The subsystem leaves the
/// // device to us.
/// unsafe impl Structure for Tuner {
///     const DEVICE: usize = core::mem::offset_of!(Tuner, device);
///
///     unsafe fn add(this: *mut Self) -> Result {
///         // SAFETY: By the safety requirements.
///         unsafe {
///             (*this).channel = 7;
///             kernel::error::to_result(bindings::device_add(&raw mut (*this).device))
///         }
///     }
/// }
///
/// struct Radio;
///
/// # impl object::Operations for Radio {
/// # type Parent = Device<Bound>;
/// // In impl object::Operations for Radio:
/// type Structure = Tuner;
/// # type Data = ();
/// # type Bound<'bound> = ();
/// # type Argument = ();
/// # const CLASS: Class = Class::new(c"holdfast_example_tuner", c"holdfast-example-tuner");
/// # fn bind<'bound>(
/// #     _object: &'bound Object<Self>,
/// #     _device: &'bound Device<Bound>,
/// #     _argument: (),
/// # ) -> impl PinInit<(), Error> + 'bound {
/// #     Ok(())
/// # }
/// # }
///
/// # let device = faux::Registration::new(c"holdfast-radio", None)?;
/// let radio = Unregistered::<Radio>::new(())?.register(device.as_ref().as_ref(), ())?;
/// assert!(radio.is_registered());
/// // The name of the embedded device:
/// assert_eq!(radio.name(), c"holdfast-example-tuner0");
/// # Ok::<(), Error>(())
/// ```
pub unsafe trait Structure: 'static {
    /// The offset of the embedded `struct device`.
    const DEVICE: usize;

    /// Adds the device to the system. The device is initialised, has its name, class and parent.
    ///
    /// # Safety
    ///
    /// `this` must point to the structure of an object that is being registered.
    unsafe fn add(this: *mut Self) -> Result {
        // SAFETY: By the safety requirements of the trait and of this.
        to_result(unsafe { bindings::device_add(this.byte_add(Self::DEVICE).cast()) })
    }

    /// Takes it out of the system again.
    ///
    /// # Safety
    ///
    /// `this` must have been added, and not been removed.
    unsafe fn remove(this: *mut Self) {
        // SAFETY: By the safety requirements of the trait and of this.
        unsafe { bindings::device_del(this.byte_add(Self::DEVICE).cast()) };
    }
}

/// A device of a class, and nothing else.
#[repr(transparent)]
pub struct ClassDevice(Opaque<bindings::device>);

// SAFETY: It is a `struct device`.
unsafe impl Structure for ClassDevice {
    const DEVICE: usize = 0;
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
    /// The header must be one of an object of this type that is being registered.
    add: unsafe fn(&Header) -> Result,

    /// # Safety
    ///
    /// The header must be one of an object of this type, which was added and not removed.
    remove: unsafe fn(&Header),

    /// # Safety
    ///
    /// The header must be one of an object of this type. Its bound data must be initialised, and
    /// must not be used any more.
    drop_bound: unsafe fn(&Header),

    /// Drops the data, if it needs that.
    ///
    /// # Safety
    ///
    /// The header must be one of an object of this type. Its data must not be used any more.
    drop_data: Option<unsafe fn(&Header)>,

    /// The callbacks.
    callbacks: Declarations,

    /// The functions of the character device, if there is one.
    pub(crate) chardev: Option<chardev::ErasedFunctions>,

    /// The attributes.
    attributes: attribute::ErasedGroups,
}

/// How an object is linked into the system.
enum Link {
    None,
    Device,
    CharacterDevice { _node: chardev::Node },
}

/// The part of an object that does not depend on its type.
///
/// # Invariants
///
/// - It is the first field of an [`Object`] that was allocated with `kmalloc`. `device` is embedded
///   in the same object, and initialised; its `platform_data` points to this, and its release
///   function is [`Header::release`], which frees the object.
/// - The object holds this module.
/// - `link`, `parent`, `module_of_parent` and `membership` are written before the object is
///   registered, by the one who registers, and from then on only by the owner of the teardown;
///   `parent` and `module_of_parent` are not changed any more once they are set.
/// - While the object is registered, `parent` is set, and the bound data is initialised.
#[pin_data]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) revocable: Revocable,
    device: *mut bindings::device,
    functions: &'static Functions,
    class: Arc<RegisteredClass>,
    membership: UnsafeCell<Option<Membership>>,
    parent: UnsafeCell<Option<ARef<device::Device>>>,
    // After `parent`, whose release may be in what this holds.
    module_of_parent: UnsafeCell<Option<HeldModule>>,
    link: UnsafeCell<Link>,
    memory: Memory,
    keeps_something: Atomic<bool>,
    // How many `ARef<Object<T>>` there are.
    typed_references: Atomic<usize>,
    callbacks: Items,
    #[pin]
    deferred: Opaque<bindings::work_struct>,
    #[pin]
    pub(crate) files: Mutex<chardev::OpenFiles>,
    #[pin]
    pub(crate) chardev: chardev::State,
}

// SAFETY: The fields are synchronised as the type invariants say, the rest by the kernel.
unsafe impl Sync for Header {}

/// What the end of an object's registration calls.
static REVOCABLE: revocable::Functions = revocable::Functions {
    hold: Header::hold,
    put: Header::put,
    driver: Header::driver_of,
    wake: Header::wake,
    unlink: Header::unlink,
    cancel: Header::cancel,
    drop_bound: Header::drop_bound,
    conclude: Header::conclude,
};

impl Header {
    /// The header of the object of which `revocable` is a part.
    ///
    /// # Safety
    ///
    /// `revocable` must be the one of an object.
    pub(crate) unsafe fn of_revocable(revocable: &Revocable) -> &Self {
        // SAFETY: By the safety requirements and because it is the first field.
        unsafe { &*core::ptr::from_ref(revocable).cast() }
    }

    /// The header of the object in which `device` is embedded.
    ///
    /// # Safety
    ///
    /// `device` must be embedded in an object, to which the caller has a reference for `'a`.
    pub(crate) unsafe fn of_device<'a>(device: *mut bindings::device) -> &'a Self {
        // SAFETY: By the safety requirements and the type invariants.
        unsafe { &*(*device).platform_data.cast() }
    }

    /// # Safety
    ///
    /// `revocable` must be the one of an object, to which the caller has a reference.
    unsafe fn hold(revocable: NonNull<Revocable>) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::get_device(Self::of_revocable(revocable.as_ref()).device) };
    }

    /// # Safety
    ///
    /// As [`Header::hold`]; the caller gives up a reference.
    unsafe fn put(revocable: NonNull<Revocable>) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::put_device(Self::of_revocable(revocable.as_ref()).device) };
    }

    /// # Safety
    ///
    /// `revocable` must be the one of an object.
    unsafe fn driver_of(revocable: &Revocable) -> *const c_void {
        // SAFETY: By the safety requirements.
        unsafe { Self::of_revocable(revocable) }.driver()
    }

    /// # Safety
    ///
    /// As [`revocable::Functions`] says, for an object.
    unsafe fn wake(revocable: &Revocable) {
        // SAFETY: By the safety requirements; these are the functions for this object.
        unsafe {
            let this = Self::of_revocable(revocable);
            (this.functions.wake)(this);
            chardev::wake_files(this);
        }
    }

    /// # Safety
    ///
    /// As [`revocable::Functions`] says, for an object.
    unsafe fn unlink(revocable: &Revocable) {
        // SAFETY: By the safety requirements and the type invariants, the owner of the teardown
        // owns `link`. It is taken once.
        unsafe {
            let this = Self::of_revocable(revocable);
            let link = core::mem::replace(&mut *this.link.get(), Link::None);
            if !matches!(link, Link::None) {
                (this.functions.remove)(this);
                this.functions.attributes.take_back(this.device);
            }
        }
    }

    /// # Safety
    ///
    /// As [`revocable::Functions`] says, for an object.
    unsafe fn cancel(revocable: &Revocable) {
        // SAFETY: By the safety requirements.
        unsafe { Self::of_revocable(revocable).callbacks.cancel() };
    }

    /// # Safety
    ///
    /// As [`revocable::Functions`] says, for an object.
    unsafe fn drop_bound(revocable: &Revocable) {
        // SAFETY: By the safety requirements, and because the door was open, the bound data is
        // there, and nobody uses it.
        unsafe {
            let this = Self::of_revocable(revocable);
            chardev::drop_file_data(this);
            (this.functions.drop_bound)(this);
        }
    }

    /// # Safety
    ///
    /// As [`revocable::Functions`] says, for an object.
    unsafe fn conclude(revocable: &Revocable) {
        // SAFETY: By the safety requirements and the type invariants, the owner of the teardown
        // owns this field.
        drop(unsafe { (*Self::of_revocable(revocable).membership.get()).take() });
    }

    fn new(
        device: usize,
        functions: &'static Functions,
        membership: Membership,
    ) -> impl PinInit<Self, Error> {
        // SAFETY: `write` initialises all of `slot`, or fails and leaves nothing there.
        unsafe {
            pin_init::pin_init_from_closure(move |slot: *mut Self| {
                Self::write(slot, device, functions, membership)
            })
        }
    }

    /// Initialises `slot`, whose device is `device` bytes behind it.
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
        device: usize,
        functions: &'static Functions,
        membership: Membership,
    ) -> Result {
        let class = membership.class().clone();
        let init = try_pin_init!(Self {
            revocable: Revocable::new(&REVOCABLE),
            device: slot.wrapping_byte_add(device).cast(),
            functions,
            class,
            membership: UnsafeCell::new(Some(membership)),
            parent: UnsafeCell::new(None),
            module_of_parent: UnsafeCell::new(None),
            link: UnsafeCell::new(Link::None),
            memory: Memory::default(),
            keeps_something: Atomic::new(false),
            // The one of `Unregistered`.
            typed_references: Atomic::new(1),
            // SAFETY: It becomes a part of this, and the functions are for this object.
            callbacks: unsafe {
                Items::new(NonNull::new_unchecked(slot), &functions.callbacks)?
            },
            // SAFETY: The shim initialises it.
            deferred <- unsafe {
                Opaque::ffi_init(|work| shims::holdfast_work_init(work, Self::run_deferred))
            },
            files <- chardev::OpenFiles::new(),
            chardev <- chardev::State::new(),
        }? Error);

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

        // SAFETY: By the safety requirements, this is a zeroed `struct device` in memory that does
        // not move.
        unsafe {
            let device = this.as_ref().device;
            bindings::device_initialize(device);
            (*device).release = Some(Self::release);
            (*device).class = this.as_ref().class.as_raw();
            (*device).platform_data = this.as_ptr().cast();
        }
    }

    /// Frees the object. The driver core calls this when the last reference is put.
    ///
    /// # Safety
    ///
    /// `device` must be the embedded device of an object whose reference count is zero.
    unsafe extern "C" fn release(device: *mut bindings::device) {
        // SAFETY: By the type invariants, this is the header of an object, at the start of an
        // allocation made by `kmalloc`. Nobody else has a reference. The rest of the object has
        // nothing to drop: `Data` is dropped by `memory`, and `Bound` was dropped, or never made,
        // because a registration holds a reference until it has ended.
        unsafe {
            let this: *mut Self = (*device).platform_data.cast();
            if (*this).keeps_something.load(Acquire) {
                memory::release(&*this);
            }
            core::ptr::drop_in_place(this);
            bindings::kfree(this.cast());
        }

        // SAFETY: `initialise_device` held the library. This returns to the driver core.
        unsafe { release_library() };
    }

    /// Names the device after its class and its number there.
    #[inline(never)]
    fn set_name(&self, class: &Class) -> Result {
        let number = self.number();

        // SAFETY: `device` is initialised. The format takes a string and an unsigned integer.
        to_result(unsafe {
            bindings::dev_set_name(
                self.device,
                c"%s%u".as_char_ptr(),
                class.prefix().as_char_ptr(),
                number as c_uint,
            )
        })
    }

    /// The part that ends.
    #[cfg(CONFIG_PCI_IOV)]
    pub(crate) fn revocable(&self) -> &Revocable {
        &self.revocable
    }

    /// Whether the door is open.
    pub(crate) fn is_open(&self) -> bool {
        self.revocable.is_open()
    }

    /// Whether the door is open, and stays so in effect until `guard` is dropped.
    pub(crate) fn is_open_atomic(&self, guard: &rcu::Guard) -> bool {
        self.revocable.is_open_atomic(guard)
    }

    /// What calls the driver by itself.
    pub(crate) fn callbacks(&self) -> &Items {
        &self.callbacks
    }

    /// The embedded device.
    pub(crate) fn device(&self) -> *mut bindings::device {
        self.device
    }

    /// The embedded device.
    pub(crate) fn as_device(&self) -> &device::Device {
        // SAFETY: By the type invariants, the device is initialised, and a reference to `self`
        // keeps it.
        unsafe { device::Device::from_raw(self.device) }
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How many references there are through which the data can be looked at.
    pub(crate) fn typed_references(&self) -> usize {
        self.typed_references.load(Acquire)
    }

    /// Says that [`memory::release`] has something to do.
    pub(crate) fn keeps_something(&self) {
        self.keeps_something.store(true, Release);
    }

    /// Drops the data.
    ///
    /// # Safety
    ///
    /// The driver's module must be there, and the data must not be used any more.
    pub(crate) unsafe fn drop_data(&self) {
        if let Some(drop_data) = self.functions.drop_data {
            // SAFETY: By the safety requirements; these are the functions for this object.
            unsafe { drop_data(self) };
        }
    }

    /// An address in the driver's module.
    pub(crate) fn driver(&self) -> *const c_void {
        core::ptr::from_ref(self.functions).cast()
    }

    /// The number in the class, of an object whose registration has not begun.
    pub(crate) fn number(&self) -> usize {
        // SAFETY: By the type invariants, no registration has begun, so only the caller uses this.
        let membership = unsafe { &*self.membership.get() };
        membership.as_ref().map_or(0, Membership::number)
    }

    /// The functions of the driver, for whoever is inside.
    pub(crate) fn functions(&self) -> &Functions {
        self.functions
    }

    /// Enters the door, if it is open.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        self.revocable.enter()
    }

    /// Begins the registration of an object at `place`.
    #[inline(never)]
    fn begin_registration(&self, place: Place<'_>) -> Result {
        self.revocable.begin_registration(place.above)?;

        // SAFETY: By the type invariants, the task that registers owns these fields, and a device
        // that is not added is not looked at by the driver core.
        unsafe {
            *self.parent.get() = Some(place.device.into());
            *self.module_of_parent.get() = place.module.map(HeldModule::new);
            (*self.device).parent = device_pointer(place.device);
        }
        Ok(())
    }

    /// Opens the door and makes the object visible; or ends the registration.
    #[inline(never)]
    fn publish(&self) -> Result {
        // Before anybody can see the object.
        self.revocable.open();
        // SAFETY: The caller registers the object, and the door is open.
        let called = unsafe { self.callbacks.begin() };
        if let Err(error) = called.and_then(|()| self.link()) {
            self.revocable.fail_registration(true);
            return Err(error);
        }
        self.revocable.finish_registration()
    }

    /// Adds the device to the system, and its character device before, so that whoever sees the
    /// device can open it.
    fn link(&self) -> Result {
        let link = match self.functions.chardev {
            Some(_) => Link::CharacterDevice {
                _node: chardev::Node::add(self.device)?,
            },
            None => Link::Device,
        };

        // SAFETY: The device is initialised, named, and was never added. On an error it is not, and
        // `link` is dropped, which takes back a character device.
        unsafe {
            self.functions.attributes.set(self.device);
            (self.functions.add)(self)
                .inspect_err(|_| self.functions.attributes.take_back(self.device))?;
        }

        // SAFETY: By the type invariants, the task that registers owns this field.
        unsafe { *self.link.get() = link };
        Ok(())
    }

    /// Asks for the end of the registration, and does not wait for it.
    #[inline(never)]
    pub(crate) fn unregister_deferred(&self) {
        let reference = Reference::new(&self.revocable);
        // SAFETY: By the type invariants, the work is initialised. Once it is queued, the reference
        // is its own.
        if unsafe { shims::holdfast_work_queue(self.deferred.get()) } {
            core::mem::forget(reference);
        }
    }

    /// # Safety
    ///
    /// Called by the workqueue, once for each time that [`Header::unregister_deferred`] has queued
    /// it.
    unsafe extern "C" fn run_deferred(work: *mut bindings::work_struct) {
        // SAFETY: By the safety requirements, this is the field of a header, with a reference to
        // the object.
        unsafe {
            let work = Opaque::cast_from(work);
            let this: *const Self = kernel::container_of!(work, Self, deferred);
            // A worker is inside of nothing and ends nothing else, so this does not fail.
            let _ = (*this).revocable.unregister();
            Self::put(NonNull::from(&(*this).revocable));
        }
    }
}

/// An `ARef<Object<T>>` with the type erased: whoever knows the type can get one from it.
///
/// # Invariants
///
/// It owns a reference to an object, which is counted there as one through which the data can be
/// looked at.
pub(crate) struct ErasedRef(Reference);

impl ErasedRef {
    pub(crate) fn new(header: &Header) -> Self {
        header.typed_references.fetch_add(1, Relaxed);
        // INVARIANT: Counted just now.
        Self(Reference::new(&header.revocable))
    }
}

impl Deref for ErasedRef {
    type Target = Header;

    fn deref(&self) -> &Header {
        // SAFETY: By the type invariants, it is the one of an object.
        unsafe { Header::of_revocable(&self.0) }
    }
}

impl Drop for ErasedRef {
    fn drop(&mut self) {
        // The reference is put after this, as by an `ARef`.
        self.typed_references.fetch_sub(1, Release);
    }
}

/// The pointer to a device.
pub(crate) fn device_pointer<Ctx: device::DeviceContext>(
    device: &device::Device<Ctx>,
) -> *mut bindings::device {
    // CAST: `device::Device` is a transparent wrapper of an `Opaque<bindings::device>`.
    core::ptr::from_ref(device).cast_mut().cast()
}

/// An object: memory with an embedded `struct device`, whose reference count owns it.
///
/// It dereferences to its [`Operations::Data`]. See the [module's documentation](self).
///
/// # Examples
///
/// ```
/// # use holdfast::example::{self, Led};
/// # use kernel::sync::atomic::Relaxed;
/// # let device = example::device()?;
/// # let led = Led::register(device.as_ref().as_ref())?;
/// use holdfast::object::Object;
/// use kernel::sync::aref::ARef;
///
/// let reference: ARef<Object<Led>> = led.reference();
/// assert!(reference.name().to_bytes().starts_with(b"holdfast-led"));
///
/// // The registration is over, and the data, the highest brightness, is there.
/// drop(led);
/// assert!(!reference.is_registered());
/// assert_eq!(**reference, 255);
/// # Ok::<(), Error>(())
/// ```
/// # Invariants
///
/// - It is initialised, and lives in an allocation of its own that [`Header::release`] frees.
/// - `bound` is initialised while the door is open, and until the owner of the teardown drops it.
#[repr(C)]
#[pin_data]
pub struct Object<T: Operations> {
    #[pin]
    header: Header,
    #[pin]
    structure: Opaque<T::Structure>,
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
        add: Self::add,
        remove: Self::remove,
        drop_bound: Self::drop_bound,
        drop_data: if core::mem::needs_drop::<T::Data>() {
            Some(Self::drop_data)
        } else {
            None
        },
        callbacks: T::CALLBACKS.erase(),
        chardev: match &T::CHARACTER_DEVICE {
            Some(functions) => Some(functions.erased),
            None => None,
        },
        attributes: attribute::ErasedGroups::of::<T>(),
    };

    const DEVICE: usize = core::mem::offset_of!(Self, structure) + T::Structure::DEVICE;

    /// # Safety
    ///
    /// `header` must be the one of an `Object<T>`.
    pub(crate) unsafe fn from_header(header: &Header) -> &Self {
        // SAFETY: By the safety requirements, and because the header is the first field.
        unsafe { &*core::ptr::from_ref(header).cast() }
    }

    /// The part that does not depend on the type.
    pub(crate) fn header(&self) -> &Header {
        &self.header
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
    /// As [`Functions::add`] says.
    unsafe fn add(header: &Header) -> Result {
        // SAFETY: By the safety requirements.
        unsafe { T::Structure::add(Self::from_header(header).structure.get()) }
    }

    /// # Safety
    ///
    /// As [`Functions::remove`] says.
    unsafe fn remove(header: &Header) {
        // SAFETY: By the safety requirements.
        unsafe { T::Structure::remove(Self::from_header(header).structure.get()) };
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

    /// # Safety
    ///
    /// As [`Functions::drop_data`] says.
    unsafe fn drop_data(header: &Header) {
        // SAFETY: By the safety requirements.
        unsafe {
            let this: *const Self = core::ptr::from_ref(header).cast();
            core::ptr::drop_in_place((&raw const (*this).data).cast_mut());
        }
    }

    /// What is reachable inside the door.
    ///
    /// # Safety
    ///
    /// The registration of the object must not reach the drop of what is bound for as long as the
    /// result exists, which must be handed out only to code that works for any `'bound`.
    pub(crate) unsafe fn inside<'a, 'bound>(&'a self) -> Access<'a, 'bound, T>
    where
        'bound: 'a,
    {
        Access {
            object: self,
            // SAFETY: By the type invariants, it is initialised until then.
            bound: unsafe { &*self.bound.get().cast::<T::Bound<'bound>>() },
            _not_send: NotThreadSafe,
        }
    }

    /// Enters the door and calls `inside` there.
    ///
    /// While `inside` runs, the object is registered, its parent is bound, and everything in
    /// [`Operations::Bound`] can be used without another check. It may sleep; but the end of the
    /// registration waits for it, so it must not sleep for something that is not woken by
    /// [`Operations::wake`].
    ///
    /// May be called in process context, by anybody who has a reference. Takes no lock, and costs
    /// no atomic operation as long as few tasks are inside of anything on the same CPU.
    ///
    /// The guard is lent, and never given away, so it cannot be forgotten.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the object is not registered, or not any more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use holdfast::example::{self, Led};
    /// # use kernel::sync::atomic::Relaxed;
    /// # let device = example::device()?;
    /// # let led = Led::register(device.as_ref().as_ref())?;
    /// let old = led.access(|access| {
    ///     // There is no other check between here and the end of the closure, and it may sleep.
    ///     let old = access.brightness.load(Relaxed);
    ///     access.brightness.store(255, Relaxed);
    ///     old
    /// })?;
    /// assert_eq!(old, 0);
    ///
    /// let reference = led.reference();
    /// drop(led);
    /// assert_eq!(reference.access(|access| access.brightness.load(Relaxed)), Err(ENODEV));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn access<R>(
        &self,
        inside: impl for<'access, 'bound> FnOnce(&Access<'access, 'bound, T>) -> R,
    ) -> Result<R> {
        let _inside = self.header.enter().ok_or(ENODEV)?;
        // SAFETY: Inside until the end of this function; the closure works for any lifetimes.
        Ok(inside(&unsafe { self.inside() }))
    }

    /// As [`Object::access`], for any context: `inside` runs in an RCU read-side critical section,
    /// and must not sleep.
    ///
    /// The end of the registration waits for it with the grace period that it needs anyway.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the object is not registered, or not any more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use holdfast::example::{self, Led};
    /// # use kernel::sync::atomic::Relaxed;
    /// # let device = example::device()?;
    /// # let led = Led::register(device.as_ref().as_ref())?;
    /// use holdfast::object::Object;
    ///
    /// // May be called from an interrupt.
    /// fn turn_on(led: &Object<Led>) -> Result {
    ///     led.access_atomic(|led| led.brightness.store(255, Relaxed))
    /// }
    ///
    /// turn_on(&led)?;
    /// led.unregister()?;
    /// assert_eq!(turn_on(&led), Err(ENODEV));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn access_atomic<R>(
        &self,
        inside: impl for<'access, 'bound> FnOnce(&Access<'access, 'bound, T>) -> R,
    ) -> Result<R> {
        let guard = rcu::read_lock();
        if !self.header.revocable.is_open_atomic(&guard) {
            return Err(ENODEV);
        }
        // SAFETY: The registration does not go on from closing the door while `guard` exists; the
        // closure works for any lifetimes.
        Ok(inside(&unsafe { self.inside() }))
    }

    /// Whether the door is open: the object is registered and its end has not begun.
    ///
    /// Only a hint unless the caller is inside; there, false means that the end is waiting for it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use holdfast::example::{self, Led};
    /// # use kernel::sync::atomic::Relaxed;
    /// # let device = example::device()?;
    /// # let led = Led::register(device.as_ref().as_ref())?;
    /// assert!(led.is_registered());
    /// led.unregister()?;
    /// assert!(!led.is_registered());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn is_registered(&self) -> bool {
        self.header.revocable.is_open()
    }

    /// Ends the registration, if it has not ended.
    ///
    /// May be called by anybody who has a reference, any number of times, also at once. When it
    /// returns without an error, the registration has ended, the parent's resources are not used
    /// any more, and the outcome says whether this call has done it. An object that was never
    /// registered can never be, after this.
    ///
    /// Sleeps until whoever is inside the door has left, and until the same is true of all objects
    /// below. The caller must not hold locks that [`Operations::wake`], the drop of
    /// [`Operations::Bound`], or those inside take.
    ///
    /// # Errors
    ///
    /// [`EDEADLK`] if the caller would wait for itself: it is registering or unregistering the
    /// object or one below it, is inside of one of them, or is waited for by who ends them. What it
    /// asked for has not happened then, unless somebody else is doing it already:
    /// [`Object::unregister_deferred`] is for such a caller.
    ///
    /// # Examples
    ///
    /// ```
    /// # use holdfast::example::{self, Led};
    /// # use kernel::sync::atomic::Relaxed;
    /// # let device = example::device()?;
    /// # let led = Led::register(device.as_ref().as_ref())?;
    /// use holdfast::object::Outcome;
    ///
    /// // From inside, it would wait for itself.
    /// assert_eq!(led.access(|led| led.object().unregister())?, Err(EDEADLK));
    ///
    /// assert_eq!(led.unregister()?, Outcome::Done);
    /// assert_eq!(led.unregister()?, Outcome::AlreadyDone);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn unregister(&self) -> Result<Outcome> {
        self.header.revocable.unregister()
    }

    /// Asks for the end of the registration, and does not wait for it.
    ///
    /// For an operation that wants its own object to end, and for callbacks that may not sleep. May
    /// be called in any context, any number of times. A worker of the system calls
    /// [`Object::unregister`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use holdfast::example::{self, Led};
    /// # use kernel::sync::atomic::Relaxed;
    /// # let device = example::device()?;
    /// # let led = Led::register(device.as_ref().as_ref())?;
    /// led.access(|led| led.object().unregister_deferred())?;
    ///
    /// // Who wants to wait for that asks again, from outside.
    /// led.unregister()?;
    /// assert!(!led.is_registered());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn unregister_deferred(&self) {
        self.header.unregister_deferred();
    }

    /// Lets the object keep `value` for as long as its memory lives.
    ///
    /// What is kept is dropped with the memory, the newest first, and before
    /// [`Operations::Data`]. What ends with the registration has been dropped long before.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; what the initialisation of the value returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # use holdfast::example::{self, Led};
    /// # use kernel::sync::atomic::Relaxed;
    /// # let device = example::device()?;
    /// # let led = Led::register(device.as_ref().as_ref())?;
    /// use kernel::str::CString;
    ///
    /// let label: &CString = led.keep(CString::try_from_fmt(fmt!("LED of {}", 2026)))?;
    ///
    /// led.unregister()?;
    /// assert!(**label == *c"LED of 2026");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn keep<V: Send + Sync + 'static, E>(&self, value: impl Init<V, E>) -> Result<&V>
    where
        Error: From<E>,
    {
        memory::keep(&self.header, value)
    }

    /// The number of references. For tests only: nothing can be done with it.
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn reference_count(&self) -> c_uint {
        // SAFETY: The device is initialised.
        unsafe { shims::holdfast_device_references(self.header.device()) }
    }

    /// The name of the embedded device.
    pub fn name(&self) -> &CStr {
        self.header.as_device().name()
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
        self.header.as_device()
    }
}

// SAFETY: The reference count of the embedded device owns the object, and every `Object` has one.
unsafe impl<T: Operations> AlwaysRefCounted for Object<T> {
    fn inc_ref(&self) {
        self.header.typed_references.fetch_add(1, Relaxed);
        // SAFETY: A shared reference keeps the count above zero.
        unsafe { bindings::get_device(self.header.device()) };
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: By the safety requirements, the caller gives up a reference.
        unsafe {
            let device = object.as_ref().header.device();
            object
                .as_ref()
                .header
                .typed_references
                .fetch_sub(1, Release);
            bindings::put_device(device);
        }
    }
}

/// The inside of the door of an object.
///
/// Lent to a driver's operations for as long as they run. It dereferences to
/// [`Operations::Bound`], whose lifetime `'bound` the driver cannot choose, so that nothing can be
/// put in there that lives less long, and nothing of it can be kept.
///
/// # Examples
///
/// ```
/// # use holdfast::example::{self, Led};
/// # use kernel::sync::atomic::Relaxed;
/// # let device = example::device()?;
/// # let led = Led::register(device.as_ref().as_ref())?;
/// use holdfast::object::Access;
///
/// /// A part of a driver that is only called inside.
/// fn dim(led: &Access<'_, '_, Led>) -> u32 {
///     // What is bound, with or without its name:
///     let brightness = led.brightness.load(Relaxed) / 2;
///     led.bound().brightness.store(brightness, Relaxed);
///
///     // The object with its data, and the device, which is bound until this returns:
///     assert_eq!(**led.object(), 255);
///     assert!(led.parent().name().to_bytes().starts_with(b"holdfast-example"));
///
///     // What an object below this one is registered with:
///     assert!(led.registered().object().is_registered());
///     brightness
/// }
///
/// led.access(|led| led.brightness.store(200, Relaxed))?;
/// assert_eq!(led.access(dim)?, 100);
/// # Ok::<(), Error>(())
/// ```
pub struct Access<'access, 'bound, T: Operations> {
    object: &'access Object<T>,
    bound: &'access T::Bound<'bound>,
    _not_send: NotThreadSafe,
}

impl<'access, 'bound, T: Operations> Access<'access, 'bound, T> {
    /// The object.
    pub fn object(&self) -> &'access Object<T> {
        self.object
    }

    /// What is bound.
    pub fn bound(&self) -> &'access T::Bound<'bound> {
        self.bound
    }

    /// The parent: a bus device that is bound, or an object that is registered.
    pub fn parent(&self) -> <T::Parent as Parent>::Ref<'access> {
        // SAFETY: The object is registered below what was given to `register`, which is a
        // `T::Parent`, and its registration does not end for `'access`.
        unsafe { T::Parent::from_child(Child(&self.object.header)) }
    }

    /// That the object is registered, for a registration below it.
    pub fn registered(&self) -> Registered<'access, T> {
        // INVARIANT: It is, for `'access`.
        Registered(self.object)
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
/// # Examples
///
/// ```
/// use holdfast::object::Unregistered;
/// # use holdfast::example::{self, Led};
/// # use kernel::sync::atomic::Relaxed;
/// # let device = example::device()?;
///
/// let led = Unregistered::<Led>::new(127)?;
/// // The door is closed, and nobody else knows the object. It is freed if nothing becomes of it.
/// assert!(!led.is_registered());
/// assert_eq!(**led, 127);
///
/// let led = led.register(device.as_ref().as_ref(), 60)?;
/// assert_eq!(led.access(|led| led.brightness.load(Relaxed))?, 60);
/// # Ok::<(), Error>(())
/// ```
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
        Self::with_number(data, None)
    }

    /// The same, if the number that it gets in its class is `wanted`; else [`EBUSY`].
    pub(crate) fn with_number<E>(
        data: impl PinInit<T::Data, E>,
        wanted: Option<usize>,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        let membership = Membership::new(&T::CLASS, wanted)?;
        let object = KBox::try_pin_init::<Error>(
            try_pin_init!(Object::<T> {
                header <- Header::new(Object::<T>::DEVICE, &Object::<T>::FUNCTIONS, membership),
                structure <- Opaque::zeroed(),
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
        if core::mem::needs_drop::<T::Data>() {
            if let Err(error) = memory::has_something(&this.object.header) {
                // SAFETY: Nobody else knows the object, and nobody will drop the data.
                unsafe { this.object.header.drop_data() };
                return Err(error);
            }
        }
        this.object.header.set_name(&T::CLASS)?;
        Ok(this)
    }

    /// Registers the object below `parent`, until that is unbound or unregistered at the latest.
    ///
    /// Makes the bound data with [`Operations::bind`], opens the door, requests the
    /// [interrupts](crate::irq), and adds the object to sysfs and devtmpfs, in this order: whoever
    /// sees the object sees it complete. On an error all of it is undone, in the reverse order.
    ///
    /// May sleep. `parent` stays bound or registered while this runs, which its type shows: it is a
    /// bus device that is bound, or the [`Access::registered`] of an object.
    ///
    /// # Errors
    ///
    /// What [`Operations::bind`] and the driver core return; [`ENODEV`] if somebody asked for the
    /// end of the object before the registration was complete, or if the end of the parent has
    /// begun; [`ELOOP`] if there are too many objects above it.
    pub fn register(
        self,
        parent: <T::Parent as Parent>::Ref<'_>,
        argument: T::Argument,
    ) -> Result<Registration<T>> {
        self.register_when_begun(parent, argument, |_| Ok(()))
    }

    /// The same, and calls `begun` when the registration has begun, before anything is made or can
    /// be seen. From then on who asks for the end waits for that.
    pub(crate) fn register_when_begun(
        self,
        parent: <T::Parent as Parent>::Ref<'_>,
        argument: T::Argument,
        begun: impl FnOnce(&Header) -> Result,
    ) -> Result<Registration<T>> {
        self.object
            .header
            .begin_registration(T::Parent::above(parent)?)?;

        // The number in the class is the registration's from now on.
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is neither used again nor dropped, so the reference is moved.
        let object = unsafe { core::ptr::read(&this.object) };

        if let Err(error) = begun(&object.header) {
            object.header.revocable.fail_registration(false);
            return Err(error);
        }

        let slot = object.bound.get();
        // SAFETY: By the protocol, only the task that registers uses `bound` before the door is
        // open. On an error it stays uninitialised, and the door closed.
        let made = unsafe {
            pin_init::raw_try_init(
                slot.cast::<T::Bound<'_>>(),
                T::bind(
                    &object,
                    T::Parent::from_child(Child(&object.header)),
                    argument,
                ),
            )
        };
        if let Err(error) = made {
            object.header.revocable.fail_registration(false);
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
/// unbind of the parent ends it if this was forgotten. Who drops this where [`Object::unregister`]
/// would answer [`EDEADLK`] does not wait for the end, which comes when it has gone on.
///
/// # Examples
///
/// ```
/// # use holdfast::example::{self, Led};
/// # use kernel::sync::atomic::Relaxed;
/// # let device = example::device()?;
/// # let led = Led::register(device.as_ref().as_ref())?;
/// use holdfast::object::Registration;
///
/// /// What a driver keeps for as long as it is bound.
/// struct DriverData {
///     led: Registration<Led>,
/// }
///
/// let data = DriverData { led };
/// let reference = data.led.reference();
/// assert!(reference.is_registered());
/// drop(data);
/// assert!(!reference.is_registered());
/// # Ok::<(), Error>(())
/// ```
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

    /// Gives up the right to end the registration by a drop, to who has found another way.
    pub(crate) fn leave_to_others(self) {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is neither used again nor dropped, so the reference is moved.
        drop(unsafe { core::ptr::read(&this.object) });
    }
}

impl<T: Operations> Drop for Registration<T> {
    fn drop(&mut self) {
        // Where this cannot wait for the end, it ends when the caller has gone on; if the end has
        // begun it does so by itself.
        if self.object.unregister().is_err() && self.object.is_registered() {
            self.object.unregister_deferred();
        }
    }
}
