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
//! Those who enter pay little and those who close pay much, because operations are frequent and
//! ends are not. Who enters claims a slot of its CPU ([`Slots`]), writes the door there, and only
//! then looks whether the door is open: plain loads and stores, in a section that does not sleep.
//! Who closes says so in the door's word, waits for one grace period, which ends when every section
//! that was under way has ended, and then looks into the slots. For each section:
//!
//! - it began before the grace period: it has ended, so its slot can be seen; or
//! - it began after the door's word was written: it finds the door closed.
//!
//! The same holds for the section in which a slot is given back: either that can be seen, or
//! whoever leaves sees that the door is closed, and wakes who waits for it.
//!
//! Slots name the door, by the address of its word, so nobody waits for those who are inside of
//! another one. Where a CPU has no slot left, who enters is counted in the door's word instead. A
//! door that nobody ever entered says so in its word, and needs no grace period. One grace period
//! serves any number of doors that were closed before it.

/// An atomic word. The names say the ordering.
pub(crate) trait Word {
    /// Creates a word that holds `value`.
    fn new(value: usize) -> Self;
    /// Loads with acquire ordering.
    fn load_acquire(&self) -> usize;
    /// Stores with release ordering.
    fn store_release(&self, value: usize);
    /// Replaces `old` by `new`, fully ordered, and returns true; or finds another value, which
    /// orders nothing.
    fn compare_exchange(&self, old: usize, new: usize) -> bool;
    /// Adds, fully ordered; the value before.
    fn fetch_add(&self, value: usize) -> usize;
    /// Subtracts, with release ordering; the value before.
    fn fetch_sub_release(&self, value: usize) -> usize;
}

/// A place where tasks wait for a condition that others make true before they wake them.
pub(crate) trait Waiters {
    /// Sleeps until `condition` holds, which must not sleep. It is asked again after each
    /// [`Waiters::wake_all`].
    fn wait_until<C: Fn() -> bool>(&self, condition: C);
    /// Wakes all who wait. Whatever the caller did before is seen by conditions that are asked
    /// because of it.
    fn wake_all(&self);
}

const UNREGISTERED: usize = 0;
const REGISTERING: usize = 1;
const REGISTERED: usize = 2;
const CANCELLED: usize = 3;
const UNREGISTERING: usize = 4;
const ENDED: usize = 5;
const STATE: usize = 7;

/// The door is closed.
const CLOSED: usize = 1;
/// Nobody has ever been inside.
const UNUSED: usize = 2;
/// One who is inside without a slot.
const COUNTED: usize = 4;

/// The slots in which those who are inside say so.
///
/// A *section* is what [`Slots::grace_period`] waits for; it does not sleep. The two sections that
/// there are have one function each, because that is a call, and there is no other in an operation.
pub(crate) trait Slots {
    /// A slot that is claimed.
    type Slot: Copy;
    /// The word of a door.
    type Word: Word;

    /// In one section, claims a slot of this CPU for the current task inside `door`, if there is
    /// one, and only then looks at the word of `door`, with acquire ordering; and gives the slot
    /// back if any bit of `shut` is set there.
    ///
    /// A slot belongs to who claimed it until it is given back, wherever that happens.
    fn claim(&self, door: &Self::Word, shut: usize) -> SlotClaim<Self::Slot>;
    /// In one section, gives back `slot`, with release ordering, and only then looks at the word of
    /// `door`: what is there.
    fn give_back(&self, slot: Self::Slot, door: &Self::Word) -> usize;
    /// Waits until every section that has begun has ended. May sleep.
    fn grace_period(&self);
    /// Whether there is a slot with `door`. Acquires what was released when it was given back.
    fn has(&self, door: usize) -> bool;
}

/// What became of a [`Slots::claim`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum SlotClaim<S> {
    /// It is claimed.
    Slot(S),
    /// It was claimed, and given back.
    Refused,
    /// This CPU has none left.
    Full,
}

