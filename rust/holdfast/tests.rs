// SPDX-License-Identifier: GPL-2.0

//! KUnit suites.
//!
//! Each test says which promise it guards. The parents are faux devices: dropping one unbinds it,
//! which runs its devres.

/// Asserts in what several tests share: `assert!` is KUnit's in the tests themselves only.
/// A failure says which test it is, and a line of one of these files.
macro_rules! assert_shared {
    ($condition:expr) => {
        kernel::kunit_assert!("shared", c"rust/holdfast/tests", 0, $condition)
    };
}

#[path = "tests/attribute.rs"]
mod attribute;
#[cfg(CONFIG_IRQ_SIM)]
#[path = "tests/irq.rs"]
mod irq;
#[path = "tests/log.rs"]
mod log;
#[path = "tests/managed.rs"]
mod managed;
#[path = "tests/memory.rs"]
mod memory;
#[path = "tests/registry.rs"]
mod registry;
#[cfg(CONFIG_PCI)]
#[path = "tests/rescan.rs"]
mod rescan;
#[cfg(CONFIG_PCI_IOV)]
#[path = "tests/sriov.rs"]
mod sriov;
#[path = "tests/timer.rs"]
mod timer;
#[path = "tests/tree.rs"]
mod tree;
#[cfg(CONFIG_PCI_IOV)]
#[path = "tests/vfs.rs"]
mod vfs;
#[path = "tests/work.rs"]
mod work;

use crate::{
    class::Class,
    object::{
        self,
        Access,
        Object,
        Outcome,
        Registration,
        Unregistered, //
    },
    platform::GRACE_PERIODS, //
};

use kernel::{
    device::{
        Bound,
        Device, //
    },
    faux,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        Arc,
        Completion, //
    },
    workqueue, //
};

/// What happens to the object of a test, and how the test takes part in it.
#[pin_data]
struct Script {
    /// How many bound data exist.
    alive: Atomic<usize>,
    /// How many were ever made.
    made: Atomic<usize>,
    /// How often the wake hook ran.
    woken: Atomic<usize>,
    /// Errors found in the operations, where a test cannot assert.
    errors: Atomic<usize>,
    /// What `bind` does.
    in_bind: Step,
    /// What the wake hook does.
    in_wake: Step,
    /// What the drop of the bound data does.
    in_drop: Step,
    /// Completed when the object is in the step that waits.
    #[pin]
    reached: Completion,
    /// Completed by the test to let it go on.
    #[pin]
    go_on: Completion,
}

/// Something an operation does besides its work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Fails with `EIO`, in `bind` only.
    Fail,
    /// Says that it is there, and waits for the test.
    Wait,
    /// Asks for the end of its own object, and expects `EDEADLK`.
    UnregisterItself,
    /// Lets go who waits for `go_on`.
    LetGo,
}

impl Script {
    fn new() -> Result<Arc<Self>> {
        Self::with(Step::Nothing, Step::Nothing, Step::Nothing)
    }

    fn with(in_bind: Step, in_wake: Step, in_drop: Step) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                alive: Atomic::new(0),
                made: Atomic::new(0),
                woken: Atomic::new(0),
                errors: Atomic::new(0),
                in_bind,
                in_wake,
                in_drop,
                reached <- Completion::new(),
                go_on <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    fn alive(&self) -> usize {
        self.alive.load(Acquire)
    }

    fn expect(&self, condition: bool) {
        if !condition {
            self.errors.fetch_add(1, Full);
        }
    }

    fn run(&self, step: Step, object: Option<&Object<Subject>>) {
        match step {
            Step::Nothing | Step::Fail => {}
            Step::Wait => {
                self.reached.complete_all();
                self.go_on.wait_for_completion();
            }
            Step::UnregisterItself => {
                self.expect(object.is_some_and(|object| object.unregister() == Err(EDEADLK)))
            }
            Step::LetGo => self.go_on.complete_all(),
        }
    }
}

/// The kind of object that the tests use.
struct Subject;

/// Data in the memory of the object: plain, because it has to be.
struct Data {
    number: u32,
    // The script lives as long as the test, which outlives the object's registration. The wake hook
    // only sees the object.
    script: Atomic<usize>,
}

struct SubjectBound<'bound> {
    script: Arc<Script>,
    object: &'bound Object<Subject>,
}

