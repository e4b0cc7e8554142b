// SPDX-License-Identifier: GPL-2.0

//! The rescan/remove lock of the PCI core.
//!
//! Whoever adds devices to a PCI bus or takes them away holds this lock. In the kernel it is a
//! mutex: nobody can ask who holds it, and a task that takes it twice waits for itself. Here it has
//! an owner and a depth, and is lent by [`RescanLock::with`]: what is lent cannot be forgotten, be
//! given to another task, or be given back twice.
//!
//! # Order
//!
//! The rescan lock is taken first, and device locks inside of it. So what is needed to take it says
//! that no device lock is held, or that it is held already:
//!
//! ```text
//!   Unlocked ----------> RescanLock ----------> DeviceLock
//!                          |    ^
//!                          +----+  as often as it takes
//!
//!   pci::Device<Core>      a callback of the bus: its device lock is held, and there is no way
//!                          from here to the rescan lock, unless that is held as well
//! ```
//!
//! - [`Unlocked`] stands for a task that holds neither. The library has it where it runs in a task
//!   of its own, and where a module ends.
//! - [`RescanLock`] is lent by [`RescanLock::with`], and to callbacks that the PCI core calls with
//!   the lock held: see [`Request::rescan_lock`](super::sriov::Request::rescan_lock). Nothing
//!   guesses: a callback that is sometimes called with the lock and sometimes without gets none,
//!   and [`RescanLock::if_held`] is exact.
//! - [`DeviceLock`] is lent by [`RescanLock::with_device`], which has taken both.
//!
//! In the debug kernel, lockdep looks too: device locks of PFs have a class there, which they have
//! not in the kernel.
//!
//! # The lock of the core
//!
//! It works with the mutex of a stock kernel, which is taken once by the first of a task and given
//! back by the last, and with a reentrant lock that knows its owner, which the series in `patches/`
//! makes of it: [`RescanLock::is_reentrant_in_core`] says which there is.

use crate::shims;

use core::{
    marker::PhantomData,
    ops::Deref, //
};

use kernel::{
    pci,
    prelude::*,
    types::NotThreadSafe, //
};

use super::raw;

/// Finds out which lock this kernel has, and says so.
///
/// # Safety
///
/// Must be called exactly once, before anything else in this module.
pub(crate) unsafe fn initialise() {
    // SAFETY: By the safety requirements.
    let reentrant = unsafe { shims::holdfast_rescan_probe() };
    pr_info!(
        "the PCI core's rescan/remove lock is {}\n",
        if reentrant {
            "reentrant, and knows its owner"
        } else {
            "a plain mutex"
        }
    );
}

/// Ends what [`initialise`] began.
///
/// # Safety
///
/// Nothing else in this module may be used from now on.
pub(crate) unsafe fn end() {
    // SAFETY: By the safety requirements.
    unsafe { shims::holdfast_rescan_unprobe() };
}

/// A task that holds neither a device lock nor the rescan lock.
///
/// It is lent exclusively: while a lock is held that was taken from here, this cannot be used.
///
/// # Examples
///
/// ```
/// use holdfast::pci::{
///     RescanLock,
///     Unlocked, //
/// };
///
/// // SAFETY: A test holds no lock where it begins, and nobody waits for it.
/// let mut unlocked = unsafe { Unlocked::new() };
/// RescanLock::with(&mut unlocked, |lock| assert_eq!(lock.depth(), 1))?;
/// # Ok::<(), Error>(())
/// ```
pub struct Unlocked {
    _not_send: NotThreadSafe,
}

impl Unlocked {
    /// That the current task holds neither. For layers of the kernel below drivers.
    ///
    /// # Safety
    ///
    /// For as long as the result exists, the current task must hold no device lock and not the
    /// rescan lock, but for those taken from it. Nobody who may hold one of them may wait for the
    /// task: it must be inside of no object's door, of no file of sysfs, and of no work that is
    /// waited for in a callback of a bus.
    pub unsafe fn new() -> Self {
        Self {
            _not_send: NotThreadSafe,
        }
    }
}