/// How somebody is inside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entered<S> {
    /// A slot says so.
    Slot(S),
    /// The door's word counts it.
    Counted,
}

/// The answer to one who asks for the end of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The caller owns the teardown, and must call [`Protocol::end`] after it.
    Owner,
    /// It has ended; everything that ended with it is over.
    Ended,
    /// The caller is the task that is registering or unregistering the object.
    WouldWaitForItself,
    /// Another task is doing it: [`Protocol::wait_for_end`] waits for that.
    Busy,
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

    /// The address it was made from.
    pub(crate) fn address(self) -> usize {
        self.0
    }
}

/// The protocol of one object.
///
/// # Invariants
///
/// - The state bits of `registration` follow the picture in the module's documentation.
/// - While they say `Registering`, `Cancelled` or `Unregistering`, the other bits are the task that
///   is doing it, else zero.
/// - `door` is `CLOSED` if it is, plus `UNUSED` if nobody has ever entered, plus `COUNTED` times
///   those who are inside without a slot.
/// - Whoever has a slot with the address of this is inside, or in a section in which it learns that
///   the door is closed.
/// - `door` is the first field: its address is that of this.
#[repr(C)]
pub(crate) struct Protocol<W: Word> {
    door: W,
    registration: W,
}

impl<W: Word> Protocol<W> {
    /// The protocol of an object that is not registered and whose door is closed.
    pub(crate) fn new() -> Self {
        // INVARIANT: Unregistered, by no task; closed, and nobody inside.
        Self {
            door: W::new(CLOSED | UNUSED),
            registration: W::new(UNREGISTERED),
        }
    }

    /// Claims the right to register the object, which is given once.
    pub(crate) fn begin_registration(&self, task: Task) -> Result<(), Lost> {
        if !self
            .registration
            .compare_exchange(UNREGISTERED, REGISTERING | task.0)
        {
            return Err(Lost::NotUnregistered);
        }
        Ok(())
    }

