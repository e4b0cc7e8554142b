// SPDX-License-Identifier: GPL-2.0

//! Timers of an object: functions of the driver that are called inside the door at a given time.
//!
//! Timers end with the registration of their object: see [`crate::callbacks`]. They have the
//! resolution of the kernel's high-resolution timers, and run in softirq context. What may sleep,
//! or takes long, belongs into [work](crate::work), which can be delayed as well.
//!
//! # Examples
//!
//! ```ignore
//! impl object::Operations for Nic {
//!     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_timer::<0>();
//!     // …
//! }
//!
//! impl timer::Operations for Nic {
//!     fn expired(access: &Access<'_, '_, Self>) {
//!         access.bar.write32(WATCHDOG, 1);
//!         let _ = access.object().timer::<0>().start(Delta::from_millis(100));
//!     }
//! }
//!
//! object.timer::<0>().start(Delta::from_millis(100))?;
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
#[derive(Clone, Copy)]
pub struct Timer<'a>(&'a Item);

impl<T: object::Operations> Object<T> {
    /// The timer with the number `ID`.
    ///
    /// It must have been declared in [`object::Operations::CALLBACKS`], else this does not compile.
    pub fn timer<const ID: u64>(&self) -> Timer<'_>
    where
        T: Operations<ID>,
    {
        let place = const { T::CALLBACKS.place_of_timer::<ID>() };
        Timer(&self.header().callbacks().timers[place])
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