mod private {
    pub trait Sealed {}

    impl Sealed for &mut super::Unlocked {}
    impl Sealed for &super::RescanLock {}
}

/// From where the rescan lock can be taken: from [`Unlocked`], and once more by who has it.
#[diagnostic::on_unimplemented(
    message = "the rescan lock cannot be taken from a `{Self}`",
    label = "this does not show that no device lock is held",
    note = "the rescan lock is taken first, and device locks inside of it",
    note = "where the PCI core holds it already, the callback is lent a `RescanLock`"
)]
pub trait BeforeRescanLock: private::Sealed {}

impl BeforeRescanLock for &mut Unlocked {}
impl BeforeRescanLock for &RescanLock {}

/// The rescan/remove lock of the PCI core, held by the current task.
///
/// See the [module's documentation](self).
///
/// # Examples
///
/// ```
/// use holdfast::pci::{
///     RescanLock,
///     Unlocked, //
/// };
///
/// /// What needs the lock, and is called with and without it.
/// fn depth_inside(context: impl BeforeRescanLock) -> Result<usize> {
///     RescanLock::with(context, |lock| lock.depth())
/// }
/// # use holdfast::pci::rescan::BeforeRescanLock;
///
/// # // SAFETY: A test holds no lock where it begins, and nobody waits for it.
/// # let unlocked = &mut unsafe { Unlocked::new() };
/// assert_eq!(depth_inside(&mut *unlocked)?, 1);
/// assert!(RescanLock::if_held(|_lock| ()).is_none());
///
/// let depths = RescanLock::with(unlocked, |lock| -> Result<_> {
///     // Once more; and in a worker, as long as it takes.
///     Ok((depth_inside(lock)?, lock.hand_over(|lent| lent.depth())?))
/// })??;
/// assert_eq!(depths, (2, 1));
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// The current task owns the lock for as long as this exists, or acts for who does.
pub struct RescanLock {
    _not_send: NotThreadSafe,
}

/// One acquisition of the lock.
///
/// # Invariants
///
/// It was taken by the current task, and not given back.
struct Taken(RescanLock);

impl Taken {
    #[inline]
    fn new() -> Result<Self> {
        // SAFETY: Whoever calls this may sleep, and holds nothing that is taken inside of the lock.
        if !unsafe { shims::holdfast_rescan_lock() } {
            return Err(EOVERFLOW);
        }
        // INVARIANT: Taken just now.
        Ok(Self(RescanLock::new()))
    }
}

impl Drop for Taken {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        let owned = unsafe { shims::holdfast_rescan_unlock() };
        debug_assert!(owned);
    }
}

/// That the current task owns the lock because the PCI core has taken it, noted while this exists.
///
/// # Invariants
///
/// `noted` says whether the end of this has to take that back.
pub(crate) struct Adopted {
    lock: RescanLock,
    noted: bool,
}

impl Adopted {
    /// # Safety
    ///
    /// The current task must own the lock of the core for as long as the result exists.
    pub(crate) unsafe fn new() -> Self {
        // INVARIANT: As the shim says. The task owns the lock by the safety requirements.
        Self {
            // SAFETY: By the safety requirements.
            noted: unsafe { shims::holdfast_rescan_adopt() },
            lock: RescanLock::new(),
        }
    }
}

impl Deref for Adopted {
    type Target = RescanLock;

    fn deref(&self) -> &RescanLock {
        &self.lock
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        if self.noted {
            // SAFETY: By the type invariants. All that was taken since is given back: it was lent.
            unsafe { shims::holdfast_rescan_disown() };
        }
    }
}

impl RescanLock {
    /// The caller establishes the type invariants.
    #[inline]
    fn new() -> Self {
        Self {
            _not_send: NotThreadSafe,
        }
    }

