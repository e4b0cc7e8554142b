// SPDX-License-Identifier: GPL-2.0

//! Waiting for an object, in `poll`, in `read` and by signal.
//!
//! The wait queue is in the library's part of the object. Whoever polls has the file open, and an
//! open file keeps the object, so the queue outlives everybody on it: a driver cannot free it under
//! an epoll, because it has none.

use super::{
    memory::Mapping,
    Operations, //
};

use crate::{
    object::{
        self,
        Access,
        Header,
        Object, //
    },
    shims, //
};

use core::{
    cell::UnsafeCell,
    ops::BitOr, //
};

use kernel::{
    bindings,
    current,
    prelude::*,
    sync::barrier::{
        self,
        Full, //
    },
    task::{
        MAX_SCHEDULE_TIMEOUT,
        TASK_INTERRUPTIBLE,
        TASK_NORMAL, //
    },
    types::Opaque, //
};

/// What a file is ready for, as `poll` tells it.
/// # Examples
///
/// ```
/// # use holdfast::chardev::{self, *};
/// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
/// # use kernel::fs::file::flags::*;
/// # use kernel::sync::atomic::{Atomic, Relaxed};
/// # testing::object! {
/// #     struct Modem: ();
/// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
/// #     fn bind(_argument: ()) -> ModemBound {
/// #         Ok(ModemBound { received: Atomic::new(0), carrier: Atomic::new(true) })
/// #     }
/// # }
/// #
/// struct ModemBound {
///     received: Atomic<usize>,
///     carrier: Atomic<bool>,
/// }
///
/// # #[vtable]
/// # impl chardev::Operations for Modem {
/// #     type File = ();
/// #
/// #     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
/// #         Ok(())
/// #     }
/// #
/// fn poll(access: &Access<'_, '_, Self>, _file: &Handle<'_, Self>) -> Events {
///     let received = access.received.load(Relaxed);
///     let line = if access.carrier.load(Relaxed) {
///         Events::WRITABLE
///     } else {
///         Events::HANGUP | Events::READ_HANGUP
///     };
///     line | Events::READABLE.only_if(received > 0)
///         | Events::PRIORITY.only_if(received > 1000)
/// }
/// # }
///
/// # let parent = testing::Parent::new()?;
/// let registration = Unregistered::<Modem>::new(())?.register(&parent, ())?;
/// let file = File::open(&registration, O_RDWR)?;
/// assert!(file.poll() == Events::WRITABLE);
///
/// registration.access(|access| access.received.store(1, Relaxed))?;
/// assert!(file.poll() == Events::WRITABLE | Events::READABLE);
/// assert!(!file.poll().intersects(Events::ERROR | Events::PRIORITY));
///
/// registration.access(|access| access.carrier.store(false, Relaxed))?;
/// assert!(file.poll() == Events::HANGUP | Events::READ_HANGUP | Events::READABLE);
/// assert!(Events::NONE.only_if(true) == Events::READABLE.only_if(false));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events(u32);

impl Events {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A read would not block.
    pub const READABLE: Self = Self(0x41);
    /// A write would not block.
    pub const WRITABLE: Self = Self(0x104);
    /// There is something out of the ordinary.
    pub const PRIORITY: Self = Self(0x2);
    /// There was an error.
    pub const ERROR: Self = Self(0x8);
    /// The other side is gone.
    pub const HANGUP: Self = Self(0x10);
    /// The other side writes no more.
    pub const READ_HANGUP: Self = Self(0x2000);

    /// What a file says whose device is gone.
    pub(super) const GONE: Self = Self(Self::HANGUP.0 | Self::ERROR.0);

    /// `self` if `condition` holds, else nothing.
    pub const fn only_if(self, condition: bool) -> Self {
        if condition {
            self
        } else {
            Self::NONE
        }
    }

    /// Whether there is anything of `other` in it.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn as_raw(self) -> bindings::__poll_t {
        self.0
    }

    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn from_raw(events: bindings::__poll_t) -> Self {
        Self(events)
    }
}

