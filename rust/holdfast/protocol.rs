// SPDX-License-Identifier: GPL-2.0

//! The protocol between those who use an object and those who end it.
//!
//! Two small state machines, one word each, and nothing of the kernel in them: they are generic
//! over their atomics ([`Word`]) and their waiting ([`Waiters`]), so that a model checker on the
//! host can run the same code through every interleaving.
//!
//! # The registration
//!
//! ```text
//! Unregistered --begin_registration--> Registering --finish_registration--> Registered
//!      |                                |       |                               |
//!      |                       unregister       abandon_registration   unregister
//!      |                                v       |                               |
//!      |                          Cancelled     |                               |
//!      |             finish_registration|       |                               |
//!      unregister                       v       v                               |
//!      |                              Unregistering <---------------------------+
//!      v                                    |
//!    Ended <--------------end---------------+
//! ```
//!
//! The move into `Unregistering` is a single compare-and-exchange, and whoever makes it owns the
//! teardown until [`Protocol::end`]. Every other caller waits for `Ended`. The word holds the task
//! that is registering or unregistering beside the state: a task that would wait for itself finds
//! itself there, and no other task can (a task writes only its own identity, and takes it out
//! before it leaves).
//!
//! # The door
//!
//! A count of those inside, and a bit that says it is closed. It starts closed, is opened once
//! before the object becomes visible, and closed once by the owner of the teardown.

/// An atomic word. The names say the ordering.
pub(crate) trait Word {
    /// Creates a word that holds `value`.
    fn new(value: usize) -> Self;
    /// Loads with acquire ordering.
    fn load_acquire(&self) -> usize;
    /// Stores with release ordering.
    fn store_release(&self, value: usize);
    /// Replaces `old` by `new`, fully ordered; the value found otherwise.
    fn compare_exchange(&self, old: usize, new: usize) -> Result<(), usize>;
    /// Adds, with acquire ordering; the value before.
    fn fetch_add_acquire(&self, value: usize) -> usize;
    /// Adds, fully ordered; the value before.
    fn fetch_add(&self, value: usize) -> usize;
    /// Subtracts, with release ordering; the value before.
    fn fetch_sub_release(&self, value: usize) -> usize;
}

/// A place where tasks wait for a condition that others make true before they wake them.
pub(crate) trait Waiters {
    /// Sleeps until `condition` holds. It is asked again after each [`Waiters::wake_all`].
    fn wait_until(&self, condition: impl Fn() -> bool);
    /// Wakes all who wait.
    fn wake_all(&self);
}

const UNREGISTERED: usize = 0;
const REGISTERING: usize = 1;
const REGISTERED: usize = 2;
const CANCELLED: usize = 3;
const UNREGISTERING: usize = 4;
const ENDED: usize = 5;
const STATE: usize = 7;

const CLOSED: usize = 1;
const INSIDE: usize = 2;

/// The answer to one who asks for the end of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The caller owns the teardown, and must call [`Protocol::end`] after it.
    Owner,
    /// It has ended; everything that ended with it is over.
    Ended,
    /// The caller is the task that is registering or unregistering the object.
    WouldWaitForItself,
}

/// Why an object cannot be registered, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It was registered before, or ended before it could be.
    NotUnregistered,
    /// Its end was asked for during registration. The caller owns the teardown, and must call
    /// [`Protocol::end`] after it.
    Cancelled,
}

/// The identity of a task: not zero, and zero in the bits that hold the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task(usize);

impl Task {
    /// The task whose structure is at `address`, which is used for comparison only.
    pub(crate) fn from_address(address: usize) -> Self {
        // A `task_struct` is aligned to a cache line, so nothing is lost here.
        Self(address & !STATE)
    }
}

/// The protocol of one object.
///
/// # Invariants
///
/// - The state bits of `registration` follow the picture in the module's documentation.
/// - While they say `Registering`, `Cancelled` or `Unregistering`, the other bits are the task that
///   is doing it, else zero.
/// - `door` is `INSIDE` times the number of those who are inside or about to learn that it is
///   closed, plus `CLOSED` if it is.
pub(crate) struct Protocol<W: Word> {
    registration: W,
    door: W,
}

