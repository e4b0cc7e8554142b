// SPDX-License-Identifier: GPL-2.0

//! The rescan/remove lock: its owner, its depth, its order.

use super::*;

use crate::{
    pci::{
        rescan::Adopted,
        RescanLock,
        Unlocked, //
    },
    shims, //
};

use kernel::{
    bindings,
    pci, //
};

/// How often the owner can take the lock.
const MOST: usize = 32;

/// A task that holds nothing, as the tests are.
fn unlocked() -> Unlocked {
    // SAFETY: No test holds a lock where it calls this, and nobody waits for one but the test.
    unsafe { Unlocked::new() }
}

/// Whether the current task owns the lock.
fn is_held() -> bool {
    RescanLock::if_held(|_| ()).is_some()
}

/// A device of this machine, if it has one.
pub(super) fn any_device() -> Option<ARef<pci::Device>> {
    // SAFETY: May be called where one may sleep; there is no device to begin after.
    let device = unsafe {
        bindings::pci_get_device(
            bindings::PCI_ANY_ID as c_uint,
            bindings::PCI_ANY_ID as c_uint,
            core::ptr::null_mut(),
        )
    };
    // SAFETY: It is a valid device, of which this got a reference. The type is a transparent
    // wrapper.
    core::ptr::NonNull::new(device.cast::<pci::Device>())
        .map(|device| unsafe { ARef::from_raw(device) })
}

#[kunit_tests(holdfast_rescan_lock)]
mod rescan_tests {
    use super::*;

    /// Who has the lock gets it again, and it is given back with the first.
    #[test]
    fn reentry() -> Result {
        assert!(!is_held());
        RescanLock::with(&mut unlocked(), |lock| -> Result {
            assert_eq!(lock.depth(), 1);
            assert!(is_held());
            RescanLock::with(lock, |again| {
                assert_eq!(again.depth(), 2);
                assert_eq!(lock.depth(), 2);
            })?;
            // Without a token as well: the owner is found.
            RescanLock::with(&mut unlocked(), |again| assert_eq!(again.depth(), 2))?;
            assert_eq!(lock.depth(), 1);
            assert!(is_held());
            Ok(())
        })??;
        assert!(!is_held());
        Ok(())
    }

    /// Taking it too often is refused, and changes nothing.
    #[test]
    fn depth_is_limited() -> Result {
        fn deeper(lock: &RescanLock) -> Result<usize> {
            match RescanLock::with(lock, deeper) {
                Err(EOVERFLOW) => Ok(lock.depth()),
                result => result?,
            }
        }

        let (deepest, after) = RescanLock::with(&mut unlocked(), |lock| {
            let deepest = deeper(lock);
            (deepest, lock.depth())
        })?;
        assert_eq!(deepest?, MOST);
        assert_eq!(after, 1);
        assert!(!is_held());
        Ok(())
    }

    /// A release by who does not own it is refused, and takes the lock from nobody.
    #[test]
    fn mismatch_is_refused() -> Result {
        // SAFETY: May be called anywhere: that is what this tests.
        let release = || unsafe { shims::holdfast_rescan_unlock() };

        assert!(!release());
        let other = Other::new()?;
        RescanLock::with(&mut unlocked(), |lock| -> Result {
            let task = other.clone();
            spawn(move || {
                // SAFETY: As above.
                let released = unsafe { shims::holdfast_rescan_unlock() } || is_held();
                task.outcome
                    .store(if released { FAILED } else { DONE }, Release);
                task.done.complete_all();
            })?;
            other.done.wait_for_completion();
            assert_eq!(other.outcome.load(Acquire), DONE);
            assert_eq!(lock.depth(), 1);
            assert!(is_held());
            Ok(())
        })??;
        assert!(!is_held());
        assert!(!release());
        Ok(())
    }

    /// Whoever does not own it waits, however often the owner takes it meanwhile.
    #[test]
    fn another_task_waits() -> Result {
        for round in 0..rounds() {
            let other = Other::new()?;
            let task = other.clone();
            RescanLock::with(&mut unlocked(), |lock| -> Result {
                spawn(move || {
                    task.meet(0);
                    let entered = RescanLock::with(&mut unlocked(), |lock| {
                        task.outcome.load(Acquire) == DONE && lock.depth() == 1
                    });
                    if entered != Ok(true) {
                        task.errors.fetch_add(1, Full);
                    }
                    task.done.complete_all();
                })?;
                other.meet(pause(round));
                for _ in 0..8 {
                    RescanLock::with(lock, |again| assert_eq!(again.depth(), 2))?;
                }
                other.outcome.store(DONE, Release);
                Ok(())
            })??;
            other.done.wait_for_completion();
            assert_eq!(other.errors.load(Acquire), 0);
        }
        Ok(())
    }

