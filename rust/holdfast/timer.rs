// SPDX-License-Identifier: GPL-2.0

//! Timers of an object: functions of the driver that are called inside the door at a given time.
//!
//! Timers end with the registration of their object: see [`crate::callbacks`]. They have the
//! resolution of the kernel's high-resolution timers, and run in softirq context. What may sleep,
//! or takes long, belongs into [work](crate::work), which can be delayed as well.
//!
//! # Examples
//!
//! A watchdog that is fed every ten milliseconds:
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
//!     timer, //
//! };
//! use kernel::{
//!     device::{
//!         Bound,
//!         Device, //
//!     },
//!     prelude::*,
//!     sync::Completion,
//!     time::Delta, //
//! };
//! # use holdfast::testing;
//!
//! struct Nic;
//!
//! /// The number of the timer.
//! const WATCHDOG: u64 = 0;
//!
//! impl object::Operations for Nic {
//!     type Parent = Device<Bound>;
//!     type Structure = object::ClassDevice;
//!     type Data = Completion;
//!     type Bound<'bound> = ();
//!     type Argument = ();
//!
//!     const CLASS: Class = Class::new(c"example_watchdog", c"example-watchdog");
//!     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_timer::<WATCHDOG>();
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
//! impl timer::Operations<WATCHDOG> for Nic {
//!     fn expired(access: &Access<'_, '_, Self>) {
//!         // Inside the door, but in softirq context.
//!         access.object().complete_all();
//!         // Refused when the end has begun, so there is nothing that the driver has to stop.
//!         let _ = access.object().timer::<WATCHDOG>().start(Delta::from_millis(10));
//!     }
//! }
//!
//! # let parent = testing::Parent::new()?;
//! // The data is a completion, for whoever waits for the first expiry.
//! let nic = Unregistered::<Nic>::new(Completion::new())?.register(&parent, ())?;
//! nic.timer::<WATCHDOG>().start(Delta::from_millis(10))?;
//! nic.wait_for_completion();
//!
//! nic.unregister()?;
//! let again = nic.timer::<WATCHDOG>().start(Delta::from_millis(10));
//! assert_eq!(again, Err(ENODEV));
//! # Ok::<(), Error>(())
//! ```

use crate::object::{
    self,
    Access,
    Header,
    Object, //
};

use core::ptr::NonNull;

use kernel::{
    bindings,
    prelude::*,
    sync::rcu,
    time::{
        ClockSource,
        Delta,
        Monotonic, //
    },
    types::Opaque, //
};

/// A timer of a driver with the number `ID`.
/// # Examples
///
/// What may sleep belongs into work, which the timer queues:
///
/// ```
/// # use holdfast::{callbacks::Callbacks, testing, timer, work};
/// # use holdfast::object::{self, Access, Unregistered};
/// # use kernel::sync::Completion;
/// # use kernel::time::Delta;
/// # testing::object! {
/// #     struct Link: Completion;
/// #     const CALLBACKS: Callbacks<Self> = Callbacks::new()
/// #         .with_work::<0>()
/// #         .with_timer::<0>();
/// #     fn bind(_argument: ()) -> () {
/// #         Ok(())
/// #     }
/// # }
/// #
/// impl timer::Operations for Link {
///     fn expired(access: &Access<'_, '_, Self>) {
///         let _ = access.object().work::<0>().queue();
///     }
/// }
///
/// impl work::Operations for Link {
///     fn run(access: &Access<'_, '_, Self>) {
///         access.object().complete_all();
///     }
/// }
///
/// # let parent = testing::Parent::new()?;
/// let link = Unregistered::<Link>::new(Completion::new())?.register(&parent, ())?;
/// link.timer::<0>().start(Delta::from_micros(100))?;
/// link.wait_for_completion();
/// # Ok::<(), Error>(())
/// ```
pub trait Operations<const ID: u64 = 0>: object::Operations {
    /// The time has come.
    ///
    /// Called in softirq context, never twice at once for one object. It must not sleep, and may
    /// start the timer again.
    fn expired(access: &Access<'_, '_, Self>);
}

