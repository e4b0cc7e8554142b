// SPDX-License-Identifier: GPL-2.0

//! Atomics, waiting and per-CPU slots of loom, for [`crate::protocol`].
//!
//! Where the kernel and C11 (which is what loom explores) differ, this is the weaker of the two, so
//! that what holds here holds in the kernel.

use crate::protocol::{
    SlotClaim,
    Slots,
    Task,
    Waiters,
    Word, //
};

use core::{
    array,
    cell::{
        Cell,
        RefCell, //
    },
};

use loom::sync::{
    atomic::{
        AtomicUsize as LoomAtomicUsize,
        Ordering::{
            self,
            AcqRel,
            Acquire,
            Relaxed,
            Release, //
        },
    },
    Condvar,
    Mutex,
    MutexGuard, //
};

/// How many tasks a scenario has at most.
const TASKS: usize = 3;

loom::thread_local! {
    /// Which of them this is.
    static INDEX: Cell<usize> = Cell::new(0);
}

/// Says that this is another task than the one that the scenario begins with, which is 0.
pub(crate) fn set_index(index: usize) {
    INDEX.with(|this| this.set(index));
}

/// One of loom's atomics, of which loom tries every order of loads and stores.
///
/// By itself it does not. To find where else a store could have come, loom looks at the last access
/// to the atomic only: if one task loads, and then another one loads and stores, it never tries that
/// store before the first load. So there is an atomic beside it for each task that loads and each
/// other one that stores, which both access right after that, where loom tries no other order. These
/// accesses order nothing.
struct AtomicUsize {
    value: LoomAtomicUsize,
    beside: [[LoomAtomicUsize; TASKS]; TASKS],
}

impl AtomicUsize {
    fn new(value: usize) -> Self {
        Self {
            value: LoomAtomicUsize::new(value),
            beside: array::from_fn(|_| array::from_fn(|_| LoomAtomicUsize::new(0))),
        }
    }

    fn touch(&self, beside: impl Fn(usize, usize) -> (usize, usize)) {
        let this = INDEX.with(Cell::get);
        loom::stop_exploring();
        for other in (0..TASKS).filter(|&other| other != this) {
            let (loads, stores) = beside(this, other);
            self.beside[loads][stores].fetch_add(0, Relaxed);
        }
        loom::explore();
    }

    fn load(&self, ordering: Ordering) -> usize {
        let value = self.value.load(ordering);
        self.touch(|this, other| (this, other));
        value
    }

    /// Anything that may store.
    fn change<R>(&self, change: impl FnOnce(&LoomAtomicUsize) -> R) -> R {
        let answer = change(&self.value);
        self.touch(|this, other| (other, this));
        answer
    }

    fn store(&self, value: usize, ordering: Ordering) {
        self.change(|atomic| atomic.store(value, ordering));
    }

    fn swap(&self, value: usize, ordering: Ordering) -> usize {
        self.change(|atomic| atomic.swap(value, ordering))
    }

    fn compare_exchange(
        &self,
        old: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        self.change(|atomic| atomic.compare_exchange(old, new, success, failure))
    }

    fn fetch_add(&self, value: usize, ordering: Ordering) -> usize {
        self.change(|atomic| atomic.fetch_add(value, ordering))
    }

    fn fetch_sub(&self, value: usize, ordering: Ordering) -> usize {
        self.change(|atomic| atomic.fetch_sub(value, ordering))
    }
}

/// A word of loom's atomics.
///
/// In the kernel, what is fully ordered is also ordered against all other words. Here it acquires
/// and releases, which shows that the protocol needs no more. One that is conditional and fails
/// orders nothing, there and here.
pub(crate) struct ModelWord(AtomicUsize);

impl Word for ModelWord {
    fn new(value: usize) -> Self {
        Self(AtomicUsize::new(value))
    }

    fn load_acquire(&self) -> usize {
        self.0.load(Acquire)
    }

    fn store_release(&self, value: usize) {
        // A plain store in the kernel. To loom, a store by one who has not seen the last exchange
        // could come before that exchange, although the exchange found what the storing task had
        // stored before; so it has to see it.
        self.0.swap(value, Release);
    }

    fn compare_exchange(&self, old: usize, new: usize) -> bool {
        self.0.compare_exchange(old, new, AcqRel, Relaxed).is_ok()
    }

    fn fetch_add(&self, value: usize) -> usize {
        self.0.fetch_add(value, AcqRel)
    }

    fn fetch_sub_release(&self, value: usize) -> usize {
        self.0.fetch_sub(value, Release)
    }
}

/// A wait queue, as in the library's own `platform.rs`.
pub(crate) struct WaitQueue {
    lock: Mutex<()>,
    queue: Condvar,
}

impl WaitQueue {
    pub(crate) fn new() -> Self {
        Self {
            lock: Mutex::new(()),
            queue: Condvar::new(),
        }
    }
}

impl Waiters for WaitQueue {
    fn wait_until<C: Fn() -> bool>(&self, condition: C) {
        let mut guard = self.lock.lock().unwrap();
        while !condition() {
            guard = self.queue.wait(guard).unwrap();
        }
    }

    fn wake_all(&self) {
        drop(self.lock.lock().unwrap());
        self.queue.notify_all();
    }
}