    /// Takes the lock, lends it to `inside`, and gives it back.
    ///
    /// May sleep. A task that owns the lock gets it at once.
    ///
    /// # Errors
    ///
    /// [`EOVERFLOW`] if the task has taken it 32 times.
    #[inline]
    pub fn with<C: BeforeRescanLock, R>(context: C, inside: impl FnOnce(&Self) -> R) -> Result<R> {
        let _ = context;
        let taken = Taken::new()?;
        Ok(inside(&taken.0))
    }

    /// Takes the lock, and inside of it the device lock of `device`, and lends both to `inside`.
    ///
    /// May sleep. A stock kernel takes the two in either order, depending on what is written to
    /// which file; each of these orders is a deadlock with somebody. So the device lock is only
    /// tried here. If somebody else has it, the rescan lock is given back, and this waits for the
    /// device lock without holding anything, before it begins again.
    ///
    /// # Errors
    ///
    /// As [`RescanLock::with`].
    ///
    /// # Examples
    ///
    /// ```
    /// use holdfast::pci::{
    ///     DeviceLock,
    ///     RescanLock,
    ///     Unlocked, //
    /// };
    /// use kernel::pci;
    ///
    /// /// What has to be done with both locks held.
    /// fn id(lock: &RescanLock, device: &DeviceLock<'_>) -> (usize, u16) {
    ///     (lock.depth(), device.device_id())
    /// }
    ///
    /// fn id_of(unlocked: &mut Unlocked, pdev: &pci::Device) -> Result<u16> {
    ///     let (depth, id) = RescanLock::with_device(unlocked, pdev, id)?;
    ///     assert_eq!(depth, 1);
    ///     Ok(id)
    /// }
    /// # let _ = id_of;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_device<R>(
        unlocked: &mut Unlocked,
        device: &pci::Device,
        inside: impl FnOnce(&Self, &DeviceLock<'_>) -> R,
    ) -> Result<R> {
        let mut inside = Some(inside);
        loop {
            let attempt = Self::with(&mut *unlocked, |lock| {
                let locked = DeviceLock::try_new(device)?;
                inside.take().map(|inside| inside(lock, &locked))
            })?;
            if let Some(result) = attempt {
                return Ok(result);
            }
            // SAFETY: A reference to a device is a valid `struct pci_dev`. Nothing is held.
            unsafe { shims::holdfast_device_wait(raw(device)) };
        }
    }

    /// Lends the lock to `inside` if the current task owns it, and returns [`None`] otherwise.
    ///
    /// May be called anywhere, as it takes nothing. On a kernel whose lock knows its owner
    /// ([`RescanLock::is_reentrant_in_core`]) the answer is exact; on another one the task counts
    /// as the owner if it has the lock through the library: it has taken it here, or is in a
    /// callback that is always called with the lock held.
    pub fn if_held<R>(inside: impl FnOnce(&Self) -> R) -> Option<R> {
        // SAFETY: May be called anywhere.
        if !unsafe { shims::holdfast_rescan_held() } {
            return None;
        }
        // SAFETY: It does, and whoever has taken it gives it back when this has returned.
        Some(inside(unsafe { &Adopted::new() }))
    }

    /// Whether the lock of the PCI core itself is reentrant and knows its owner.
    ///
    /// # Examples
    ///
    /// ```
    /// # use holdfast::pci::RescanLock;
    /// if !RescanLock::is_reentrant_in_core() {
    ///     pr_info!("set sriov_numvfs to 0 before the driver is unbound\n");
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn is_reentrant_in_core() -> bool {
        // SAFETY: May be called anywhere.
        unsafe { shims::holdfast_rescan_is_reentrant() }
    }

    /// How often the owner has taken it. What the PCI core has taken for it counts once.
    pub fn depth(&self) -> usize {
        // SAFETY: By the type invariants, the current task owns the lock.
        unsafe { shims::holdfast_rescan_depth() as usize }
    }