/// [`Operations::expired`], with the type erased.
///
/// # Safety
///
/// The header must be one of an object of this type, and the end of its registration must wait for
/// the caller.
pub(crate) type Function = unsafe fn(&Header);

/// # Safety
///
/// As [`Function`] says.
pub(crate) unsafe fn call<T: Operations<ID>, const ID: u64>(header: &Header) {
    // SAFETY: By the safety requirements.
    T::expired(&unsafe { Object::<T>::from_header(header).inside() });
}

/// A timer of an object.
///
/// # Invariants
///
/// - It is a part of `header`.
/// - `function` is for objects of the type of that.
/// - `timer` is initialised, with [`Item::expire`] as its function, and [`Item::MODE`].
#[repr(C)]
pub(crate) struct Item {
    timer: Opaque<bindings::hrtimer>,
    header: NonNull<Header>,
    function: Function,
}

impl Item {
    const MODE: bindings::hrtimer_mode = bindings::hrtimer_mode_HRTIMER_MODE_REL_SOFT;

    /// # Safety
    ///
    /// It must become a part of `header`, stay there, and be initialised before it is used.
    /// `function` must be for objects of the type of that.
    pub(crate) unsafe fn new(header: NonNull<Header>, function: Function) -> Self {
        Self {
            timer: Opaque::uninit(),
            header,
            function,
        }
    }

    /// # Safety
    ///
    /// Must be called once, and this must not be moved from then on.
    pub(crate) unsafe fn initialise(&self) {
        // SAFETY: By the safety requirements.
        unsafe {
            bindings::hrtimer_setup(
                self.timer.get(),
                Some(Self::expire),
                Monotonic::ID,
                Self::MODE,
            )
        };
    }

    fn header(&self) -> &Header {
        // SAFETY: By the type invariants.
        unsafe { self.header.as_ref() }
    }

    /// # Safety
    ///
    /// Called by the core of the timers, for the timer of an [`Item`].
    unsafe extern "C" fn expire(timer: *mut bindings::hrtimer) -> bindings::hrtimer_restart {
        // SAFETY: By the safety requirements, and because it is the first field. The memory stays,
        // because the end of the registration waits until this has returned, in `cancel_and_wait`.
        let item = unsafe { &*timer.cast::<Self>() };
        let header = item.header();
        let guard = rcu::read_lock();
        if header.is_open_atomic(&guard) {
            // SAFETY: By the type invariants, this is a function for this object. The registration
            // does not go on from closing the door while `guard` exists.
            unsafe { (item.function)(header) };
        }
        bindings::hrtimer_restart::HRTIMER_NORESTART
    }

    #[inline(never)]
    fn start(&self, after: Delta) -> Result {
        let guard = rcu::read_lock();
        if !self.header().is_open_atomic(&guard) {
            return Err(ENODEV);
        }
        // SAFETY: By the type invariants. `cancel_and_wait` has not been called: it comes after a
        // grace period, which waits for `guard`.
        unsafe {
            bindings::hrtimer_start_range_ns(
                self.timer.get(),
                after.as_nanos().max(0),
                0,
                Self::MODE,
            )
        };
        Ok(())
    }

    #[inline(never)]
    fn cancel(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::hrtimer_try_to_cancel(self.timer.get()) > 0 }
    }

    /// Stops the timer, and waits for it if it is running.
    ///
    /// Nobody can start it meanwhile, if the door was closed before a grace period.
    pub(crate) fn cancel_and_wait(&self) {
        // SAFETY: By the type invariants. The end of a registration may sleep, so this is not
        // called by what it waits for.
        unsafe { bindings::hrtimer_cancel(self.timer.get()) };
    }
}

