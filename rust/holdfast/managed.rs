// SPDX-License-Identifier: GPL-2.0

//! Managed resources: values that end with the binding of a device, or earlier.
//!
//! A [`Managed`] value is dropped when its owner drops or releases it, or when the device is
//! unbound, whichever comes first, and exactly once. Everybody else has a [`Handle`], whose door
//! answers [`ENODEV`] from then on.
//!
//! A managed value is registered below the device just as an object is, by the same code, so it has
//! the same properties: whoever is inside may sleep; one grace period serves all that ends with a
//! binding; and everything below a device ends in the reverse order in which it was made, objects
//! and managed values alike, before any resource of devres that was acquired before the last of
//! them.
//!
//! # Examples
//!
//! ```
//! use holdfast::{managed::Managed, object::Outcome};
//! use kernel::{faux, sync::{atomic::{Atomic, Relaxed}, Arc}};
//!
//! /// A clock that runs as long as this exists.
//! struct Clock {
//!     runs: Arc<Atomic<bool>>,
//!     rate: u32,
//! }
//!
//! impl Clock {
//!     fn enable(runs: &Arc<Atomic<bool>>) -> Result<Self> {
//!         runs.store(true, Relaxed);
//!         Ok(Self { runs: runs.clone(), rate: 48_000 })
//!     }
//! }
//!
//! impl Drop for Clock {
//!     fn drop(&mut self) {
//!         self.runs.store(false, Relaxed);
//!     }
//! }
//!
//! let device = faux::Registration::new(c"holdfast-clock", None)?;
//! let runs = Arc::new(Atomic::new(false), GFP_KERNEL)?;
//!
//! // Released early:
//! let clock = Managed::<Clock>::new(device.as_ref().as_ref(), Clock::enable(&runs))?;
//! let handle = clock.handle();
//! assert_eq!(handle.access(|clock| clock.rate)?, 48_000);
//! assert_eq!(clock.release()?, Outcome::Done);
//! assert!(!runs.load(Relaxed));
//! assert_eq!(handle.access(|clock| clock.rate), Err(ENODEV));
//!
//! // Released when the device is unbound, even if it was forgotten:
//! let clock = Managed::<Clock>::new(device.as_ref().as_ref(), Clock::enable(&runs))?;
//! let handle = clock.handle();
//! core::mem::forget(clock);
//! assert!(runs.load(Relaxed));
//! drop(device);
//! assert!(!runs.load(Relaxed));
//! assert!(!handle.is_registered());
//! # Ok::<(), Error>(())
//! ```

use crate::{
    binding::Binding,
    object::device_pointer,
    revocable::{
        Above,
        Functions,
        Outcome,
        Reference,
        Revocable, //
    }, //
};

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device::{
        Bound,
        Core,
        Device, //
    },
    prelude::*,
    sync::{
        rcu,
        Refcount, //
    }, //
};

/// The part of a managed value that does not depend on its type.
///
/// Whoever ends a binding has references to what was bound to it, and puts them when that has
/// ended. The module of the driver may be gone by then, so all that such a reference needs is here.
///
/// # Invariants
///
/// - It is the first field of an [`Inner`] that was allocated with `kmalloc`, and that `references`
///   counts the references to. `drop_value` is for that type.
/// - `device` is the one that it was registered below.
#[repr(C)]
struct Header {
    revocable: Revocable,
    references: Refcount,
    drop_value: unsafe fn(&Header),
    // Used for comparison only.
    device: *mut bindings::device,
}

/// What the end of a managed value calls.
static REVOCABLE: Functions = Functions {
    hold: Header::hold,
    put: Header::put,
    driver: Header::driver,
    wake: Header::nothing,
    unlink: Header::nothing,
    cancel: Header::nothing,
    drop_bound: Header::drop_bound,
    conclude: Header::nothing,
};

impl Header {
    /// The first part of a value that is registered below `device`, with one reference.
    #[inline(never)]
    fn new(device: *mut bindings::device, drop_value: unsafe fn(&Self)) -> Self {
        Self {
            revocable: Revocable::new(&REVOCABLE),
            references: Refcount::new(1),
            drop_value,
            device,
        }
    }

    /// # Safety
    ///
    /// `revocable` must be the one of a managed value, to which the caller has a reference.
    unsafe fn hold(revocable: NonNull<Revocable>) {
        // SAFETY: By the safety requirements, and because it is the first field.
        unsafe { revocable.cast::<Self>().as_ref() }
            .references
            .inc();
    }

    /// # Safety
    ///
    /// As [`Header::hold`]; the caller gives up a reference.
    unsafe fn put(revocable: NonNull<Revocable>) {
        let this = revocable.cast::<Self>();
        // SAFETY: By the safety requirements and the type invariants. The rest of the `Inner` has
        // nothing to drop: the value was dropped, or never made, because a registration has a
        // reference until it has ended.
        unsafe {
            if this.as_ref().references.dec_and_test() {
                core::ptr::drop_in_place(this.as_ptr());
                bindings::kfree(this.as_ptr().cast());
            }
        }
    }