/// A slot, as in `rust/helpers/door.c`. The task is nothing to the protocol.
struct Slot {
    door: AtomicUsize,
    task: AtomicUsize,
}

struct Cpu {
    section: Mutex<()>,
    slots: Vec<Slot>,
}

/// The CPUs of a scenario.
///
/// # Sections and grace periods
///
/// A section holds a lock of its CPU, and a grace period takes and drops the lock of each CPU. So
/// for each section and each grace period, one of two things holds, as RCU has it: all that is in
/// the section happens before the end of the grace period, or the beginning of the grace period
/// happens before all that is in the section. Is it more than RCU gives?
///
/// - Sections of one CPU exclude and order each other: in the kernel they do too, because nothing
///   preempts them.
/// - A section of the CPU that is taken first happens before those later sections of the other CPUs
///   which find the grace period begun. RCU does not say that. So the scenarios in which two CPUs
///   play different parts are explored twice, with [`Cpus::backwards`] too: what needs this order
///   in one direction fails in the other.
pub(crate) struct Cpus {
    cpus: Vec<Cpu>,
    backwards: bool,
}

impl Cpus {
    /// As many CPUs as there are numbers, which say how many slots each has.
    pub(crate) fn new(slots: &[usize]) -> Self {
        let cpu = |&slots: &usize| Cpu {
            section: Mutex::new(()),
            slots: (0..slots)
                .map(|_| Slot {
                    door: AtomicUsize::new(0),
                    task: AtomicUsize::new(0),
                })
                .collect(),
        };
        Self {
            cpus: slots.iter().map(cpu).collect(),
            backwards: false,
        }
    }

    /// Grace periods go through the CPUs from the last to the first.
    pub(crate) fn backwards(self, backwards: bool) -> Self {
        Self { backwards, ..self }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.cpus.iter().flat_map(|cpu| &cpu.slots)
    }
}

/// A task that runs on a CPU.
pub(crate) struct Current<'a> {
    pub(crate) task: Task,
    cpus: &'a Cpus,
    cpu: usize,
    section: RefCell<Option<MutexGuard<'a, ()>>>,
}

impl<'a> Current<'a> {
    /// The task with `number`, counted from 1, on the CPU with the index `cpu`.
    pub(crate) fn new(cpus: &'a Cpus, number: usize, cpu: usize) -> Self {
        Self {
            task: Task::from_address(number << 6),
            cpus,
            cpu,
            section: RefCell::new(None),
        }
    }

    /// Whether this task has a slot with a door that `is_wanted`: see `holdfast_slots_next()`.
    pub(crate) fn is_inside(&self, is_wanted: impl Fn(usize) -> bool) -> bool {
        self.cpus.slots().any(|slot| {
            let door = slot.door.load(Acquire);
            is_wanted(door) && slot.task.load(Relaxed) == self.task.address()
        })
    }

    /// Begins a section.
    pub(crate) fn begin(&self) {
        let guard = self.cpus.cpus[self.cpu].section.lock().unwrap();
        let outer = self.section.replace(Some(guard));
        assert!(outer.is_none(), "a section in a section");
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        let guard = self.section.take();
        assert!(guard.is_some(), "not in a section");
    }

    fn find_and_claim(&self, door: usize) -> Option<(usize, usize)> {
        for (index, slot) in self.cpus.cpus[self.cpu].slots.iter().enumerate() {
            // In the kernel, the release below also orders what this has read, and what that had
            // been released with. In C11 only an acquire does.
            if slot.door.load(Acquire) == 0 {
                slot.task.store(self.task.address(), Relaxed);
                slot.door.store(door, Release);
                return Some((self.cpu, index));
            }
        }
        None
    }

    fn slot(&self, (cpu, index): (usize, usize)) -> &Slot {
        &self.cpus.cpus[cpu].slots[index]
    }
}

impl Slots for Current<'_> {
    type Slot = (usize, usize);

    type Word = ModelWord;

    fn claim(&self, door: &ModelWord, shut: usize) -> SlotClaim<Self::Slot> {
        self.begin();
        let Some(slot) = self.find_and_claim(core::ptr::from_ref(door) as usize) else {
            self.end();
            return SlotClaim::Full;
        };
        let claim = if door.load_acquire() & shut == 0 {
            SlotClaim::Slot(slot)
        } else {
            self.slot(slot).door.store(0, Release);
            SlotClaim::Refused
        };
        self.end();
        claim
    }

    fn give_back(&self, slot: Self::Slot, door: &ModelWord) -> usize {
        self.begin();
        self.slot(slot).door.store(0, Release);
        let seen = door.load_acquire();
        self.end();
        seen
    }

    fn grace_period(&self) {
        assert!(
            self.section.borrow().is_none(),
            "a grace period in a section"
        );
        let visit = |cpu: &Cpu| drop(cpu.section.lock().unwrap());
        if self.cpus.backwards {
            self.cpus.cpus.iter().rev().for_each(visit);
        } else {
            self.cpus.cpus.iter().for_each(visit);
        }
    }

    fn has(&self, door: usize) -> bool {
        self.cpus
            .slots()
            .any(|slot| slot.door.load(Acquire) == door)
    }
}