/// A timer of an object, to be started.
/// # Examples
///
/// ```
/// # use holdfast::{callbacks::Callbacks, testing, timer};
/// # use holdfast::object::{self, Access, Unregistered};
/// # use kernel::sync::Completion;
/// # use kernel::time::Delta;
/// # testing::object! {
/// #     struct Lamp: Completion;
/// #     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_timer::<0>();
/// #     fn bind(_argument: ()) -> () {
/// #         Ok(())
/// #     }
/// # }
/// #
/// # impl timer::Operations for Lamp {
/// #     fn expired(access: &Access<'_, '_, Self>) {
/// #         access.object().complete_all();
/// #     }
/// # }
/// #
/// # let parent = testing::Parent::new()?;
/// let lamp = Unregistered::<Lamp>::new(Completion::new())?.register(&parent, ())?;
/// let dim = lamp.timer::<0>();
///
/// dim.start(Delta::from_secs(3600))?;
/// assert!(dim.cancel());
/// assert!(!dim.cancel());
///
/// // The second start is in place of the first.
/// dim.start(Delta::from_secs(3600))?;
/// dim.start(Delta::from_millis(1))?;
/// lamp.wait_for_completion();
/// assert!(!dim.cancel());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Timer<'a>(&'a Item);

impl<T: object::Operations> Object<T> {
    /// The timer with the number `ID`.
    ///
    /// It must have been declared in [`object::Operations::CALLBACKS`], else this does not compile.
    /// # Examples
    ///
    /// A type of objects can have any number of timers:
    ///
    /// ```
    /// # use holdfast::{callbacks::Callbacks, testing, timer};
    /// # use holdfast::object::{self, Access, Unregistered};
    /// # use kernel::sync::Completion;
    /// # use kernel::time::Delta;
    /// # testing::object! {
    /// #     struct Radio: Completion;
    /// #     const CALLBACKS: Callbacks<Self> = Callbacks::new()
    /// #         .with_timer::<RETRY>()
    /// #         .with_timer::<GIVE_UP>();
    /// #     fn bind(_argument: ()) -> () {
    /// #         Ok(())
    /// #     }
    /// # }
    /// #
    /// const RETRY: u64 = 1;
    /// const GIVE_UP: u64 = 2;
    ///
    /// impl timer::Operations<RETRY> for Radio {
    ///     fn expired(access: &Access<'_, '_, Self>) {
    ///         let _ = access.object().timer::<RETRY>().start(Delta::from_millis(1));
    ///     }
    /// }
    ///
    /// impl timer::Operations<GIVE_UP> for Radio {
    ///     fn expired(access: &Access<'_, '_, Self>) {
    ///         access.object().timer::<RETRY>().cancel();
    ///         access.object().complete_all();
    ///     }
    /// }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let radio = Unregistered::<Radio>::new(Completion::new())?.register(&parent, ())?;
    /// radio.timer::<RETRY>().start(Delta::from_millis(1))?;
    /// radio.timer::<GIVE_UP>().start(Delta::from_millis(5))?;
    /// radio.wait_for_completion();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn timer<const ID: u64>(&self) -> Timer<'_>
    where
        T: Operations<ID>,
    {
        let place = const { T::CALLBACKS.place_of_timer::<ID>() };
        Timer(&self.header().callbacks().timers()[place])
    }
}

impl Timer<'_> {
    /// Starts the timer, which expires once, `after` from now. If it is running already, this is
    /// its new time.
    ///
    /// May be called in any context, by anybody who has a reference to the object, also by the
    /// timer itself.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the object is not registered, or not any more.
    pub fn start(self, after: Delta) -> Result {
        self.0.start(after)
    }

    /// Stops the timer; whether it was running.
    ///
    /// Does not wait for [`Operations::expired`], which may be under way, and start the timer
    /// again. May be called in any context.
    pub fn cancel(self) -> bool {
        self.0.cancel()
    }
}
