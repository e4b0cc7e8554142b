// SPDX-License-Identifier: GPL-2.0

//! Timers of an object: they expire inside, end with the registration, and are refused afterwards.

use super::{
    log::Counted,
    *, //
};

use crate::{
    callbacks::Callbacks,
    timer,
    work, //
};

use kernel::time::Delta;

/// What the timer of the tests does when it expires.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Nothing,
    /// Starts itself again.
    Starts,
    /// Queues the work.
    Queues,
}

type Log = super::log::Log<Does>;

struct Clock;

impl object::Operations for Clock {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = Counted<Does>;
    type Argument = Arc<Log>;

    const CLASS: Class = Class::new(c"holdfast_clock", c"holdfast-clock");
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<0>().with_timer::<0>();

    fn bind<'bound>(
        object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        log: Arc<Log>,
    ) -> impl PinInit<Counted<Does>, Error> + 'bound {
        log.expect(object.timer::<0>().start(SHORT) == Err(ENODEV));
        Ok(Counted::new(log))
    }
}

impl timer::Operations for Clock {
    fn expired(access: &Access<'_, '_, Self>) {
        let (object, log) = (access.object(), &access.bound().0);
        log.calls.fetch_add(1, Full);
        match log.does {
            Does::Nothing => {}
            Does::Starts => {
                if let Err(error) = object.timer::<0>().start(SHORT) {
                    log.expect(error == ENODEV && !object.is_registered());
                }
            }
            Does::Queues => {
                log.expect(object.work::<0>().queue() == Ok(true));
            }
        }
        // Still inside.
        log.expect(log.alive.load(Acquire) == 1);
    }
}

impl work::Operations for Clock {
    fn run(access: &Access<'_, '_, Self>) {
        access.0.done.complete_all();
    }
}

/// So long that no test sees the end of it.
const LONG: Delta = Delta::from_secs(3600);
const SHORT: Delta = Delta::from_micros(1);

fn unregistered() -> Result<Unregistered<Clock>> {
    Unregistered::new(Ok::<_, Error>(()))
}

fn register(parent: &faux::Registration, log: &Arc<Log>) -> Result<Registration<Clock>> {
    unregistered()?.register(parent.as_ref().as_ref(), log.clone())
}

#[kunit_tests(holdfast_timer)]
mod timer_tests {
    use super::*;

    /// A timer expires once for each time that it is started; a new start moves it.
    #[test]
    fn expires() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;
        let clock = register(&parent, &log)?;

        clock.timer::<0>().start(SHORT)?;
        log.wait_for_calls(1);
        clock.timer::<0>().start(LONG)?;
        clock.timer::<0>().start(Delta::from_millis(1))?;
        log.wait_for_calls(2);
        assert!(!clock.timer::<0>().cancel());
        drop(clock);
        assert_eq!(log.calls(), 2);
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// A timer can be stopped.
    #[test]
    fn stopped() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;
        let clock = register(&parent, &log)?;

        assert!(!clock.timer::<0>().cancel());
        clock.timer::<0>().start(LONG)?;
        assert!(clock.timer::<0>().cancel());
        assert!(!clock.timer::<0>().cancel());
        assert_eq!(log.calls(), 0);
        Ok(())
    }

    /// Before the registration and after its end, timers are refused.
    #[test]
    fn refused() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;

        let clock = unregistered()?;
        assert!(clock.timer::<0>().start(SHORT) == Err(ENODEV));
        let clock = clock.register(parent.as_ref().as_ref(), log.clone())?;
        assert!(clock.timer::<0>().start(SHORT) == Ok(()));
        assert!(clock.unregister() == Ok(Outcome::Done));
        assert!(clock.timer::<0>().start(SHORT) == Err(ENODEV));
        assert!(!clock.timer::<0>().cancel());
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// A timer that is running at the end is stopped, and holds no reference.
    #[test]
    fn running_is_stopped() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;
        let clock = register(&parent, &log)?;
        let reference = clock.reference();

        clock.timer::<0>().start(LONG)?;
        drop(clock);
        assert!(!reference.timer::<0>().cancel());
        assert_eq!(reference.reference_count(), 1);
        assert_eq!(log.calls(), 0);
        Ok(())
    }

    /// The same by the unbind of the parent.
    #[test]
    fn running_is_stopped_by_unbind() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;
        let clock = register(&parent, &log)?;

        clock.timer::<0>().start(LONG)?;
        drop(parent);
        assert!(!clock.timer::<0>().cancel());
        assert!(clock.timer::<0>().start(SHORT) == Err(ENODEV));
        Ok(())
    }

    /// A timer may queue work.
    #[test]
    fn queues_work() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Queues)?;
        let clock = register(&parent, &log)?;

        clock.timer::<0>().start(SHORT)?;
        log.done.wait_for_completion();
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// A timer that starts itself for ever ends with the registration.
    #[test]
    fn starts_itself() -> Result {
        let parent = parent()?;
        let _class = unregistered()?;
        for round in 0..rounds() {
            let log = Log::new(Does::Starts)?;
            let clock = register(&parent, &log)?;

            clock.timer::<0>().start(SHORT)?;
            log.wait_for_calls(1 + round % 3);
            assert!(clock.unregister() == Ok(Outcome::Done));
            let expired = log.calls();
            assert_eq!(log.alive.load(Acquire), 0);
            assert!(!clock.timer::<0>().cancel());
            assert!(clock.timer::<0>().start(SHORT) == Err(ENODEV));
            assert_eq!(log.errors.load(Acquire), 0);
            assert_eq!(log.calls(), expired);
        }
        Ok(())
    }

    /// A task that starts the timer without end against the end of the registration: it either
    /// expires inside or not at all, and nothing is left.
    #[test]
    fn start_against_unregister() -> Result {
        let parent = parent()?;
        let _class = unregistered()?;
        let (mut overlapped, mut expired) = (0, 0);
        for round in 0..rounds() {
            let log = Log::new(Does::Nothing)?;
            let clock = register(&parent, &log)?;
            let other = Other::new()?;

            let task = (clock.reference(), other.clone());
            spawn(move || {
                let (clock, other) = task;
                other.meet(0);
                loop {
                    match clock.timer::<0>().start(SHORT) {
                        Ok(()) => other.rounds.fetch_add(1, Full),
                        Err(error) => {
                            if error != ENODEV {
                                other.errors.fetch_add(1, Full);
                            }
                            break;
                        }
                    };
                }
                other.done.complete_all();
            })?;

            other.meet(pause(round));
            assert!(clock.unregister() == Ok(Outcome::Done));
            let expiries = log.calls();
            assert_eq!(log.alive.load(Acquire), 0);
            assert!(!clock.timer::<0>().cancel());
            other.done.wait_for_completion();
            assert!(!clock.timer::<0>().cancel());
            assert_eq!(other.errors.load(Acquire), 0);
            assert_eq!(log.errors.load(Acquire), 0);
            assert_eq!(log.calls(), expiries);
            overlapped += usize::from(other.rounds.load(Acquire) > 0);
            expired += usize::from(expiries > 0);
        }
        // The other task ends with its first refusal, so what it started was before the end.
        assert!(overlapped > 0);
        pr_info!(
            "start_against_unregister: {} rounds, started in {overlapped}, expired in {expired}\n",
            rounds()
        );
        Ok(())
    }
}