impl BitOr for Events {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The character device's part of an object that does not depend on its type.
///
/// # Invariants
///
/// - `queue` is initialised, and on it are only those who hold a reference to the object: through a
///   file that they have open, or by being inside the door.
/// - `mapping` is set by the task that registers before the object can be opened, is read by those
///   inside the door, and taken by the owner of the teardown when nobody is inside.
#[pin_data]
pub(crate) struct State {
    #[pin]
    queue: Opaque<bindings::wait_queue_head>,
    signals: UnsafeCell<*mut bindings::fasync_struct>,
    pub(super) mapping: UnsafeCell<Option<Mapping>>,
}

impl State {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes, and does not move.
            queue <- Opaque::ffi_init(|slot| unsafe { shims::holdfast_wait_queue_init(slot) }),
            signals: UnsafeCell::new(core::ptr::null_mut()),
            mapping: UnsafeCell::new(None),
        })
    }

    /// Wakes all who wait for any of `events`, and sends `band` to those who asked for signals.
    fn wake(&self, events: Events, bands: &[u32]) {
        // SAFETY: By the type invariants, the queue is initialised. The key is the events.
        unsafe {
            bindings::__wake_up(
                self.queue.get(),
                TASK_NORMAL,
                0,
                events.as_raw() as usize as *mut c_void,
            )
        };
        for &band in bands {
            // SAFETY: The list is made by `fasync_helper` only, which synchronises with this.
            unsafe {
                bindings::kill_fasync(
                    self.signals.get(),
                    bindings::SIGIO as c_int,
                    band as c_int, //
                )
            };
        }
    }

    /// Puts a poller of `file` on the queue, if `table` asks for it.
    ///
    /// # Safety
    ///
    /// For use in the `poll` operation of a file of this object, with its arguments.
    pub(super) unsafe fn register(
        &self,
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) {
        // SAFETY: By the safety requirements. The poller is taken off the queue before the file is
        // released, which keeps the object.
        unsafe { bindings::poll_wait(file, self.queue.get(), table) };
    }

    /// Adds `file` to those who get signals, or takes it off.
    ///
    /// # Safety
    ///
    /// For use in the `fasync` operation of a file of this object, with its arguments.
    pub(super) unsafe fn signal(
        &self,
        header: &Header,
        descriptor: c_int,
        file: *mut bindings::file,
        on: c_int,
    ) -> c_int {
        // SAFETY: By the safety requirements. The VFS takes the file off before it releases it.
        let result = unsafe { bindings::fasync_helper(descriptor, file, on, self.signals.get()) };

        // Either this sees that the door is closed, or `wake_files` sees the file on the list.
        barrier::smp_mb(Full);
        if on == 0 || result < 0 || header.is_open() {
            return result;
        }
        // SAFETY: As above.
        unsafe { bindings::fasync_helper(descriptor, file, 0, self.signals.get()) };
        ENODEV.to_errno()
    }
}

/// Wakes everybody who waits for the object, because its door has just been closed.
///
/// Whoever comes on the queue later sees that it is closed.
#[inline(never)]
pub(crate) fn wake_files(header: &Header) {
    // Pairs with the one in `State::signal`. The queue has a lock, which does the same.
    barrier::smp_mb(Full);
    header.chardev.wake(Events::GONE, &[bindings::POLL_HUP]);
}

/// Wakes those who wait for `events`. See [`Object::wake_pollers`].
#[inline(never)]
fn wake_pollers(header: &Header, events: Events) {
    const BANDS: [u32; 2] = [bindings::POLL_IN, bindings::POLL_OUT];

    let bands = match (
        events.intersects(Events::READABLE),
        events.intersects(Events::WRITABLE),
    ) {
        (true, true) => &BANDS[..],
        (true, false) => &BANDS[..1],
        (false, true) => &BANDS[1..],
        (false, false) => &[],
    };
    header.chardev.wake(events, bands);
}

/// Makes those in [`Access::wait_until`] ask again.
#[cfg(CONFIG_PCI_IOV)]
pub(crate) fn wake_waiters(header: &Header) {
    header.chardev.wake(Events::NONE, &[]);
}

