// SPDX-License-Identifier: GPL-2.0

//! What the callbacks of an object did, and what they are to do.

use super::*;

/// Shared by a test and the callbacks of its object.
#[pin_data]
pub(super) struct Log<D> {
    /// What the callback does.
    pub(super) does: D,
    /// How many bound data exist.
    pub(super) alive: Atomic<usize>,
    /// How often the callback was called.
    pub(super) calls: Atomic<usize>,
    /// How often another one was.
    pub(super) other_calls: Atomic<usize>,
    /// How often the callback was refused what it asked for.
    pub(super) refused: Atomic<usize>,
    /// Errors found in the callbacks, where a test cannot assert.
    pub(super) errors: Atomic<usize>,
    #[pin]
    pub(super) reached: Completion,
    #[pin]
    pub(super) go_on: Completion,
    #[pin]
    pub(super) done: Completion,
}

impl<D> Log<D> {
    pub(super) fn new(does: D) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                does,
                alive: Atomic::new(0),
                calls: Atomic::new(0),
                other_calls: Atomic::new(0),
                refused: Atomic::new(0),
                errors: Atomic::new(0),
                reached <- Completion::new(),
                go_on <- Completion::new(),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Acquire)
    }

    pub(super) fn expect(&self, condition: bool) {
        if !condition {
            self.errors.fetch_add(1, Full);
        }
    }

    pub(super) fn wait_for_calls(&self, calls: usize) {
        while self.calls() < calls {
            // SAFETY: The tests run in tasks that may sleep.
            unsafe { kernel::bindings::schedule() };
        }
    }
}

/// Bound data that is counted.
pub(super) struct Counted<D>(pub(super) Arc<Log<D>>);

impl<D> Counted<D> {
    pub(super) fn new(log: Arc<Log<D>>) -> Self {
        log.alive.fetch_add(1, Full);
        Self(log)
    }
}

impl<D> Drop for Counted<D> {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Full);
    }
}
