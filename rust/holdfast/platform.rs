// SPDX-License-Identifier: GPL-2.0

//! The kernel's atomics, waiting, tasks and per-CPU slots, for [`crate::protocol`].

use crate::{
    protocol::{
        SlotClaim,
        Slots,
        Task,
        Waiters,
        Word, //
    },
    shims, //
};

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Release, //
    },
    task, //
};

/// The identity of the current task.
pub(crate) fn current_task() -> Task {
    Task::from_address(task::Task::current_raw() as usize)
}

/// A word of the kernel's atomics.
#[repr(transparent)]
pub(crate) struct KernelWord(Atomic<usize>);

impl Word for KernelWord {
    fn new(value: usize) -> Self {
        Self(Atomic::new(value))
    }

    #[inline]
    fn load_acquire(&self) -> usize {
        self.0.load(Acquire)
    }

    fn store_release(&self, value: usize) {
        self.0.store(value, Release);
    }

    #[inline]
    fn compare_exchange(&self, old: usize, new: usize) -> bool {
        self.0.cmpxchg(old, new, Full).is_ok()
    }

    fn fetch_add(&self, value: usize) -> usize {
        self.0.fetch_add(value, Full)
    }

    #[inline]
    fn fetch_sub_release(&self, value: usize) -> usize {
        self.0.fetch_sub(value, Release)
    }
}

/// How many grace periods there were.
#[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
pub(crate) static GRACE_PERIODS: Atomic<usize> = Atomic::new(0);

/// The slots of all CPUs, in `rust/helpers/door.c`. Sections are stretches without preemption.
///
/// # Invariants
///
/// A slot comes from `holdfast_door_enter()`; slots are static.
pub(crate) struct PerCpuSlots;

impl KernelWord {
    /// For the shims, which use it as C's atomics do.
    #[inline]
    fn as_ptr(&self) -> *mut usize {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}

impl Slots for PerCpuSlots {
    type Slot = NonNull<shims::Slot>;

    type Word = KernelWord;

    #[inline]
    fn claim(&self, door: &KernelWord, shut: usize) -> SlotClaim<Self::Slot> {
        // SAFETY: The word is valid, and accessed atomically on both sides.
        let slot = unsafe { shims::holdfast_door_enter(door.as_ptr(), shut) };
        // One comparison, where it is a slot.
        if slot as usize > shims::REFUSED {
            // INVARIANT: It comes from there.
            //
            // SAFETY: It is not null.
            return SlotClaim::Slot(unsafe { NonNull::new_unchecked(slot) });
        }
        if slot.is_null() {
            SlotClaim::Full
        } else {
            SlotClaim::Refused
        }
    }

    #[inline]
    fn give_back(&self, slot: Self::Slot, door: &KernelWord) -> usize {
        // SAFETY: By the type invariants; the word as above.
        unsafe { shims::holdfast_door_leave(door.as_ptr(), slot.as_ptr()) }
    }

    fn grace_period(&self) {
        #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
        GRACE_PERIODS.fetch_add(1, Full);
        // SAFETY: The protocol calls this where it may sleep.
        unsafe { shims::holdfast_grace_period() };
    }

    fn has(&self, door: usize) -> bool {
        // SAFETY: May be called anywhere.
        unsafe { shims::holdfast_slots_have(door) }
    }
}

impl PerCpuSlots {
    /// The addresses of the doors that `task` is inside of. What is there may go at any time,
    /// unless `task` is the current one.
    pub(crate) fn doors_of(&self, task: Task) -> impl Iterator<Item = usize> {
        let mut position = 0;
        core::iter::from_fn(move || {
            // SAFETY: `position` is valid for reads and writes.
            match unsafe { shims::holdfast_slots_next(task.address(), &mut position) } {
                0 => None,
                door => Some(door),
            }
        })
    }
}

/// A place to wait, in one of the kernel's shared wait queues, which is found by its address.
pub(crate) struct WaitQueue {
    // So that no two have the same address.
    _address: u8,
}

impl WaitQueue {
    pub(crate) const fn new() -> Self {
        Self { _address: 0 }
    }

    fn address(&self) -> *mut c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}

impl Waiters for WaitQueue {
    fn wait_until<C: Fn() -> bool>(&self, condition: C) {
        /// # Safety
        ///
        /// `condition` must point to a `C`.
        unsafe extern "C" fn holds<C: Fn() -> bool>(condition: *mut c_void) -> bool {
            // SAFETY: By the safety requirements.
            unsafe { (*condition.cast::<C>())() }
        }

        // SAFETY: `condition` lives until this returns. The protocol calls this where it may sleep.
        unsafe {
            shims::holdfast_wait_until(
                self.address(),
                holds::<C>,
                core::ptr::from_ref(&condition).cast_mut().cast(),
            )
        };
    }

    fn wake_all(&self) {
        // SAFETY: The address is only compared.
        unsafe { shims::holdfast_wake_all(self.address()) };
    }
}