    /// A worker acts for the owner, who waits for it; a third task waits for both.
    #[test]
    fn hand_over() -> Result {
        for round in 0..rounds() {
            let third = Other::new()?;
            let task = third.clone();
            RescanLock::with(&mut unlocked(), |lock| -> Result {
                spawn(move || {
                    task.meet(0);
                    let entered = RescanLock::with(&mut unlocked(), |lock| {
                        task.outcome.load(Acquire) == DONE && lock.depth() == 1
                    });
                    if entered != Ok(true) {
                        task.errors.fetch_add(1, Full);
                    }
                    task.done.complete_all();
                })?;
                let owner = crate::platform::current_task();
                let depths = lock.hand_over(|lock| {
                    third.meet(pause(round));
                    let another = crate::platform::current_task() != owner;
                    let inner = RescanLock::with(lock, |again| again.depth());
                    // It can be handed on.
                    let further = lock.hand_over(|lock| (lock.depth(), is_held()));
                    (another, is_held(), lock.depth(), inner, further)
                })?;
                assert!(depths == (true, true, 1, Ok(2), Ok((1, true))));
                assert!(is_held());
                assert_eq!(lock.depth(), 1);
                third.outcome.store(DONE, Release);
                Ok(())
            })??;
            assert!(!is_held());
            third.done.wait_for_completion();
            assert_eq!(third.errors.load(Acquire), 0);
        }
        Ok(())
    }

    /// What the PCI core has taken is the owner's, and is left to the core.
    #[test]
    fn taken_by_the_core() -> Result {
        // SAFETY: Given back below.
        unsafe { bindings::pci_lock_rescan_remove() };
        // Nothing guesses: only a lock that knows its owner can say that this is it.
        let known = is_held();
        // SAFETY: It was taken just now.
        let adopted = unsafe { Adopted::new() };
        let inside = (
            is_held(),
            adopted.depth(),
            RescanLock::with(&*adopted, |again| again.depth()),
            adopted.hand_over(|lock| RescanLock::with(lock, |again| again.depth())),
            RescanLock::if_held(|lock| lock.depth()),
        );
        drop(adopted);
        let after = is_held();
        // SAFETY: Taken above.
        unsafe { bindings::pci_unlock_rescan_remove() };

        assert!(inside == (true, 1, Ok(2), Ok(Ok(2)), Some(1)));
        assert_eq!(known, RescanLock::is_reentrant_in_core());
        assert_eq!(after, known);
        assert!(!is_held());
        // It is free: else this would wait for ever.
        RescanLock::with(&mut unlocked(), |lock| assert_eq!(lock.depth(), 1))
    }

    /// Somebody who has the device lock and waits for the rescan lock, as a stock kernel does, gets
    /// that from who has it and wants the device lock.
    #[test]
    fn both_locks_against_the_other_order() -> Result {
        let Some(device) = any_device() else {
            pr_info!("no PCI device here\n");
            return Ok(());
        };
        let raw: *mut bindings::pci_dev = core::ptr::from_ref(&*device).cast_mut().cast();

        for round in 0..rounds() {
            let other = Other::new()?;
            let task = (other.clone(), raw as usize);
            spawn(move || {
                let (task, raw) = task;
                let raw = raw as *mut bindings::pci_dev;
                // The lock of the device itself, which lockdep does not look at: what it has for
                // it would report this.
                //
                // SAFETY: The test has a reference to the device until this is done.
                unsafe { bindings::mutex_lock(&raw mut (*raw).dev.mutex) };
                task.meet(0);
                let taken = RescanLock::with(&mut unlocked(), |lock| lock.depth());
                // SAFETY: Locked above.
                unsafe { bindings::mutex_unlock(&raw mut (*raw).dev.mutex) };
                if taken != Ok(1) {
                    task.errors.fetch_add(1, Full);
                }
                task.done.complete_all();
            })?;
            other.meet(pause(round));
            let both = RescanLock::with_device(&mut unlocked(), &device, |lock, locked| {
                // SAFETY: The device is valid.
                let is_locked = unsafe { bindings::mutex_trylock(&raw mut (*raw).dev.mutex) } == 0;
                (lock.depth(), is_locked, core::ptr::eq(&**locked, &*device))
            });
            assert!(both == Ok((1, true, true)));
            other.done.wait_for_completion();
            assert_eq!(other.errors.load(Acquire), 0);
        }
        Ok(())
    }
}