/// Waits inside the door until `done` says so. See [`Access::wait_until`].
///
/// The caller must be inside the door, and `done` may sleep.
#[inline(never)]
fn wait_inside(header: &Header, done: &mut dyn FnMut() -> bool) -> Result {
    /// An entry of the queue.
    ///
    /// # Invariants
    ///
    /// `entry` is on `queue`, and does not move.
    struct Waiter<'a> {
        queue: &'a Opaque<bindings::wait_queue_head>,
        entry: &'a Opaque<bindings::wait_queue_entry>,
    }

    impl Drop for Waiter<'_> {
        fn drop(&mut self) {
            // SAFETY: By the type invariants.
            unsafe { bindings::remove_wait_queue(self.queue.get(), self.entry.get()) };
        }
    }

    let entry = Opaque::uninit();
    let queue = &header.chardev.queue;
    // SAFETY: By the type invariants of `State`, `queue` is initialised; `entry` is initialised by
    // this, and is a local variable that is borrowed until it is off the queue again.
    unsafe { shims::holdfast_wait_begin(queue.get(), entry.get()) };
    // INVARIANT: It is on the queue since just now.
    let waiter = Waiter {
        queue,
        entry: &entry,
    };

    loop {
        // First, so that who never has to wait does not stay either.
        if !header.is_open() {
            return Err(ENODEV);
        }
        if done() {
            return Ok(());
        }
        if current!().signal_pending() {
            return Err(ERESTARTSYS);
        }
        // SAFETY: By the type invariants, the entry is on a queue, for the current task. What is
        // woken from now on, or was since the entry was queued or this was last called, makes it
        // return.
        unsafe {
            bindings::wait_woken(
                waiter.entry.get(),
                TASK_INTERRUPTIBLE as c_uint,
                MAX_SCHEDULE_TIMEOUT,
            )
        };
    }
}

/// # Waiting inside the door
///
/// The end of the registration waits for everybody inside, so it must be able to wake them. These
/// it wakes by itself, and a driver that waits in no other way needs no
/// [`wake`](object::Operations::wake).
impl<T: object::Operations> Access<'_, '_, T> {
    /// Waits until `condition` holds.
    ///
    /// It is asked at first, and again whenever somebody calls [`Object::wake_pollers`]: make it
    /// true, then call that. It may sleep, and may take locks. This must not be called where one
    /// may not sleep.
    ///
    /// The end of this object wakes it. A caller that is inside of another object, too, delays the
    /// end of that one: leave it before.
    ///
    /// # Errors
    ///
    /// - [`ENODEV`] as soon as the registration is ending, whatever the condition.
    /// - [`ERESTARTSYS`] if the task got a signal. Return it from the system call.
    /// # Examples
    ///
    /// ```
    /// # use holdfast::{callbacks::Callbacks, chardev::Events, testing, work};
    /// # use holdfast::object::{Access, Unregistered};
    /// # use kernel::sync::atomic::{Acquire, Atomic, Release};
    /// # testing::object! {
    /// #     struct Motor: ();
    /// #     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<0>();
    /// #     fn bind(_argument: ()) -> Atomic<u32> {
    /// #         Ok(Atomic::new(0))
    /// #     }
    /// # }
    /// #
    /// impl work::Operations for Motor {
    ///     fn run(access: &Access<'_, '_, Self>) {
    ///         access.store(1, Release);
    ///         access.object().wake_pollers(Events::READABLE);
    ///     }
    /// }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Motor>::new(())?.register(&parent, ())?;
    /// registration.work::<0>().queue()?;
    /// registration.access(|access| access.wait_until(|| access.load(Acquire) == 1))??;
    ///
    /// // The end of the registration ends the wait.
    /// let result = registration.access(|access| {
    ///     access.object().unregister_deferred();
    ///     access.wait_until(|| false)
    /// })?;
    /// assert_eq!(result, Err(ENODEV));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wait_until(&self, mut condition: impl FnMut() -> bool) -> Result {
        wait_inside(self.object().header(), &mut condition)
    }

    /// Waits until `attempt` gives something, and returns that.
    ///
    /// As [`Access::wait_until`], for what one cannot ask for without taking it.
    ///
    /// # Errors
    ///
    /// As [`Access::wait_until`].
    /// # Examples
    ///
    /// ```
    /// # use holdfast::{callbacks::Callbacks, chardev::Events, testing, work};
    /// # use holdfast::object::{Access, Unregistered};
    /// # use kernel::{new_mutex, sync::Mutex};
    /// # testing::object! {
    /// #     struct Queue: ();
    /// #     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<0>();
    /// #     fn bind(_argument: ()) -> QueueBound {
    /// #         new_queue()
    /// #     }
    /// # }
    /// #
    /// #[pin_data]
    /// struct QueueBound {
    ///     #[pin]
    ///     jobs: Mutex<KVec<u32>>,
    /// }
    /// # fn new_queue() -> impl PinInit<QueueBound, Error> {
    /// #     try_pin_init!(QueueBound { jobs <- new_mutex!(KVec::new()) }? Error)
    /// # }
    ///
    /// impl work::Operations for Queue {
    ///     fn run(access: &Access<'_, '_, Self>) {
    ///         if access.jobs.lock().push(7, GFP_KERNEL).is_ok() {
    ///             access.object().wake_pollers(Events::READABLE);
    ///         }
    ///     }
    /// }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Queue>::new(())?.register(&parent, ())?;
    /// registration.work::<0>().queue()?;
    /// let job = registration.access(|access| access.wait_for(|| access.jobs.lock().pop()))??;
    /// assert_eq!(job, 7);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wait_for<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> Result<R> {
        let mut found = None;
        self.wait_until(|| {
            found = attempt();
            found.is_some()
        })?;
        found.ok_or(ENODEV)
    }
}