impl Drop for SubjectBound<'_> {
    fn drop(&mut self) {
        self.script.run(self.script.in_drop, Some(self.object));
        self.script.alive.fetch_sub(1, Full);
    }
}

impl object::Operations for Subject {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = Data;
    type Bound<'bound> = SubjectBound<'bound>;
    type Argument = Arc<Script>;

    const CLASS: Class = Class::new(c"holdfast_test", c"holdfast-test");

    fn bind<'bound>(
        object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        script: Arc<Script>,
    ) -> impl PinInit<SubjectBound<'bound>, Error> + 'bound {
        object.script.store(Arc::as_ptr(&script) as usize, Release);
        script.run(script.in_bind, Some(object));
        if script.in_bind == Step::Fail {
            return Err(EIO);
        }
        script.alive.fetch_add(1, Full);
        script.made.fetch_add(1, Full);
        Ok(SubjectBound { script, object })
    }

    fn wake(object: &Object<Self>) {
        // SAFETY: `bind` stored it, and the bound data, which is dropped after this, holds it.
        let script = unsafe { &*(object.script.load(Acquire) as *const Script) };
        script.woken.fetch_add(1, Full);
        script.run(script.in_wake, Some(object));
    }
}

/// How many parents were made.
static PARENTS: Atomic<usize> = Atomic::new(0);

/// A parent with a name of its own: one that a test which fails leaves behind is in nobody's way.
pub(crate) fn parent() -> Result<faux::Registration> {
    let number = PARENTS.fetch_add(1, Full);
    let name = CString::try_from_fmt(fmt!("holdfast-test-parent{number}"))?;
    faux::Registration::new(&name, None)
}

fn unregistered(number: u32) -> Result<Unregistered<Subject>> {
    Unregistered::new(Ok::<_, Error>(Data {
        number,
        script: Atomic::new(0),
    }))
}

fn register(parent: &faux::Registration, script: &Arc<Script>) -> Result<Registration<Subject>> {
    unregistered(7)?.register(parent.as_ref().as_ref(), script.clone())
}

/// Runs `task` on another CPU, if there is one that is idle.
pub(crate) fn spawn(task: impl FnOnce() + Send + 'static) -> Result {
    Ok(workqueue::system_unbound().try_spawn(GFP_KERNEL, task)?)
}

/// Has KUnit report the test that calls this as skipped. It then returns what this returns.
fn skip(why: &CStr) -> Result {
    // SAFETY: May be called anywhere.
    let test = unsafe { kernel::bindings::kunit_get_current_test() };
    if test.is_null() {
        return Err(EINVAL);
    }
    // SAFETY: The test that is running, whose task this is. Only KUnit looks at these, when the
    // test has returned.
    unsafe {
        (*test).status = kernel::bindings::kunit_status_KUNIT_SKIPPED;
        let comment = &mut (*test).status_comment;
        for (to, from) in comment.iter_mut().zip(why.to_bytes_with_nul()) {
            *to = *from;
        }
    }
    Ok(())
}

/// How many rounds the races have.
pub(crate) fn rounds() -> usize {
    // SAFETY: May be called anywhere.
    unsafe { crate::shims::holdfast_kunit_race_rounds() as usize }
}

/// Pauses of every order of magnitude up to that of an unbind, none twice.
fn pause(round: usize) -> usize {
    (1 << (round % 16)) + round / 16
}

/// Aims one task of a race at an instant of the other: it pauses longer after a round in which it
/// came first, and less after one in which it came second. However long the other takes to come
/// there on this machine, both are first in some rounds.
struct Aim(usize);

impl Aim {
    fn new() -> Self {
        Self(1 << 10)
    }

    /// The pause for a round; every other one is of any length, for the instants before and after.
    fn pause(&self, round: usize) -> usize {
        if round % 2 == 0 {
            pause(round / 2)
        } else {
            self.0
        }
    }

    /// Takes in how a round with this pause has ended.
    fn adjust(&mut self, pause: usize, came_first: bool) {
        if came_first {
            self.0 = self.0.max(pause * 2);
        } else {
            self.0 = self.0.min(pause - pause / 4);
        }
    }
}