    /// Lets a worker do something as the owner of the lock, and waits for it.
    ///
    /// For what has to be done by another task while this one holds the lock. The worker is lent
    /// the lock; this task does nothing until it has given that back.
    pub fn hand_over<R: Send>(&self, work: impl FnOnce(&Self) -> R + Send) -> Result<R> {
        struct Handed<W, R> {
            work: Option<W>,
            result: Option<R>,
        }

        /// # Safety
        ///
        /// `data` must point to a `Handed<W, R>` that nobody else uses meanwhile, and the current
        /// task must act for the owner of the lock.
        unsafe extern "C" fn run<W: FnOnce(&RescanLock) -> R, R>(data: *mut c_void) {
            // SAFETY: By the safety requirements.
            let handed = unsafe { &mut *data.cast::<Handed<W, R>>() };
            // INVARIANT: By the safety requirements.
            let lock = RescanLock::new();
            handed.result = handed.work.take().map(|work| work(&lock));
        }

        /// The function for the type of `work`.
        fn function<W: FnOnce(&RescanLock) -> R, R>(
            _handed: &Handed<W, R>,
        ) -> unsafe extern "C" fn(*mut c_void) {
            run::<W, R>
        }

        let mut handed = Handed {
            work: Some(work),
            result: None,
        };
        let run = function(&handed);
        // SAFETY: By the type invariants, the current task owns the lock. `handed` is used by the
        // worker only until this returns; what goes there and back is `Send`.
        unsafe {
            shims::holdfast_rescan_hand_over(run, core::ptr::from_mut(&mut handed).cast());
        }
        handed.result.ok_or(EIO)
    }
}

/// A device lock, held by the current task, which holds the rescan lock as well.
///
/// Lent by [`RescanLock::with_device`]. It dereferences to the device.
///
/// # Invariants
///
/// The current task holds the lock of the device for as long as this exists.
pub struct DeviceLock<'a> {
    device: &'a pci::Device,
    _not_send: NotThreadSafe,
    _rescan_lock: PhantomData<&'a RescanLock>,
}

impl<'a> DeviceLock<'a> {
    fn try_new(device: &'a pci::Device) -> Option<Self> {
        // SAFETY: A reference to a device is a valid `struct pci_dev`.
        if !unsafe { shims::holdfast_device_trylock(raw(device)) } {
            return None;
        }
        // INVARIANT: Taken just now.
        Some(Self {
            device,
            _not_send: NotThreadSafe,
            _rescan_lock: PhantomData,
        })
    }
}

impl Deref for DeviceLock<'_> {
    type Target = pci::Device;

    fn deref(&self) -> &pci::Device {
        self.device
    }
}

impl Drop for DeviceLock<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { shims::holdfast_device_unlock(raw(self.device)) };
    }
}

/// A callback of the bus for a device, as lockdep sees it: its device lock is held.
#[cfg(CONFIG_PCI_IOV)]
pub(super) struct Callback {
    _not_send: NotThreadSafe,
}

#[cfg(CONFIG_PCI_IOV)]
impl Callback {
    /// # Safety
    ///
    /// The lock of `device` must be held by the current task for as long as the result exists, and
    /// no [`DeviceLock`] of it.
    #[inline(never)]
    pub(super) unsafe fn enter(device: &pci::Device) -> Self {
        // SAFETY: A reference to a device is a valid `struct pci_dev`.
        unsafe { shims::holdfast_device_lock_enter(raw(device)) };
        Self {
            _not_send: NotThreadSafe,
        }
    }
}

#[cfg(CONFIG_PCI_IOV)]
impl Drop for Callback {
    fn drop(&mut self) {
        // SAFETY: Entered, and not left.
        unsafe { shims::holdfast_device_lock_leave() };
    }
}
