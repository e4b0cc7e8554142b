// SPDX-License-Identifier: GPL-2.0

//! Work of an object: functions of the driver that a worker of the system calls inside the door.
//!
//! Work ends with the registration of its object: see [`crate::callbacks`]. Work that was queued
//! and has not begun by then does not run; work that is running is waited for.
//!
//! # Examples
//!
//! A receive ring that is refilled outside of the interrupt that empties it:
//!
//! ```
//! use holdfast::{
//!     callbacks::Callbacks,
//!     class::Class,
//!     object::{
//!         self,
//!         Access,
//!         Object,
//!         Unregistered, //
//!     },
//!     work, //
//! };
//! use kernel::{
//!     device::{
//!         Bound,
//!         Device, //
//!     },
//!     prelude::*,
//!     sync::Completion, //
//! };
//! # use holdfast::testing;
//!
//! struct Nic;
//!
//! /// The number of the work.
//! const REFILL: u64 = 0;
//!
//! impl object::Operations for Nic {
//!     type Parent = Device<Bound>;
//!     type Structure = object::ClassDevice;
//!     type Data = Completion;
//!     type Bound<'bound> = ();
//!     type Argument = ();
//!
//!     const CLASS: Class = Class::new(c"example_nic", c"example-nic");
//!     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<REFILL>();
//!
//!     fn bind<'bound>(
//!         _object: &'bound Object<Self>,
//!         _parent: &'bound Device<Bound>,
//!         _argument: (),
//!     ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
//!         Ok(())
//!     }
//! }
//!
//! impl work::Operations<REFILL> for Nic {
//!     fn run(access: &Access<'_, '_, Self>) {
//!         // Inside the door: it may sleep, and use what is bound.
//!         access.object().complete_all();
//!     }
//! }
//!
//! # let parent = testing::Parent::new()?;
//! // The data is a completion, for whoever waits for the first refill.
//! let nic = Unregistered::<Nic>::new(Completion::new())?;
//! assert_eq!(nic.work::<REFILL>().queue(), Err(ENODEV));
//!
//! let nic = nic.register(&parent, ())?;
//! assert!(nic.work::<REFILL>().queue()?);
//! nic.wait_for_completion();
//!
//! nic.unregister()?;
//! assert_eq!(nic.work::<REFILL>().queue(), Err(ENODEV));
//! # Ok::<(), Error>(())
//! ```

use crate::{
    object::{
        self,
        Access,
        Header,
        Object, //
    },
    shims, //
};

use core::ptr::NonNull;

use kernel::{
    bindings,
    prelude::*,
    sync::rcu,
    time::{
        msecs_to_jiffies,
        Delta,
        Jiffies, //
    },
    types::Opaque, //
};

/// The work of a driver with the number `ID`.
/// # Examples
///
/// Work that ends its own object, and work that does something periodically:
///
/// ```
/// # use holdfast::{callbacks::Callbacks, testing, work};
/// # use holdfast::object::{self, Access, Unregistered};
/// # use kernel::sync::Completion;
/// # use kernel::time::Delta;
/// # testing::object! {
/// #     struct Card: Completion;
/// #     const CALLBACKS: Callbacks<Self> = Callbacks::new()
/// #         .with_work::<EJECT>()
/// #         .with_work::<POLL>();
/// #     fn bind(_argument: ()) -> () {
/// #         Ok(())
/// #     }
/// # }
/// #
/// const EJECT: u64 = 0;
/// const POLL: u64 = 1;
///
/// impl work::Operations<EJECT> for Card {
///     fn run(access: &Access<'_, '_, Self>) {
///         // It would wait for itself in `unregister`, which answers `EDEADLK`.
///         access.object().unregister_deferred();
///     }
/// }
///
/// impl work::Operations<POLL> for Card {
///     fn run(access: &Access<'_, '_, Self>) {
///         access.object().complete_all();
///         // Refused when the end has begun, so there is nothing that the driver has to stop.
///         let _ = access.object().work::<POLL>().queue_after(Delta::from_millis(1));
///     }
/// }
///
/// # let parent = testing::Parent::new()?;
/// let card = Unregistered::<Card>::new(Completion::new())?.register(&parent, ())?;
/// card.work::<POLL>().queue()?;
/// card.wait_for_completion();
///
/// card.work::<EJECT>().queue()?;
/// while card.is_registered() {
///     core::hint::spin_loop();
/// }
/// assert_eq!(card.unregister()?, object::Outcome::AlreadyDone);
/// assert_eq!(card.work::<POLL>().queue(), Err(ENODEV));
/// # Ok::<(), Error>(())
/// ```
pub trait Operations<const ID: u64 = 0>: object::Operations {
    /// Does the work.
    ///
    /// Called in process context, never twice at once for one object. It may sleep, if
    /// [`object::Operations::wake`] wakes it, and may queue itself again.
    ///
    /// It must not wait for the end of its own object: [`Object::unregister`] answers [`EDEADLK`]
    /// here, and [`Object::unregister_deferred`] is the way.
    fn run(access: &Access<'_, '_, Self>);
}

