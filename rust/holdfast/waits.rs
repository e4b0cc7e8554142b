// SPDX-License-Identifier: GPL-2.0

//! Who waits for whose end.
//!
//! Whoever asks for an end that another task has claimed waits for it, and what a task drops while
//! it ends something may ask for other ends. So tasks could wait for each other in a circle: two
//! objects whose bound data own each other's registration, ended at once by two tasks; or an object
//! that is ended while its parent is, and whose bound data own the registration of a sibling.
//!
//! An operation inside of an object may ask for the end of its sibling, while the task that ends
//! their parent has claimed both.
//!
//! All tasks that end something or wait for an end are on one list, with what they end and what
//! they wait for, and the slots of the door say who is inside of what. Whoever begins to wait looks
//! for a circle there. One is always broken by a task that asked for an end with `unregister`: it
//! gets `EDEADLK`, and what it asked for ends when the others go on. Those who end a tree do not
//! give up: they wait only for what is below them and for those inside.
//!
//! Not seen are those who are inside without a slot, where many tasks of one CPU are inside of
//! something.

use crate::{
    platform::{
        current_task,
        PerCpuSlots, //
    },
    protocol::{
        Task,
        Waiters, //
    },
    revocable::{
        Children,
        Revocable, //
    }, //
};

use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::global_lock, //
};

/// What a task ends, or has asked for the end of.
#[derive(Clone, Copy)]
pub(crate) enum Ends<'a> {
    /// One revocable and all below it.
    Revocable(&'a Revocable),
    /// All that is below a device.
    Children(&'a Children),
}

impl Ends<'_> {
    /// Whether whoever does it waits for those inside of the door at `address`.
    fn drains(self, address: usize) -> bool {
        match self {
            Self::Revocable(revocable) => {
                core::ptr::from_ref(revocable) as usize == address
                    || revocable.children().contain(address)
            }
            Self::Children(children) => children.contain(address),
        }
    }

    /// Whether whoever does it waits for `task` to leave.
    fn waits_for(self, task: Task) -> bool {
        PerCpuSlots.doors_of(task).any(|door| self.drains(door))
    }
}

/// What a task does, on its stack.
///
/// # Invariants
///
/// It is in [`RECORDS`] for as long as it exists, and does not move. What `ends` and `waits_for`
/// refer to lives as long; the lifetimes are those of the record.
struct Record {
    task: Task,
    ends: Option<Ends<'static>>,
    waits_for: Option<NonNull<Revocable>>,
    found: Cell<Found>,
    next: Option<NonNull<Record>>,
}

impl Record {
    /// The task whose end this one waits for.
    fn waits_for_owner(&self) -> Option<Task> {
        // SAFETY: By the type invariants.
        unsafe { self.waits_for?.as_ref() }.protocol.owner()
    }
}

/// What the search for those who wait for the current task has found of another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing.
    No,
    /// It waits for the current one. Those who wait for it have not been looked for.
    Waits,
    /// It waits for the current one, or is that, and those who wait for it have been found.
    Done,
}

/// The list of all records.
struct Records(Option<NonNull<Record>>);

// SAFETY: Records are read and written under the lock of the list, by any task.
unsafe impl Send for Records {}

global_lock! {
    // SAFETY: `initialise` is called when the library is loaded, before anything else of it runs.
    unsafe(uninit) static RECORDS: SpinLock<Records> = Records(None);
}

/// Makes this module ready for use.
///
/// # Safety
///
/// Must be called exactly once, before anything else in this module.
pub(crate) unsafe fn initialise() {
    // SAFETY: By the safety requirements.
    unsafe { RECORDS.init() };
}

impl Records {
    fn iter(&self) -> impl Iterator<Item = &Record> + '_ {
        let mut next = self.0;
        core::iter::from_fn(move || {
            // SAFETY: By the type invariants of `Record`, those in the list exist while the lock is
            // held, which a reference to the list shows.
            let record = unsafe { next?.as_ref() };
            next = record.next;
            Some(record)
        })
    }

    /// Finds all tasks that wait for the current one, directly or through any number of others:
    /// their records say [`Found::Done`] then.
    ///
    /// Each task is looked at once, however they wait for each other: this is done under a
    /// spinlock.
    fn find_waiting(&self) {
        self.iter().for_each(|record| record.found.set(Found::No));
        let mut next = Some(current_task());
        while let Some(task) = next {
            self.iter()
                .filter(|record| record.task == task)
                .for_each(|record| record.found.set(Found::Done));
            self.find_waiting_for(task);
            next = self
                .iter()
                .find(|record| record.found.get() == Found::Waits)
                .map(|record| record.task);
        }
    }

    /// Finds those who wait for `task`.
    fn find_waiting_for(&self, task: Task) {
        let others = || self.iter().filter(|record| record.found.get() == Found::No);

        others()
            .filter(|record| record.waits_for_owner() == Some(task))
            .for_each(|record| record.found.set(Found::Waits));
        for door in PerCpuSlots.doors_of(task) {
            others()
                .filter(|record| record.ends.is_some_and(|ends| ends.drains(door)))
                .for_each(|record| record.found.set(Found::Waits));
        }
    }

    /// Whether the current task waits for itself, through others.
    fn in_circle(&self) -> bool {
        let current = current_task();
        let Some(owner) = self
            .iter()
            .filter(|record| record.task == current)
            .find_map(Record::waits_for_owner)
        else {
            return false;
        };
        self.find_waiting();
        owner == current
            || self
                .iter()
                .any(|record| record.task == owner && record.found.get() == Found::Done)
    }
}