impl<T: Operations> super::Handle<'_, T> {
    /// Waits until `attempt` gives something, or asks it once if the file is non-blocking.
    ///
    /// What [`Access::wait_for`] is for an operation that user space may have asked not to block.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if it would have to wait and must not; otherwise as [`Access::wait_for`].
    /// # Examples
    ///
    /// ```
    /// # use holdfast::chardev::{self, *};
    /// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
    /// # use kernel::fs::file::flags::*;
    /// # use kernel::{iov::IovIterDest, sync::atomic::{Atomic, Full}};
    /// # struct ButtonBound { pressed: Atomic<u32> }
    /// # testing::object! {
    /// #     struct Button: ();
    /// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
    /// #     fn bind(_argument: ()) -> ButtonBound {
    /// #         Ok(ButtonBound { pressed: Atomic::new(0) })
    /// #     }
    /// # }
    /// #
    /// # #[vtable]
    /// # impl chardev::Operations for Button {
    /// #     type File = ();
    /// #
    /// #     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
    /// #         Ok(())
    /// #     }
    /// #
    /// fn read(
    ///     access: &Access<'_, '_, Self>,
    ///     file: &Handle<'_, Self>,
    ///     _position: &mut i64,
    ///     buffer: &mut IovIterDest<'_>,
    /// ) -> Result<usize> {
    ///     let pressed = file.wait_for(access, || match access.pressed.xchg(0, Full) {
    ///         0 => None,
    ///         pressed => Some(pressed),
    ///     })?;
    ///     Ok(buffer.copy_to_iter(&pressed.to_le_bytes()))
    /// }
    /// # }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Button>::new(())?.register(&parent, ())?;
    /// let file = File::open(&registration, O_RDONLY | O_NONBLOCK)?;
    /// let mut pressed = [0; 4];
    /// assert_eq!(file.read(&mut pressed), Err(EAGAIN));
    ///
    /// registration.access(|access| access.pressed.store(3, kernel::sync::atomic::Relaxed))?;
    /// registration.wake_pollers(Events::READABLE);
    /// let file = File::open(&registration, O_RDONLY)?;
    /// assert_eq!(file.read(&mut pressed)?, 4);
    /// assert_eq!(pressed, [3, 0, 0, 0]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wait_for<R>(
        &self,
        access: &Access<'_, '_, T>,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Result<R> {
        if self.flags().is_nonblocking() {
            return attempt().ok_or(EAGAIN);
        }
        access.wait_for(attempt)
    }
}

impl<T: object::Operations> Object<T> {
    /// Wakes those who wait for any of `events`: in `poll`, `select` or epoll, and with a signal
    /// whoever asked for one; and everybody in [`Access::wait_until`].
    ///
    /// May be called in any context in which the caller holds a reference, also with spinlocks held
    /// and in interrupts.
    /// # Examples
    ///
    /// A timer that says that a file has become readable:
    ///
    /// ```
    /// # use holdfast::{callbacks::Callbacks, chardev::Events, testing, timer};
    /// # use holdfast::object::{Access, Unregistered};
    /// # use kernel::{sync::atomic::{Acquire, Atomic, Release}, time::Delta};
    /// # testing::object! {
    /// #     struct Tick: ();
    /// #     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_timer::<0>();
    /// #     fn bind(_argument: ()) -> TickBound {
    /// #         Ok(TickBound { ticked: Atomic::new(false) })
    /// #     }
    /// # }
    /// #
    /// # struct TickBound { ticked: Atomic<bool> }
    /// #
    /// impl timer::Operations for Tick {
    ///     fn expired(access: &Access<'_, '_, Self>) {
    ///         // First make it true, then tell those who wait for it.
    ///         access.ticked.store(true, Release);
    ///         access.object().wake_pollers(Events::READABLE);
    ///     }
    /// }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Tick>::new(())?.register(&parent, ())?;
    /// registration.timer::<0>().start(Delta::from_millis(1))?;
    /// registration.access(|access| access.wait_until(|| access.ticked.load(Acquire)))??;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wake_pollers(&self, events: Events) {
        wake_pollers(self.header(), events);
    }
}
