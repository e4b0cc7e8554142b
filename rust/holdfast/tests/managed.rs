// SPDX-License-Identifier: GPL-2.0

//! The door in all its forms, and managed resources.

use super::*;

use core::mem::ManuallyDrop;

use crate::managed::Managed;

/// A value that counts itself, and says in which order it was dropped.
struct Value {
    script: Arc<Script>,
    /// How many others were alive when this was dropped.
    expected: usize,
}

impl Value {
    fn new(script: &Arc<Script>, expected: usize) -> impl Init<Self, Error> {
        let script = script.clone();
        script.alive.fetch_add(1, Full);
        script.made.fetch_add(1, Full);
        Ok(Self { script, expected })
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.script.run(self.script.in_drop, None);
        let alive = self.script.alive.fetch_sub(1, Full);
        self.script.expect(alive == self.expected + 1);
    }
}

/// The device as a callback of its bus sees it.
fn as_core(registration: &faux::Registration) -> &Device<kernel::device::Core<'_>> {
    let device: &Device<Bound> = registration.as_ref().as_ref();
    // SAFETY: The context is not part of the layout. Nothing unbinds the device while it is
    // borrowed.
    unsafe { &*core::ptr::from_ref(device).cast() }
}

#[kunit_tests(holdfast_revocable)]
mod revocable_tests {
    use super::*;

    /// The door of atomic context is open and closed with the other one.
    #[test]
    fn atomic_door() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let object = unregistered(7)?;
        assert!(object.access_atomic(|_| ()) == Err(ENODEV));
        let registration = object.register(parent.as_ref().as_ref(), script.clone())?;
        assert!(registration.access_atomic(|access| access.script.alive()) == Ok(1));
        let reference = registration.reference();
        drop(registration);
        assert!(reference.access_atomic(|_| ()) == Err(ENODEV));
        Ok(())
    }

    /// Far more tasks inside than a CPU has slots: here one, that enters again and again.
    #[test]
    fn more_inside_than_slots() -> Result {
        fn enter(object: &Object<Subject>, depth: usize) -> Result<usize> {
            object.access(|access| match depth {
                0 => Ok(access.script.alive()),
                _ => enter(access.object(), depth - 1),
            })?
        }

        let parent = parent()?;
        let script = Script::new()?;
        let registration = register(&parent, &script)?;
        assert!(enter(&registration, 40) == Ok(1));
        assert!(registration.unregister() == Ok(Outcome::Done));
        assert_eq!(script.alive(), 0);
        Ok(())
    }

    /// The end waits for those who are inside without a slot, too.
    #[test]
    fn end_waits_for_counted() -> Result {
        fn enter(object: &Object<Subject>, depth: usize, last: &dyn Fn()) -> Result {
            object.access(|access| match depth {
                0 => {
                    last();
                    Ok(())
                }
                _ => enter(access.object(), depth - 1, last),
            })?
        }

        let parent = parent()?;
        let script = Script::with(Step::Nothing, Step::LetGo, Step::Nothing)?;
        let registration = register(&parent, &script)?;
        let other = Other::new()?;

        let task = (registration.reference(), script.clone(), other.clone());
        spawn(move || {
            let (object, script, other) = task;
            let entered = enter(&object, 40, &|| {
                other.ready.complete_all();
                script.go_on.wait_for_completion();
                script.expect(script.alive() == 1);
            });
            script.expect(entered.is_ok());
            other.done.complete_all();
        })?;
        other.ready.wait_for_completion();
        assert!(registration.unregister() == Ok(Outcome::Done));
        assert_eq!(script.alive(), 0);
        other.done.wait_for_completion();
        assert_eq!(script.errors.load(Acquire), 0);
        Ok(())
    }

    /// Whoever sleeps inside of one object does not delay the end of another.
    #[test]
    fn stuck_reader_delays_nobody_else() -> Result {
        let parent = parent()?;
        let script = Script::new()?;
        let stuck = register(&parent, &script)?;
        let free = register(&parent, &script)?;
        let other = Other::new()?;

        let task = (stuck.reference(), script.clone(), other.clone());
        spawn(move || {
            let (object, script, other) = task;
            let _ = object.access(|_| {
                other.ready.complete_all();
                script.go_on.wait_for_completion();
            });
            other.done.complete_all();
        })?;
        other.ready.wait_for_completion();
        free.access(|_| ())?;
        // If this waited, it would wait for ever: the reader goes on after it.
        assert!(free.unregister() == Ok(Outcome::Done));
        script.go_on.complete_all();
        other.done.wait_for_completion();
        Ok(())
    }

    /// Readers in atomic context against the end.
    #[test]
    fn atomic_readers_against_unregister() -> Result {
        read_against_unregister(|object| object.access_atomic(|access| access.script.alive()))
    }
}

#[kunit_tests(holdfast_devres)]
mod devres_tests {
    use super::*;