/// [`Operations::run`], with the type erased.
///
/// # Safety
///
/// The header must be one of an object of this type, and the caller inside its door.
pub(crate) type Function = unsafe fn(&Header);

/// # Safety
///
/// As [`Function`] says.
pub(crate) unsafe fn call<T: Operations<ID>, const ID: u64>(header: &Header) {
    // SAFETY: By the safety requirements.
    T::run(&unsafe { Object::<T>::from_header(header).inside() });
}

/// A work item of an object.
///
/// # Invariants
///
/// - It is a part of `header`.
/// - `function` is for objects of the type of that.
/// - `work` is initialised, with [`Item::run`] as its function.
#[repr(C)]
pub(crate) struct Item {
    work: Opaque<bindings::delayed_work>,
    header: NonNull<Header>,
    function: Function,
}

impl Item {
    /// # Safety
    ///
    /// It must become a part of `header`, stay there, and be initialised before it is used.
    /// `function` must be for objects of the type of that.
    pub(crate) unsafe fn new(header: NonNull<Header>, function: Function) -> Self {
        Self {
            work: Opaque::uninit(),
            header,
            function,
        }
    }

    /// # Safety
    ///
    /// Must be called once, and this must not be moved from then on.
    pub(crate) unsafe fn initialise(&self) {
        // SAFETY: By the safety requirements.
        unsafe { shims::holdfast_delayed_work_init(self.work.get(), Self::run) };
    }

    fn header(&self) -> &Header {
        // SAFETY: By the type invariants.
        unsafe { self.header.as_ref() }
    }

    /// # Safety
    ///
    /// Called by the workqueue, for the work of an [`Item`].
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: By the safety requirements. A `work_struct` is the first field of a
        // `delayed_work`, which is the first field of an item. The memory stays, because the end of
        // the registration waits until this has returned, in `cancel_and_wait`.
        let item = unsafe { &*work.cast::<Self>() };
        let header = item.header();
        if let Some(_inside) = header.enter() {
            // SAFETY: By the type invariants, this is a function for this object, and the caller is
            // inside.
            unsafe { (item.function)(header) };
        }
    }

    #[inline(never)]
    fn queue_after(&self, delay: Jiffies) -> Result<bool> {
        let guard = rcu::read_lock();
        if !self.header().is_open_atomic(&guard) {
            return Err(ENODEV);
        }
        // SAFETY: By the type invariants. `cancel_and_wait` has not been called: it comes after a
        // grace period, which waits for `guard`.
        Ok(unsafe { shims::holdfast_delayed_work_queue(self.work.get(), delay) })
    }

    #[inline(never)]
    fn cancel(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::cancel_delayed_work(self.work.get()) }
    }

    /// Takes the work back if it is pending, waits for it if it is running, and makes it impossible
    /// to queue.
    pub(crate) fn cancel_and_wait(&self) {
        // SAFETY: By the type invariants. The end of a registration may sleep.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }
}