/// What the current task is inside of.
fn doors_of_current_task() -> impl Iterator<Item = &'static Revocable> {
    PerCpuSlots
        .doors_of(current_task())
        // SAFETY: A door is a `Protocol`, and each is the first field of a `Revocable`, to which
        // whoever is inside has a reference. The callers use it before the current task leaves.
        .map(|door| unsafe { &*(door as *const Revocable) })
}

/// `revocable` and what it is below.
///
/// # Safety
///
/// The current task must be inside its door, or own its teardown, for as long as the result exists.
unsafe fn and_above(revocable: &Revocable) -> impl Iterator<Item = &Revocable> {
    core::iter::successors(Some(revocable), |below| {
        // SAFETY: By the safety requirements, `revocable` has not reached its end, so what it is
        // below has not.
        unsafe { below.above() }
    })
}

/// Calls `during` while the list says that the current task does this.
fn with_record<R>(
    ends: Option<Ends<'_>>,
    waits_for: Option<&Revocable>,
    during: impl FnOnce() -> R,
) -> R {
    let mut records = RECORDS.lock();
    let this = UnsafeCell::new(Record {
        task: current_task(),
        // SAFETY: Only the lifetime changes. The record goes before this function returns.
        ends: unsafe { core::mem::transmute::<Option<Ends<'_>>, Option<Ends<'static>>>(ends) },
        waits_for: waits_for.map(NonNull::from),
        found: Cell::new(Found::No),
        next: records.0,
    });
    // INVARIANT: It stays where it is, and is taken out of the list below.
    records.0 = NonNull::new(this.get());
    drop(records);

    let result = during();

    let mut records = RECORDS.lock();
    let mut place: *mut Option<NonNull<Record>> = &mut records.0;
    // SAFETY: By the type invariants, all in the list exist while the lock is held, and this is one
    // of them.
    unsafe {
        while let Some(record) = *place {
            if record.as_ptr() == this.get() {
                *place = (*this.get()).next;
                break;
            }
            place = &raw mut (*record.as_ptr()).next;
        }
    }
    result
}

/// Calls `during`, in which the current task ends something, or decides whether to.
pub(crate) fn while_ending<R>(ends: Ends<'_>, during: impl FnOnce() -> R) -> R {
    with_record(Some(ends), None, during)
}

/// Whether the current task, which has said that it ends `revocable`, would have to wait for
/// somebody inside who waits for it.
pub(crate) fn would_wait_in_circle(revocable: &Revocable) -> bool {
    let current = current_task();
    let records = RECORDS.lock();
    records.find_waiting();
    let circle = records.iter().any(|other| {
        other.task != current
            && other.found.get() == Found::Done
            && Ends::Revocable(revocable).waits_for(other.task)
    });
    circle
}

/// Whether the current task would wait for itself if it ended `revocable`: because it ends
/// something below it, or is inside of that.
pub(crate) fn would_wait_for_itself(revocable: &Revocable) -> bool {
    let task = current_task();
    let is_it = |other: &Revocable| core::ptr::eq(other, revocable);

    // SAFETY: The current task is inside of those.
    doors_of_current_task().any(|inside| unsafe { and_above(inside) }.any(is_it))
        || RECORDS
            .lock()
            .iter()
            .filter(|record| record.task == task)
            .filter_map(|record| record.ends)
            .any(|ends| match ends {
                // SAFETY: The current task is in the middle of that, so it owns the teardown.
                Ends::Revocable(ends) => unsafe { and_above(ends) }.any(is_it),
                Ends::Children(_) => false,
            })
}

/// Waits for the end of `revocable`, which another task owns the teardown of; false if that task
/// waits for the current one.
pub(crate) fn try_wait_for_end(revocable: &Revocable) -> bool {
    with_record(None, Some(revocable), || {
        revocable
            .protocol
            .wait_for_end(&revocable.waiters, || RECORDS.lock().in_circle())
    })
}

/// Waits for the end of `revocable`, which is below what the current task is ending.
pub(crate) fn wait_for_end(revocable: &Revocable) {
    with_record(None, Some(revocable), || {
        reconsider();
        revocable
            .protocol
            .wait_for_end(&revocable.waiters, || false);
    });
}

/// Whether somebody waits for the end of `revocable`. For tests only: nobody may rely on it.
#[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
pub(crate) fn is_waited_for(revocable: &Revocable) -> bool {
    RECORDS
        .lock()
        .iter()
        .any(|record| record.waits_for == Some(NonNull::from(revocable)))
}

/// Makes those who wait look again whether they wait in a circle. To be called by who may have
/// closed one, and does not give up: it ends something, and is about to wait.
pub(crate) fn reconsider() {
    // Under the lock: the list does not change, and who waits takes no lock to be woken.
    for waits_for in RECORDS.lock().iter().filter_map(|record| record.waits_for) {
        // SAFETY: By the type invariants of `Record`.
        unsafe { waits_for.as_ref() }.waiters.wake_all();
    }
}