    /// # Safety
    ///
    /// `revocable` must be the one of a managed value.
    unsafe fn driver(revocable: &Revocable) -> *const c_void {
        // SAFETY: By the safety requirements, and because it is the first field.
        let this: &Self = unsafe { &*core::ptr::from_ref(revocable).cast() };
        this.drop_value as *const c_void
    }

    /// # Safety
    ///
    /// None; it has the type of a field of [`Functions`].
    unsafe fn nothing(_revocable: &Revocable) {}

    /// # Safety
    ///
    /// As [`Functions::drop_bound`] says, for a managed value.
    unsafe fn drop_bound(revocable: &Revocable) {
        // SAFETY: By the safety requirements and the type invariants.
        unsafe {
            let this: &Self = &*core::ptr::from_ref(revocable).cast();
            (this.drop_value)(this);
        }
    }
}

/// A value and its registration.
///
/// # Invariants
///
/// - The header is the first field.
/// - `value` is initialised while the door is open, and until the owner of the teardown drops it.
#[repr(C)]
struct Inner<T: Send + Sync + 'static> {
    header: Header,
    value: UnsafeCell<MaybeUninit<T>>,
}

impl<T: Send + Sync> Inner<T> {
    /// # Safety
    ///
    /// `header` must be the one of a `Self`, whose value is initialised and not used any more.
    unsafe fn drop_value(header: &Header) {
        // SAFETY: By the safety requirements.
        unsafe {
            let this: &Self = &*core::ptr::from_ref(header).cast();
            (*this.value.get()).assume_init_drop();
        }
    }

    /// # Safety
    ///
    /// The value must not be dropped for as long as the result exists.
    unsafe fn value(&self) -> &T {
        // SAFETY: By the safety requirements and the type invariants.
        unsafe { (*self.value.get()).assume_init_ref() }
    }
}

/// A value that ends with the binding of a device, and its owner.
///
/// It is released when this is dropped, at the latest. If this is forgotten, it is released when
/// the device is unbound. It dereferences to its [`Handle`].
///
/// # Invariants
///
/// Only the owner and the end of the binding end the registration.
#[must_use = "the value is released when this is dropped"]
pub struct Managed<T: Send + Sync + 'static>(Handle<T>);

impl<T: Send + Sync + 'static> Managed<T> {
    /// Makes a value that ends with the binding of `device`.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENODEV`] if the device is being unbound; what the initialisation of the value
    /// returns.
    pub fn new<E>(device: &Device<Bound>, value: impl Init<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        let binding = Binding::of(device)?;
        let inner = KBox::new(
            Inner::<T> {
                header: Header::new(device_pointer(device), Inner::<T>::drop_value),
                value: UnsafeCell::new(MaybeUninit::uninit()),
            },
            GFP_KERNEL,
        )?;
        let handle = Handle {
            // SAFETY: The new value has one reference, and stays where it is.
            //
            // INVARIANT: It is an `Inner<T>`.
            reference: unsafe { Reference::from_raw(NonNull::from(KBox::leak(inner)).cast()) },
            _type: PhantomData,
        };

        let inner = handle.inner();
        let revocable = &inner.header.revocable;
        revocable.begin_registration(Above::Binding(binding))?;

        let slot = inner.value.get();
        // SAFETY: Only the one who registers uses the value before the door is open. On an error it
        // stays uninitialised, and the door closed.
        if let Err(error) = unsafe { pin_init::raw_try_init(slot.cast::<T>(), value) } {
            revocable.fail_registration(false);
            return Err(error.into());
        }

        revocable.open();
        revocable.finish_registration()?;
        // INVARIANT: Handles cannot end it.
        Ok(Self(handle))
    }

    /// Releases the value now, if that has not happened.
    ///
    /// May sleep; waits until nobody is inside. If the device is being unbound at the same time,
    /// one of the two does it, and this returns when it is done.
    ///
    /// # Errors
    ///
    /// [`EDEADLK`] if the caller would wait for itself. If it is releasing the value, that goes on;
    /// if it is inside, or is waited for by who is, the value stays until the device is unbound.
    pub fn release(self) -> Result<Outcome> {
        let outcome = self.0.reference.unregister();
        if outcome.is_ok() {
            // The drop would do it again, and find it done.
            let this = ManuallyDrop::new(self);
            // SAFETY: `this` is neither used again nor dropped.
            drop(unsafe { core::ptr::read(&this.0) });
        }
        outcome
    }

    /// Calls `inside` with the value, without entering the door, for a callback of the bus.
    ///
    /// May be called in any context. That the device is [`Bound`] is not enough: data that is bound
    /// to it can say so until it is dropped, which may be after this. In a callback of the bus the
    /// device lock is held, so that the end of the binding has not begun.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if `device` is another one, or if this is of an earlier binding.
    ///
    /// # Examples
    ///
    /// A driver that keeps its managed value in its own data. This is only compiled: it takes a
    /// bus to call it.
    ///
    /// ```no_run
    /// use holdfast::managed::Managed;
    /// use kernel::{pci, device::Core, sync::atomic::{Atomic, Relaxed}};
    ///
    /// fn unbind(pdev: &pci::Device<Core<'_>>, packets: &Managed<Atomic<u32>>) -> Result {
    ///     let count = packets.with(pdev.as_ref(), |packets| packets.load(Relaxed))?;
    ///     pr_info!("{count} packets\n");
    ///     Ok(())
    /// }
    /// ```
    #[inline]
    pub fn with<R>(&self, device: &Device<Core<'_>>, inside: impl FnOnce(&T) -> R) -> Result<R> {
        let inner = self.0.inner();
        if inner.header.device != device_pointer(device) || !self.0.is_registered() {
            return Err(ENODEV);
        }
        // SAFETY: By the type invariants, only the owner, which is borrowed, and the end of the
        // binding end it. That has not begun when the door is open, and does not begin before the
        // callback to which `device` belongs has returned, which is after `inside`.
        Ok(inside(unsafe { inner.value() }))
    }

    /// A handle, which outlives the value.
    pub fn handle(&self) -> Handle<T> {
        self.0.clone()
    }
}