/// Shared by the two tasks of a race.
#[pin_data]
struct Other {
    outcome: Atomic<usize>,
    errors: Atomic<usize>,
    rounds: Atomic<usize>,
    arrived: Atomic<usize>,
    #[pin]
    ready: Completion,
    #[pin]
    done: Completion,
}

const NONE: usize = 0;
const DONE: usize = 1;
const ALREADY_DONE: usize = 2;
const FAILED: usize = 3;

impl Other {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                outcome: Atomic::new(NONE),
                errors: Atomic::new(0),
                rounds: Atomic::new(0),
                arrived: Atomic::new(0),
                ready <- Completion::new(),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns in both tasks at the same instant, if there are two CPUs for them, and `pause`
    /// turns of a loop later in one of them.
    ///
    /// Who comes first sees the other with a delay that depends on the machine; pauses of
    /// many lengths make up for it.
    fn meet(&self, pause: usize) {
        self.arrived.fetch_add(1, Full);
        let mut spins: usize = 0;
        while self.arrived.load(Acquire) < 2 {
            spins += 1;
            if spins & 0x3ff == 0 {
                // SAFETY: The tests run in tasks that may sleep.
                unsafe { kernel::bindings::schedule() };
            }
            core::hint::spin_loop();
        }
        for _ in 0..pause {
            core::hint::spin_loop();
        }
    }

    fn unregister(&self, object: &Object<Subject>) {
        let outcome = match object.unregister() {
            Ok(Outcome::Done) => DONE,
            Ok(Outcome::AlreadyDone) => ALREADY_DONE,
            Err(_) => FAILED,
        };
        self.outcome.store(outcome, Release);
        self.done.complete_all();
    }
}

/// Readers at a door of the object against its closing: whoever is let in finds the bound data.
/// `enter` enters, and says how many bound data there are.
fn read_against_unregister(enter: fn(&Object<Subject>) -> Result<usize>) -> Result {
    let parent = parent()?;
    let _class = unregistered(0)?;
    for _ in 0..rounds() {
        let script = Script::new()?;
        let registration = register(&parent, &script)?;
        let other = Other::new()?;

        let task = (registration.reference(), other.clone());
        spawn(move || {
            let (object, other) = task;
            loop {
                match enter(&object) {
                    Ok(1) => {
                        other.rounds.fetch_add(1, Full);
                        other.ready.complete_all();
                    }
                    Ok(_) => {
                        other.errors.fetch_add(1, Full);
                    }
                    Err(_) => break,
                }
            }
            other.done.complete_all();
        })?;

        // The reader has been inside once, and is on its way in again.
        other.ready.wait_for_completion();
        assert_shared!(registration.unregister() == Ok(Outcome::Done));
        assert_shared!(script.alive() == 0);
        other.done.wait_for_completion();
        assert_shared!(other.errors.load(Acquire) == 0);
        assert_shared!(other.rounds.load(Acquire) > 0);
    }
    Ok(())
}

#[kunit_tests(holdfast_object)]
mod object_tests {
    use super::*;

    /// The data can be read before, during and after the registration.
    #[test]
    fn data_outlives_registration() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let object = unregistered(7)?;
        assert_eq!(object.number, 7);
        let registration = object.register(parent.as_ref().as_ref(), script.clone())?;
        assert_eq!(registration.number, 7);
        let reference = registration.reference();
        drop(registration);
        assert_eq!(script.alive(), 0);
        drop(parent);
        assert_eq!(reference.number, 7);
        Ok(())
    }

    /// Nobody holds the object but those who have a reference.
    #[test]
    fn last_reference_owns_memory() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let registration = register(&parent, &script)?;
        let reference = registration.reference();
        assert!(reference.reference_count() > 2);
        drop(registration);
        drop(parent);
        assert_eq!(reference.reference_count(), 1);
        Ok(())
    }

    /// An object that was never registered is freed like any other, and its number with it.
    #[test]
    fn unregistered_gives_number_back() -> Result {
        let first = unregistered(1)?;
        assert!(first.name().to_bytes() == b"holdfast-test0");
        let second = unregistered(2)?;
        assert!(second.name().to_bytes() == b"holdfast-test1");
        drop(first);
        let third = unregistered(3)?;
        assert!(third.name().to_bytes() == b"holdfast-test0");
        Ok(())
    }

    /// The number and the name are free again when the registration has ended, though there are
    /// references left.
    #[test]
    fn name_is_free_after_registration() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let reference = register(&parent, &script)?.reference();
        let again = register(&parent, &script)?;
        assert!(reference.name().to_bytes() == again.name().to_bytes());
        Ok(())
    }

    /// An object whose initialisation fails leaves nothing behind.
    #[test]
    fn failed_initialisation() -> Result {
        assert!(Unregistered::<Subject>::new(Err::<Data, Error>(EIO)).err() == Some(EIO));
        assert!(unregistered(1)?.name().to_bytes() == b"holdfast-test0");
        Ok(())
    }
}