    /// The owner releases it early, once, and the handles notice.
    #[test]
    fn released_early() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let value = Managed::new(parent.as_ref().as_ref(), Value::new(&script, 0))?;
        let handle = value.handle();
        assert!(handle.access(|value| value.script.alive()) == Ok(1));
        assert!(handle.access_atomic(|value| value.script.alive()) == Ok(1));
        assert!(value.with(as_core(&parent), |value| value.script.alive()) == Ok(1));
        assert!(value.release() == Ok(Outcome::Done));
        assert_eq!(script.alive(), 0);
        assert!(handle.access(|_| ()) == Err(ENODEV));
        assert!(handle.access_atomic(|_| ()) == Err(ENODEV));
        assert!(!handle.is_registered());
        drop(parent);
        assert_eq!(script.errors.load(Acquire), 0);
        Ok(())
    }

    /// The unbind releases what the owner keeps, or has forgotten.
    #[test]
    fn released_by_unbind() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let kept = Managed::new(parent.as_ref().as_ref(), Value::new(&script, 0))?;
        // As if it had been forgotten, until the end of the test.
        let forgotten = ManuallyDrop::new(Managed::new(
            parent.as_ref().as_ref(),
            Value::new(&script, 1),
        )?);
        let handle = forgotten.handle();
        drop(parent);
        assert_eq!(script.alive(), 0);
        assert!(handle.access(|_| ()) == Err(ENODEV));
        assert!(kept.release() == Ok(Outcome::AlreadyDone));
        assert_eq!(script.errors.load(Acquire), 0);
        drop(ManuallyDrop::into_inner(forgotten));
        Ok(())
    }

    /// Objects and managed values end in the reverse order in which they were made.
    #[test]
    fn reverse_order() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let _first = Managed::new(parent.as_ref().as_ref(), Value::new(&script, 0))?;
        let _second = register(&parent, &script)?;
        let _third = Managed::new(parent.as_ref().as_ref(), Value::new(&script, 2))?;
        let early = Managed::new(parent.as_ref().as_ref(), Value::new(&script, 3))?;
        drop(early);
        let _fourth = Managed::new(parent.as_ref().as_ref(), Value::new(&script, 3))?;
        drop(parent);
        assert_eq!(script.errors.load(Acquire), 0);
        assert_eq!(script.alive(), 0);
        Ok(())
    }

    /// Everything of the library ends before devres releases anything, also what was acquired after
    /// the last registration: whoever is inside may use it.
    #[test]
    fn ends_before_other_resources() -> Result {
        struct Resource {
            object: ARef<Object<Subject>>,
            script: Arc<Script>,
        }

        impl Drop for Resource {
            fn drop(&mut self) {
                self.script
                    .expect(self.script.alive() == 0 && !self.object.is_registered());
                self.script.made.fetch_add(10, Full);
            }
        }

        let parent = parent()?;
        let script = Script::new()?;

        let registration = register(&parent, &script)?;
        let resource = Resource {
            object: registration.reference(),
            script: script.clone(),
        };
        kernel::devres::register::<Resource, Error>(
            parent.as_ref().as_ref(),
            Ok(resource),
            GFP_KERNEL,
        )?;
        drop(parent);
        assert_eq!(script.errors.load(Acquire), 0);
        assert_eq!(script.made.load(Acquire), 11);
        drop(registration);
        Ok(())
    }

    /// A value whose initialisation fails leaves nothing.
    #[test]
    fn failed_initialisation() -> Result {
        let parent = parent()?;
        let value = Managed::<u32>::new(parent.as_ref().as_ref(), Err::<u32, Error>(EIO));
        assert!(value.err() == Some(EIO));
        Ok(())
    }

    /// A value belongs to one device.
    #[test]
    fn other_device() -> Result {
        let first = parent()?;
        let second = faux::Registration::new(c"holdfast-test-second", None)?;
        let value = Managed::<u32>::new(first.as_ref().as_ref(), Ok::<u32, Error>(7))?;
        assert!(value.with(as_core(&first), |value| *value) == Ok(7));
        assert!(value.with(as_core(&second), |value| *value) == Err(ENODEV));
        drop(first);
        let again = parent()?;
        assert!(value.with(as_core(&again), |value| *value) == Err(ENODEV));
        Ok(())
    }

    /// A value that owns itself is released all the same.
    #[test]
    fn owns_itself() -> Result {
        #[pin_data]
        struct Knot {
            #[pin]
            own: kernel::sync::Mutex<Option<Managed<Arc<Knot>>>>,
        }

        let parent = parent()?;
        let knot = Arc::pin_init(
            pin_init!(Knot {
                own <- kernel::new_mutex!(None),
            }),
            GFP_KERNEL,
        )?;
        let value =
            Managed::<Arc<Knot>>::new(parent.as_ref().as_ref(), Ok::<_, Error>(knot.clone()))?;
        let handle = value.handle();
        *knot.own.lock() = Some(value);
        drop(knot);
        drop(parent);
        assert!(handle.access(|_| ()) == Err(ENODEV));
        Ok(())
    }

    /// An early release against the unbind, at every instant of it: one does it, and whoever does
    /// not returns when it is done.
    #[test]
    fn release_against_unbind() -> Result {
        let mut ours = 0;
        let mut aim = Aim::new();
        for round in 0..rounds() {
            let pause = aim.pause(round);
            let parent = parent()?;
            let script = Script::new()?;
            let other = Other::new()?;

            let value = Managed::new(parent.as_ref().as_ref(), Value::new(&script, 0))?;
            let task = (value, script.clone(), other.clone());
            spawn(move || {
                let (value, script, other) = task;
                other.meet(pause);
                let outcome = match value.release() {
                    Ok(Outcome::Done) => DONE,
                    Ok(Outcome::AlreadyDone) => ALREADY_DONE,
                    Err(_) => FAILED,
                };
                script.expect(script.alive() == 0);
                other.outcome.store(outcome, Release);
                other.done.complete_all();
            })?;
            other.meet(0);
            drop(parent);
            assert_eq!(script.alive(), 0);
            other.done.wait_for_completion();
            let outcome = other.outcome.load(Acquire);
            assert!(outcome == DONE || outcome == ALREADY_DONE);
            ours += usize::from(outcome == DONE);
            aim.adjust(pause, outcome == DONE);
            assert_eq!(script.errors.load(Acquire), 0);
            assert_eq!(script.made.load(Acquire), 1);
        }
        // Both came first in some rounds: they did meet.
        assert!(ours > 0 && ours < rounds());
        Ok(())
    }
}