impl<W: Word> Protocol<W> {
    /// The protocol of an object that is not registered and whose door is closed.
    pub(crate) fn new() -> Self {
        // INVARIANT: Unregistered, by no task; closed, and nobody inside.
        Self {
            registration: W::new(UNREGISTERED),
            door: W::new(CLOSED),
        }
    }

    /// Claims the right to register the object, which is given once.
    pub(crate) fn begin_registration(&self, task: Task) -> Result<(), Lost> {
        self.registration
            .compare_exchange(UNREGISTERED, REGISTERING | task.0)
            .map_err(|_| Lost::NotUnregistered)
    }

    /// Ends the registration phase of the task that began it: the object is registered, unless
    /// somebody asked for its end meanwhile.
    pub(crate) fn finish_registration(&self, task: Task) -> Result<(), Lost> {
        if self
            .registration
            .compare_exchange(REGISTERING | task.0, REGISTERED)
            .is_ok()
        {
            return Ok(());
        }

        // Only this task leaves `Cancelled`.
        self.abandon_registration(task);
        Err(Lost::Cancelled)
    }

    /// Makes the task that began a registration which failed the owner of the teardown.
    pub(crate) fn abandon_registration(&self, task: Task) {
        // From `Registering` or `Cancelled`; nobody but this task leaves either for anything but
        // `Cancelled`, so no move is lost.
        self.registration.store_release(UNREGISTERING | task.0);
    }

    /// Asks for the end of the registration.
    ///
    /// Waits while another task registers or unregisters the object, unless `task` is that task.
    pub(crate) fn unregister(&self, task: Task, waiters: &impl Waiters) -> Claim {
        let mut seen = self.registration.load_acquire();
        loop {
            let owner = seen & !STATE;
            let (next, claim) = match seen & STATE {
                ENDED => return Claim::Ended,
                UNREGISTERED => (ENDED, Claim::Ended),
                REGISTERED => (UNREGISTERING | task.0, Claim::Owner),
                _ if owner == task.0 => return Claim::WouldWaitForItself,
                REGISTERING => (CANCELLED | owner, Claim::Ended),
                // `Cancelled` and `Unregistering` by another task.
                _ => break,
            };
            match self.registration.compare_exchange(seen, next) {
                Ok(()) if next == CANCELLED | owner => break,
                Ok(()) => return claim,
                Err(found) => seen = found,
            }
        }

        waiters.wait_until(|| self.registration.load_acquire() == ENDED);
        Claim::Ended
    }

    /// Says that the teardown is over. Called once, by its owner.
    ///
    /// All that the owner did before is visible to those who find the registration ended.
    pub(crate) fn end(&self, waiters: &impl Waiters) {
        self.registration.store_release(ENDED);
        waiters.wake_all();
    }

    /// Opens the door. Called once, by the task that registers.
    ///
    /// All that this task did before is visible to those who enter.
    pub(crate) fn open(&self) {
        // INVARIANT: The bit was set, by `new`; nobody else changes it before `close`.
        self.door.fetch_sub_release(CLOSED);
    }

    /// Closes the door. Called once, after [`Protocol::open`], by the owner of the teardown.
    pub(crate) fn close(&self) {
        // INVARIANT: The bit was clear since `open`.
        self.door.fetch_add(CLOSED);
    }

    /// Whether the door is open.
    pub(crate) fn is_open(&self) -> bool {
        self.door.load_acquire() & CLOSED == 0
    }

    /// Enters. On `true` the caller is inside until [`Protocol::leave`].
    pub(crate) fn enter(&self, waiters: &impl Waiters) -> bool {
        // INVARIANT: Counted before it is known whether the door is open: either this sees
        // `CLOSED`, or `drain` sees this.
        if self.door.fetch_add_acquire(INSIDE) & CLOSED == 0 {
            return true;
        }
        self.leave(waiters);
        false
    }

    /// Leaves, after an [`Protocol::enter`] that returned `true`.
    pub(crate) fn leave(&self, waiters: &impl Waiters) {
        // Release, so that all that was done inside happened before the end of `drain`.
        if self.door.fetch_sub_release(INSIDE) == INSIDE + CLOSED {
            waiters.wake_all();
        }
    }

    /// Waits until nobody is inside. The door must be closed.
    pub(crate) fn drain(&self, waiters: &impl Waiters) {
        waiters.wait_until(|| self.door.load_acquire() == CLOSED);
    }
}
