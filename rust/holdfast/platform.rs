// SPDX-License-Identifier: GPL-2.0

//! The kernel's atomics, waiting and tasks, for [`crate::protocol`].

use crate::protocol::{
    Task,
    Waiters,
    Word, //
};

use kernel::{
    new_condvar,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        CondVar,
        SpinLock, //
    },
    task, //
};

/// The identity of the current task.
pub(crate) fn current_task() -> Task {
    Task::from_address(task::Task::current_raw() as usize)
}

/// A word of the kernel's atomics.
pub(crate) struct KernelWord(Atomic<usize>);

impl Word for KernelWord {
    fn new(value: usize) -> Self {
        Self(Atomic::new(value))
    }

    fn load_acquire(&self) -> usize {
        self.0.load(Acquire)
    }

    fn store_release(&self, value: usize) {
        self.0.store(value, Release);
    }

    fn compare_exchange(&self, old: usize, new: usize) -> Result<(), usize> {
        self.0.cmpxchg(old, new, Full).map(|_| ())
    }

    fn fetch_add_acquire(&self, value: usize) -> usize {
        self.0.fetch_add(value, Acquire)
    }

    fn fetch_add(&self, value: usize) -> usize {
        self.0.fetch_add(value, Full)
    }

    fn fetch_sub_release(&self, value: usize) -> usize {
        self.0.fetch_sub(value, Release)
    }
}

/// A wait queue.
#[pin_data]
pub(crate) struct WaitQueue {
    // Held from the question to the sleep, and by whoever wakes: no wake-up falls between.
    #[pin]
    lock: SpinLock<()>,
    #[pin]
    queue: CondVar,
}

impl WaitQueue {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lock <- new_spinlock!((), "holdfast::WaitQueue::lock"),
            queue <- new_condvar!("holdfast::WaitQueue::queue"),
        })
    }
}

impl Waiters for WaitQueue {
    fn wait_until(&self, condition: impl Fn() -> bool) {
        let mut guard = self.lock.lock();
        while !condition() {
            self.queue.wait(&mut guard);
        }
    }

    #[inline(never)]
    fn wake_all(&self) {
        drop(self.lock.lock());
        self.queue.notify_all();
    }
}