/// A work item of an object, to be queued.
/// # Examples
///
/// ```
/// # use holdfast::{callbacks::Callbacks, testing, work};
/// # use holdfast::object::{self, Access, Unregistered};
/// # use kernel::sync::Completion;
/// # use kernel::time::Delta;
/// # testing::object! {
/// #     struct Led: Completion;
/// #     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<0>();
/// #     fn bind(_argument: ()) -> () {
/// #         Ok(())
/// #     }
/// # }
/// #
/// # impl work::Operations for Led {
/// #     fn run(access: &Access<'_, '_, Self>) {
/// #         access.object().complete_all();
/// #     }
/// # }
/// #
/// # let parent = testing::Parent::new()?;
/// let led = Unregistered::<Led>::new(Completion::new())?.register(&parent, ())?;
/// let switch_off = led.work::<0>();
///
/// // In ten seconds, and not later because somebody asks again.
/// assert!(switch_off.queue_after(Delta::from_secs(10))?);
/// assert!(!switch_off.queue_after(Delta::from_secs(20))?);
///
/// // Now, in place of that.
/// assert!(switch_off.cancel());
/// assert!(!switch_off.cancel());
/// assert!(switch_off.queue()?);
/// led.wait_for_completion();
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Work<'a>(&'a Item);

impl<T: object::Operations> Object<T> {
    /// The work with the number `ID`.
    ///
    /// It must have been declared in [`object::Operations::CALLBACKS`], else this does not compile.
    /// # Examples
    ///
    /// A type of objects can have any number of works, which run at the same time:
    ///
    /// ```
    /// # use holdfast::{callbacks::Callbacks, testing, work};
    /// # use holdfast::object::{self, Access, Unregistered};
    /// # use kernel::sync::Completion;
    /// # testing::object! {
    /// #     struct Disk: Completion;
    /// #     const CALLBACKS: Callbacks<Self> = Callbacks::new()
    /// #         .with_work::<FLUSH>()
    /// #         .with_work::<SCRUB>();
    /// #     fn bind(_argument: ()) -> () {
    /// #         Ok(())
    /// #     }
    /// # }
    /// #
    /// const FLUSH: u64 = 1;
    /// const SCRUB: u64 = 2;
    /// # impl work::Operations<FLUSH> for Disk {
    /// #     fn run(access: &Access<'_, '_, Self>) {
    /// #         access.object().complete_all();
    /// #     }
    /// # }
    /// # impl work::Operations<SCRUB> for Disk {
    /// #     fn run(access: &Access<'_, '_, Self>) {
    /// #         access.object().wait_for_completion();
    /// #     }
    /// # }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let disk = Unregistered::<Disk>::new(Completion::new())?.register(&parent, ())?;
    /// disk.work::<SCRUB>().queue()?;
    /// disk.work::<FLUSH>().queue()?;
    /// # disk.wait_for_completion();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn work<const ID: u64>(&self) -> Work<'_>
    where
        T: Operations<ID>,
    {
        let place = const { T::CALLBACKS.place_of_work::<ID>() };
        Work(&self.header().callbacks().work()[place])
    }
}

impl Work<'_> {
    /// Queues the work, unless it is queued.
    ///
    /// May be called in any context, by anybody who has a reference to the object, also by the work
    /// itself. If the work is running, it runs once more after that.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the object is not registered, or not any more.
    pub fn queue(self) -> Result<bool> {
        self.0.queue_after(0)
    }

    /// As [`Work::queue`], to be run after `delay`, rounded up to a tick. 24 days at most.
    ///
    /// If the work is queued, it runs when it would have run, and this returns false.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the object is not registered, or not any more.
    pub fn queue_after(self, delay: Delta) -> Result<bool> {
        let most = i64::from(i32::MAX);
        // CAST: It is in range.
        self.0.queue_after(msecs_to_jiffies(
            delay.as_millis_ceil().clamp(0, most) as u32
        ))
    }

    /// Takes the work back, if it is queued and has not begun; whether it was.
    ///
    /// Does not wait for work that is running. May be called in any context.
    pub fn cancel(self) -> bool {
        self.0.cancel()
    }
}