    /// Ends the registration phase of the task that began it: the object is registered, unless
    /// somebody asked for its end meanwhile.
    pub(crate) fn finish_registration(&self, task: Task) -> Result<(), Lost> {
        if self
            .registration
            .compare_exchange(REGISTERING | task.0, REGISTERED)
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

    /// Asks for the end of the registration, and does not wait.
    ///
    /// If the object is being registered by another task, that task learns of it.
    pub(crate) fn begin_unregistration(&self, task: Task) -> Claim {
        loop {
            // With acquire, as this may be the end; what a failed exchange finds orders nothing.
            let seen = self.registration.load_acquire();
            let owner = seen & !STATE;
            let (next, claim) = match seen & STATE {
                ENDED => return Claim::Ended,
                UNREGISTERED => (ENDED, Claim::Ended),
                REGISTERED => (UNREGISTERING | task.0, Claim::Owner),
                _ if owner == task.0 => return Claim::WouldWaitForItself,
                REGISTERING => (CANCELLED | owner, Claim::Busy),
                // `Cancelled` and `Unregistering` by another task.
                _ => return Claim::Busy,
            };
            if self.registration.compare_exchange(seen, next) {
                return claim;
            }
        }
    }

    /// Waits for the end of a registration that somebody else is ending, or until `give_up` holds;
    /// whether it has ended.
    pub(crate) fn wait_for_end(&self, waiters: &impl Waiters, give_up: impl Fn() -> bool) -> bool {
        let ended = || self.registration.load_acquire() == ENDED;
        waiters.wait_until(|| ended() || give_up());
        ended()
    }

    /// The task that is registering or unregistering the object.
    pub(crate) fn owner(&self) -> Option<Task> {
        match self.registration.load_acquire() & !STATE {
            0 => None,
            task => Some(Task(task)),
        }
    }

    /// Whether `task`, which is the caller, owns the teardown.
    pub(crate) fn is_owner(&self, task: Task) -> bool {
        self.registration.load_acquire() == UNREGISTERING | task.0
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
        // INVARIANT: Nobody has entered a door that was closed from the beginning.
        self.door.store_release(UNUSED);
    }

    /// Closes the door. Called once, after [`Protocol::open`], by the owner of the teardown.
    ///
    /// If this returns true there must be a grace period before [`Protocol::drain`].
    #[must_use]
    pub(crate) fn close(&self) -> bool {
        // INVARIANT: The bit was clear since `open`.
        //
        // One word and one order of its changes: whoever entered first is seen here.
        self.door.fetch_add(CLOSED) & UNUSED == 0
    }

    /// Whether the door is open.
    pub(crate) fn is_open(&self) -> bool {
        self.door.load_acquire() & CLOSED == 0
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(&self.door) as usize
    }

    /// Enters, if the door is open. The current task is inside until [`Protocol::leave`].
    ///
    /// An answer other than a slot is for [`Protocol::enter_otherwise`].
    #[inline]
    pub(crate) fn enter<S: Slots<Word = W>>(&self, slots: &S) -> SlotClaim<S::Slot> {
        slots.claim(&self.door, CLOSED | UNUSED)
    }

    /// Enters where [`Protocol::enter`] has not found a slot and an open door that was used before,
    /// if it is open.
    pub(crate) fn enter_otherwise<S: Slots<Word = W>>(
        &self,
        mut claimed: SlotClaim<S::Slot>,
        slots: &S,
        waiters: &impl Waiters,
    ) -> Option<Entered<S::Slot>> {
        loop {
            let refused = match claimed {
                SlotClaim::Slot(slot) => return Some(Entered::Slot(slot)),
                SlotClaim::Refused => true,
                SlotClaim::Full => false,
            };

            let seen = self.door.load_acquire();
            if seen & CLOSED != 0 {
                if refused {
                    // `drain` may have found the slot.
                    waiters.wake_all();
                }
                return None;
            }
            // INVARIANT: Said before anybody has entered. Counted, if there is no slot, while the
            // door is open.
            let next = (seen & !UNUSED) + if refused { 0 } else { COUNTED };
            if self.door.compare_exchange(seen, next) && !refused {
                return Some(Entered::Counted);
            }
            claimed = self.enter(slots);
        }
    }

    /// Whether the door is open, for a caller that is in an RCU read-side critical section, or in a
    /// section: if so, the end of the registration waits for the end of that.
    #[inline]
    pub(crate) fn is_open_in_section(&self) -> bool {
        self.door.load_acquire() & (CLOSED | UNUSED) == 0 || self.is_open_otherwise()
    }

    /// Out of line, to keep short what is inlined into drivers.
    #[cold]
    fn is_open_otherwise(&self) -> bool {
        loop {
            let seen = self.door.load_acquire();
            match seen & (CLOSED | UNUSED) {
                0 => return true,
                // Said before anybody relies on it, so that `close` asks for a grace period.
                UNUSED => {
                    self.door.compare_exchange(seen, seen & !UNUSED);
                }
                _ => return false,
            }
        }
    }

    /// Leaves, after the current task has entered. If this returns true, those who wait must be
    /// woken, who may be waiting for this.
    #[inline]
    #[must_use]
    pub(crate) fn leave<S: Slots<Word = W>>(&self, entered: Entered<S::Slot>, slots: &S) -> bool {
        // Release, so that all that was done inside happened before the end of `drain`.
        let seen = match entered {
            Entered::Slot(slot) => slots.give_back(slot, &self.door),
            Entered::Counted => self.door.fetch_sub_release(COUNTED),
        };
        seen & CLOSED != 0
    }

    /// Waits until nobody is inside. The door must have been closed, and then, if
    /// [`Protocol::close`] asked for it, a grace period have passed.
    pub(crate) fn drain(&self, slots: &impl Slots, waiters: &impl Waiters) {
        // Nobody has ever been inside, and nobody will be.
        if self.door.load_acquire() & UNUSED != 0 {
            return;
        }
        waiters.wait_until(|| self.door.load_acquire() == CLOSED && !slots.has(self.address()));
    }
}