#[kunit_tests(holdfast_registration)]
mod registration_tests {
    use super::*;

    // The races keep an object around, so that their class is not registered anew in every round.

    /// The door is closed before, open during, and closed after the registration.
    #[test]
    fn door() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let object = unregistered(7)?;
        assert!(object.access(|_| ()) == Err(ENODEV));
        let registration = object.register(parent.as_ref().as_ref(), script.clone())?;
        assert!(registration.access(|access| access.object().number) == Ok(7));
        assert!(registration.access(|access| access.script.alive()) == Ok(1));
        let reference = registration.reference();
        drop(registration);
        assert!(reference.access(|_| ()) == Err(ENODEV));
        Ok(())
    }

    /// The door can be entered by somebody who is inside.
    #[test]
    fn door_is_reentrant() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let registration = register(&parent, &script)?;
        assert!(registration.access(|access| access.object().access(|_| 3)) == Ok(Ok(3)));
        Ok(())
    }

    /// The first caller does it, the second learns that it was done.
    #[test]
    fn outcome() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let registration = register(&parent, &script)?;
        assert!(registration.unregister() == Ok(Outcome::Done));
        assert_eq!(script.alive(), 0);
        assert!(registration.unregister() == Ok(Outcome::AlreadyDone));
        drop(registration);
        assert_eq!(script.made.load(Acquire), 1);
        assert_eq!(script.woken.load(Acquire), 1);
        Ok(())
    }

    /// A registration that is forgotten ends with the binding of its parent.
    #[test]
    fn forgotten_registration() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let registration = register(&parent, &script)?;
        let reference = registration.reference();
        core::mem::forget(registration);
        assert_eq!(script.alive(), 1);
        drop(parent);
        assert_eq!(script.alive(), 0);
        assert!(reference.access(|_| ()) == Err(ENODEV));

        // What was forgotten is a reference to the memory: give it back.
        // SAFETY: The forgotten registration owned it.
        unsafe {
            <Object<Subject> as kernel::sync::aref::AlwaysRefCounted>::dec_ref((&*reference).into())
        };
        assert_eq!(reference.reference_count(), 1);
        Ok(())
    }

    /// The parent's unbind ends a registration that somebody still holds.
    #[test]
    fn parent_unbinds() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let registration = register(&parent, &script)?;
        drop(parent);
        assert_eq!(script.alive(), 0);
        assert!(registration.unregister() == Ok(Outcome::AlreadyDone));
        Ok(())
    }

    /// Several registrations below one parent end one by one, early or with it.
    #[test]
    fn many_below_one_parent() -> Result {
        let parent = parent()?;
        let script = Script::new()?;
        let mut registrations = KVec::new();

        for _ in 0..10 {
            registrations.push(register(&parent, &script)?, GFP_KERNEL)?;
        }
        assert_eq!(script.alive(), 10);
        assert!(registrations[4].unregister() == Ok(Outcome::Done));
        assert_eq!(script.alive(), 9);
        drop(parent);
        assert_eq!(script.alive(), 0);
        Ok(())
    }

    /// The end of an object that is not registered yet makes its registration fail.
    #[test]
    fn ended_before_registration() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let object = unregistered(7)?;
        assert!(object.unregister() == Ok(Outcome::AlreadyDone));
        assert!(
            object
                .register(parent.as_ref().as_ref(), script.clone())
                .err()
                == Some(ENODEV)
        );
        assert_eq!(script.made.load(Acquire), 0);
        Ok(())
    }

    /// A `bind` that fails ends the object, and leaves nothing.
    #[test]
    fn bind_fails() -> Result {
        let parent = parent()?;
        let script = Script::with(Step::Fail, Step::Nothing, Step::Nothing)?;

        let object = unregistered(7)?;
        let reference = ARef::<Object<Subject>>::from(&*object);
        assert!(
            object
                .register(parent.as_ref().as_ref(), script.clone())
                .err()
                == Some(EIO)
        );
        assert_eq!(script.made.load(Acquire), 0);
        assert_eq!(script.woken.load(Acquire), 0);
        assert!(reference.unregister() == Ok(Outcome::AlreadyDone));
        assert_eq!(reference.reference_count(), 1);
        assert!(unregistered(1)?.name().to_bytes() == b"holdfast-test0");
        Ok(())
    }

    /// A task that would wait for itself is told so, wherever it is in the life of the object.
    #[test]
    fn waiting_for_oneself() -> Result {
        for (in_bind, in_wake, in_drop) in [
            (Step::UnregisterItself, Step::Nothing, Step::Nothing),
            (Step::Nothing, Step::UnregisterItself, Step::Nothing),
            (Step::Nothing, Step::Nothing, Step::UnregisterItself),
        ] {
            let parent = parent()?;
            let script = Script::with(in_bind, in_wake, in_drop)?;

            let registration = register(&parent, &script)?;
            assert!(registration.unregister() == Ok(Outcome::Done));
            assert_eq!(script.errors.load(Acquire), 0);
            assert_eq!(script.alive(), 0);
        }
        Ok(())
    }

    /// A registration that is dropped by who is inside of it ends when that has left.
    #[test]
    fn dropped_inside() -> Result {
        let parent = parent()?;
        let script = Script::new()?;

        let registration = register(&parent, &script)?;
        let reference = registration.reference();
        reference.access(|access| {
            drop(registration);
            assert_eq!(access.script.alive(), 1);
        })?;
        while reference.is_registered() {
            core::hint::spin_loop();
        }
        assert!(reference.unregister() == Ok(Outcome::AlreadyDone));
        assert_eq!(script.alive(), 0);
        drop(parent);
        Ok(())
    }

    /// The loser of two who unregister returns when the winner is done, and not before.
    ///
    /// The winner stays in the drop of the bound data until the loser is about to call, so every
    /// round overlaps.
    #[test]
    fn loser_waits() -> Result {
        let parent = parent()?;
        let _class = unregistered(0)?;
        for _ in 0..rounds() {
            let script = Script::with(Step::Nothing, Step::Nothing, Step::Wait)?;
            let registration = register(&parent, &script)?;
            let other = Other::new()?;

            let task = (registration.reference(), script.clone(), other.clone());
            spawn(move || {
                let (object, script, other) = task;
                script.reached.wait_for_completion();
                script.go_on.complete_all();
                other.unregister(&object);
                // The winner cannot be over before the end.
                if script.alive() != 0 {
                    other.errors.fetch_add(1, Full);
                }
            })?;

            assert!(registration.unregister() == Ok(Outcome::Done));
            other.done.wait_for_completion();
            assert_eq!(other.outcome.load(Acquire), ALREADY_DONE);
            assert_eq!(other.errors.load(Acquire), 0);
        }
        Ok(())
    }

    /// Of two who unregister at the same instant, exactly one does it.
    #[test]
    fn one_winner() -> Result {
        let parent = parent()?;
        let _class = unregistered(0)?;
        let mut ours_won = 0;
        let mut aim = Aim::new();
        for round in 0..rounds() {
            let pause = aim.pause(round);
            let script = Script::new()?;
            let registration = register(&parent, &script)?;
            let other = Other::new()?;

            let task = (registration.reference(), other.clone());
            spawn(move || {
                let (object, other) = task;
                other.meet(pause);
                other.unregister(&object);
            })?;

            other.meet(0);
            let ours = registration.unregister()?;
            assert_eq!(script.alive(), 0);
            other.done.wait_for_completion();
            match ours {
                Outcome::Done => {
                    ours_won += 1;
                    assert_eq!(other.outcome.load(Acquire), ALREADY_DONE);
                }
                Outcome::AlreadyDone => assert_eq!(other.outcome.load(Acquire), DONE),
            }
            aim.adjust(pause, ours == Outcome::AlreadyDone);
            assert_eq!(script.woken.load(Acquire), 1);
        }
        assert!(ours_won > 0 && ours_won < rounds());
        pr_info!(
            "one_winner: {} rounds, {ours_won} won by the first of two tasks\n",
            rounds()
        );
        Ok(())
    }

    /// The unbind of the parent and a call at the same instant: one of them does it, and neither
    /// returns before it is done.
    #[test]
    fn unbind_against_unregister() -> Result {
        let _class = unregistered(0)?;
        let mut unbind_won = 0;
        let mut aim = Aim::new();
        for round in 0..rounds() {
            let pause = aim.pause(round);
            let parent = parent()?;
            let script = Script::new()?;
            let registration = register(&parent, &script)?;
            let other = Other::new()?;

            let task = (registration.reference(), script.clone(), other.clone());
            spawn(move || {
                let (object, script, other) = task;
                other.meet(pause);
                other.unregister(&object);
                if script.alive() != 0 {
                    other.errors.fetch_add(1, Full);
                }
            })?;

            other.meet(0);
            drop(parent);
            assert_eq!(script.alive(), 0);
            other.done.wait_for_completion();
            assert_eq!(other.errors.load(Acquire), 0);
            assert!(registration.unregister() == Ok(Outcome::AlreadyDone));
            assert_eq!(script.woken.load(Acquire), 1);
            let unbind_was_first = other.outcome.load(Acquire) == ALREADY_DONE;
            unbind_won += usize::from(unbind_was_first);
            aim.adjust(pause, !unbind_was_first);
        }
        assert!(unbind_won > 0 && unbind_won < rounds());
        pr_info!(
            "unbind_against_unregister: {} rounds, {unbind_won} won by the unbind\n",
            rounds()
        );
        Ok(())
    }

    /// An object whose end is asked for while it is being registered is never left registered.
    #[test]
    fn unregister_during_registration() -> Result {
        let parent = parent()?;
        let script = Script::with(Step::Wait, Step::Nothing, Step::Nothing)?;
        let object = unregistered(7)?;
        let reference = ARef::<Object<Subject>>::from(&*object);
        let other = Other::new()?;

        let task = (reference.clone(), script.clone(), other.clone());
        spawn(move || {
            let (object, script, other) = task;
            script.reached.wait_for_completion();
            // Let `bind` go on from yet another task, when this one is waiting or about to.
            let script = script.clone();
            if spawn(move || script.go_on.complete_all()).is_err() {
                other.errors.fetch_add(1, Full);
            }
            other.unregister(&object);
        })?;

        let registered = object.register(parent.as_ref().as_ref(), script.clone());
        other.done.wait_for_completion();
        match registered {
            // The call came before the registration was complete.
            Err(error) => {
                assert!(error == ENODEV);
                assert_eq!(other.outcome.load(Acquire), ALREADY_DONE);
            }
            // It came after.
            Ok(_) => assert_eq!(other.outcome.load(Acquire), DONE),
        }
        assert_eq!(script.alive(), 0);
        assert!(reference.access(|_| ()) == Err(ENODEV));
        assert_eq!(other.errors.load(Acquire), 0);
        Ok(())
    }

    /// Who sleeps inside is woken, and the end waits until they have left.
    #[test]
    fn sleeper_is_woken() -> Result {
        let parent = parent()?;
        let script = Script::with(Step::Nothing, Step::LetGo, Step::Nothing)?;
        let registration = register(&parent, &script)?;
        let other = Other::new()?;

        let task = (registration.reference(), other.clone());
        spawn(move || {
            let (object, other) = task;
            let slept = object.access(|access: &Access<'_, '_, Subject>| {
                other.ready.complete_all();
                access.script.go_on.wait_for_completion();
                // Still inside, so the bound data is still there.
                access.script.alive() == 1 && !access.object().is_registered()
            });
            other
                .outcome
                .store(if slept == Ok(true) { DONE } else { FAILED }, Release);
        })?;

        other.ready.wait_for_completion();
        assert!(registration.unregister() == Ok(Outcome::Done));
        assert_eq!(other.outcome.load(Acquire), DONE);
        Ok(())
    }

    /// Readers at the door against its closing.
    #[test]
    fn readers_against_unregister() -> Result {
        read_against_unregister(|object| object.access(|access| access.script.alive()))
    }
}