impl<T: Send + Sync + 'static> Deref for Managed<T> {
    type Target = Handle<T>;

    fn deref(&self) -> &Handle<T> {
        &self.0
    }
}

impl<T: Send + Sync + 'static> Drop for Managed<T> {
    fn drop(&mut self) {
        // What this says of a caller who would wait for itself, `release` says.
        let _ = self.0.reference.unregister();
    }
}

/// A reference to a managed value, which outlives it.
///
/// # Invariants
///
/// `reference` is one to an `Inner<T>`.
pub struct Handle<T: Send + Sync + 'static> {
    reference: Reference,
    _type: PhantomData<T>,
}

impl<T: Send + Sync + 'static> Clone for Handle<T> {
    fn clone(&self) -> Self {
        // INVARIANT: It is the same value.
        Self {
            reference: Reference::new(&self.reference),
            _type: PhantomData,
        }
    }
}

impl<T: Send + Sync + 'static> Handle<T> {
    fn inner(&self) -> &Inner<T> {
        // SAFETY: By the type invariants, and because the header is the first field, and the
        // revocable its own.
        unsafe { &*core::ptr::from_ref::<Revocable>(&self.reference).cast() }
    }

    /// Enters the door and calls `inside` with the value.
    ///
    /// May be called in process context; `inside` may sleep. The value is not released before it
    /// has returned.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the value was released.
    #[inline]
    pub fn access<R>(&self, inside: impl FnOnce(&T) -> R) -> Result<R> {
        let _inside = self.reference.enter().ok_or(ENODEV)?;
        // SAFETY: Inside until the end of this function.
        Ok(inside(unsafe { self.inner().value() }))
    }

    /// As [`Handle::access`], for any context: `inside` must not sleep.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the value was released.
    ///
    /// # Examples
    ///
    /// ```
    /// use holdfast::managed::{Handle, Managed};
    /// # use kernel::{faux, sync::atomic::{Atomic, Relaxed}};
    /// # let device = faux::Registration::new(c"holdfast-packets", None)?;
    ///
    /// // May be called from an interrupt.
    /// fn count(packets: &Handle<Atomic<u32>>) -> Result {
    ///     packets.access_atomic(|packets| {
    ///         packets.fetch_add(1, Relaxed);
    ///     })
    /// }
    ///
    /// let packets = Managed::<Atomic<u32>>::new(device.as_ref().as_ref(), Atomic::new(0))?;
    /// count(&packets)?;
    /// assert_eq!(packets.access(|packets| packets.load(Relaxed))?, 1);
    ///
    /// let handle = packets.handle();
    /// drop(packets);
    /// assert_eq!(count(&handle), Err(ENODEV));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn access_atomic<R>(&self, inside: impl FnOnce(&T) -> R) -> Result<R> {
        let guard = rcu::read_lock();
        if !self.reference.is_open_atomic(&guard) {
            return Err(ENODEV);
        }
        // SAFETY: The value is not released while `guard` exists.
        Ok(inside(unsafe { self.inner().value() }))
    }

    /// Whether the value has not been released, and nobody has begun to.
    pub fn is_registered(&self) -> bool {
        self.reference.is_open()
    }
}
