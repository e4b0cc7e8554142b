// SPDX-License-Identifier: GPL-2.0

//! Work of an object: functions of the driver that a worker of the system calls inside the door.
//!
//! Work ends with the registration of its object: see [`crate::callbacks`]. Work that was queued
//! and has not begun by then does not run; work that is running is waited for.
//!
//! # Examples
//!
//! ```ignore
//! impl object::Operations for Nic {
//!     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<0>();
//!     // …
//! }
//!
//! impl work::Operations for Nic {
//!     fn run(access: &Access<'_, '_, Self>) {
//!         access.bar.write32(REFILL, 1);
//!     }
//! }
//!
//! object.work::<0>().queue()?;
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
#[derive(Clone, Copy)]
pub struct Work<'a>(&'a Item);

impl<T: object::Operations> Object<T> {
    /// The work with the number `ID`.
    ///
    /// It must have been declared in [`object::Operations::CALLBACKS`], else this does not compile.
    pub fn work<const ID: u64>(&self) -> Work<'_>
    where
        T: Operations<ID>,
    {
        let place = const { T::CALLBACKS.place_of_work::<ID>() };
        Work(&self.header().callbacks().work[place])
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
