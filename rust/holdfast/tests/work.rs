// SPDX-License-Identifier: GPL-2.0

//! Work of an object: it runs inside, ends with the registration, and is refused afterwards.

use super::{
    log::Counted,
    *, //
};

use crate::{
    callbacks::Callbacks,
    platform::PerCpuSlots,
    protocol::Slots,
    work, //
};

use kernel::time::Delta;

/// What the work of the tests does.
enum Does {
    Nothing,
    /// Queues itself again, in this round.
    Queues(usize),
    /// Says that it is there, and sleeps until the wake hook runs.
    Sleeps,
    /// Says that it is there, and waits for the test, which nothing else wakes it for.
    Waits(Arc<Other>),
    /// Asks for the end of its object, and expects `EDEADLK`; then for a later one.
    EndsItself,
    /// Meets the test, and asks for the end of the objects that the test names.
    EndsOthers(Arc<Ends>),
}

type Log = super::log::Log<Does>;

/// Whom the work of a test meets, and which ends it asks for then.
#[pin_data]
struct Ends {
    round: usize,
    meeting: Arc<Other>,
    #[pin]
    objects: kernel::sync::Mutex<KVec<ARef<Object<Worker>>>>,
}

struct Worker;

const FIRST: u64 = 7;
const SECOND: u64 = 3;

/// The log, for the wake hook, which only sees the object.
struct WorkerData(Atomic<usize>);

impl object::Operations for Worker {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = WorkerData;
    type Bound<'bound> = Counted<Does>;
    type Argument = Arc<Log>;

    const CLASS: Class = Class::new(c"holdfast_worker", c"holdfast-worker");
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<FIRST>().with_work::<SECOND>();

    fn bind<'bound>(
        object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        log: Arc<Log>,
    ) -> impl PinInit<Counted<Does>, Error> + 'bound {
        object.0.store(Arc::as_ptr(&log) as usize, Release);
        log.expect(object.work::<FIRST>().queue() == Err(ENODEV));
        Ok(Counted::new(log))
    }

    fn wake(object: &Object<Self>) {
        // SAFETY: `bind` stored it, and the bound data, which is dropped after this, holds it.
        let log = unsafe { &*(object.0.load(Acquire) as *const Log) };
        log.go_on.complete_all();
    }
}

impl work::Operations<FIRST> for Worker {
    fn run(access: &Access<'_, '_, Self>) {
        let (object, log) = (access.object(), &access.bound().0);
        log.calls.fetch_add(1, Full);
        match &log.does {
            Does::Nothing => {}
            Does::Queues(round) => {
                // In every second round it meets the end of the registration.
                while round % 2 == 1 && log.calls() > round % 3 && object.is_registered() {
                    // SAFETY: Work may sleep.
                    unsafe { kernel::bindings::schedule() };
                }
                match object.work::<FIRST>().queue() {
                    Ok(queued) => log.expect(queued),
                    Err(error) => {
                        log.expect(error == ENODEV && !object.is_registered());
                        log.refused.fetch_add(1, Full);
                    }
                }
            }
            Does::Sleeps => {
                log.reached.complete_all();
                log.go_on.wait_for_completion();
                log.expect(!object.is_registered());
                log.expect(object.work::<FIRST>().queue() == Err(ENODEV));
            }
            Does::Waits(other) => {
                log.reached.complete_all();
                other.ready.wait_for_completion();
            }
            Does::EndsItself => {
                log.expect(object.unregister() == Err(EDEADLK));
                object.unregister_deferred();
            }
            Does::EndsOthers(ends) => {
                log.reached.complete_all();
                ends.meeting.meet(pause(ends.round));
                for object in ends.objects.lock().iter() {
                    let _ = object.unregister();
                }
            }
        }
        // Still inside.
        log.expect(log.alive.load(Acquire) == 1);
        log.done.complete_all();
    }
}

impl work::Operations<SECOND> for Worker {
    fn run(access: &Access<'_, '_, Self>) {
        access.0.other_calls.fetch_add(1, Full);
        access.0.done.complete_all();
    }
}

fn unregistered() -> Result<Unregistered<Worker>> {
    Unregistered::new(Ok::<_, Error>(WorkerData(Atomic::new(0))))
}

fn register(parent: &faux::Registration, log: &Arc<Log>) -> Result<Registration<Worker>> {
    unregistered()?.register(parent.as_ref().as_ref(), log.clone())
}

/// So long that no test sees the end of it.
const LONG: Delta = Delta::from_secs(3600);

#[kunit_tests(holdfast_work)]
mod work_tests {
    use super::*;

    /// Work runs once for each time that it is queued, and the one that was meant.
    #[test]
    fn runs() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;
        let worker = register(&parent, &log)?;

        assert!(worker.work::<FIRST>().queue() == Ok(true));
        log.wait_for_calls(1);
        assert!(worker.work::<FIRST>().queue_after(Delta::from_millis(1)) == Ok(true));
        log.wait_for_calls(2);
        assert_eq!(log.other_calls.load(Acquire), 0);
        assert!(worker.work::<SECOND>().queue() == Ok(true));
        while log.other_calls.load(Acquire) == 0 {
            core::hint::spin_loop();
        }
        drop(worker);
        assert_eq!(log.calls(), 2);
        assert_eq!(log.other_calls.load(Acquire), 1);
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// Work is queued once at a time, and can be taken back.
    #[test]
    fn queued_once() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;
        let worker = register(&parent, &log)?;

        assert!(!worker.work::<FIRST>().cancel());
        assert!(worker.work::<FIRST>().queue_after(LONG) == Ok(true));
        assert!(worker.work::<FIRST>().queue_after(LONG) == Ok(false));
        assert!(worker.work::<SECOND>().queue_after(LONG) == Ok(true));
        assert!(worker.work::<FIRST>().cancel());
        assert!(!worker.work::<FIRST>().cancel());
        assert!(worker.work::<FIRST>().queue_after(LONG) == Ok(true));
        Ok(())
    }

    /// Before the registration and after its end, work is refused.
    #[test]
    fn refused() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;

        let worker = unregistered()?;
        assert!(worker.work::<FIRST>().queue() == Err(ENODEV));
        let worker = worker.register(parent.as_ref().as_ref(), log.clone())?;
        assert!(worker.work::<FIRST>().queue() == Ok(true));
        assert!(worker.unregister() == Ok(Outcome::Done));
        assert!(worker.work::<FIRST>().queue() == Err(ENODEV));
        assert!(worker.work::<SECOND>().queue_after(LONG) == Err(ENODEV));
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// What is pending at the end is taken back, and holds no reference.
    #[test]
    fn pending_is_cancelled() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;
        let worker = register(&parent, &log)?;
        let reference = worker.reference();

        assert!(worker.work::<FIRST>().queue_after(LONG) == Ok(true));
        drop(worker);
        assert!(!reference.work::<FIRST>().cancel());
        assert_eq!(reference.reference_count(), 1);
        assert_eq!(log.calls(), 0);
        Ok(())
    }

    /// The same when the registration is forgotten, and ends with the binding of the parent.
    #[test]
    fn pending_is_cancelled_by_unbind() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Nothing)?;
        let worker = register(&parent, &log)?;

        assert!(worker.work::<FIRST>().queue_after(LONG) == Ok(true));
        drop(parent);
        assert!(!worker.work::<FIRST>().cancel());
        assert!(worker.work::<FIRST>().queue() == Err(ENODEV));
        assert_eq!(log.calls(), 0);
        Ok(())
    }

    /// Work that queues itself for ever ends with the registration.
    #[test]
    fn queues_itself() -> Result {
        let parent = parent()?;
        let _class = unregistered()?;
        let mut refused = 0;
        for round in 0..rounds() {
            let log = Log::new(Does::Queues(round))?;
            let worker = register(&parent, &log)?;

            assert!(worker.work::<FIRST>().queue() == Ok(true));
            log.wait_for_calls(1 + round % 3);
            assert!(worker.unregister() == Ok(Outcome::Done));
            let runs = log.calls();
            assert_eq!(log.alive.load(Acquire), 0);
            assert!(!worker.work::<FIRST>().cancel());
            assert!(worker.work::<FIRST>().queue() == Err(ENODEV));
            assert_eq!(log.errors.load(Acquire), 0);
            assert_eq!(log.calls(), runs);
            refused += log.refused.load(Acquire);
            assert!(refused > round / 2 || round % 2 == 0);
        }
        pr_info!(
            "queues_itself: {} rounds, {refused} ended while the work ran\n",
            rounds()
        );
        Ok(())
    }

    /// Work that sleeps inside is woken, and waited for.
    #[test]
    fn sleeping_work_is_woken() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::Sleeps)?;
        let worker = register(&parent, &log)?;

        assert!(worker.work::<FIRST>().queue() == Ok(true));
        log.reached.wait_for_completion();
        assert!(worker.unregister() == Ok(Outcome::Done));
        assert_eq!(log.alive.load(Acquire), 0);
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// The end of the registration waits for work that is running, however long.
    #[test]
    fn running_work_is_waited_for() -> Result {
        let parent = parent()?;
        let other = Other::new()?;
        let log = Log::new(Does::Waits(other.clone()))?;
        let worker = register(&parent, &log)?;

        assert!(worker.work::<FIRST>().queue() == Ok(true));
        log.reached.wait_for_completion();
        let task = (worker.reference(), log.clone(), other.clone());
        spawn(move || {
            let (worker, log, other) = task;
            while worker.is_registered() {
                core::hint::spin_loop();
            }
            // An end that does not wait would be over after its grace period.
            for _ in 0..3 {
                PerCpuSlots.grace_period();
            }
            log.expect(log.alive.load(Acquire) == 1);
            other.ready.complete_all();
            other.done.complete_all();
        })?;
        assert!(worker.unregister() == Ok(Outcome::Done));
        other.done.wait_for_completion();
        assert_eq!(log.alive.load(Acquire), 0);
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// Work cannot wait for the end of its own object, but can ask for it.
    #[test]
    fn ends_its_object() -> Result {
        let parent = parent()?;
        let log = Log::new(Does::EndsItself)?;
        let worker = register(&parent, &log)?;

        assert!(worker.work::<FIRST>().queue() == Ok(true));
        log.done.wait_for_completion();
        while worker.is_registered() {
            core::hint::spin_loop();
        }
        assert!(worker.unregister() == Ok(Outcome::AlreadyDone));
        assert_eq!(log.alive.load(Acquire), 0);
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// A task that queues without end against the end of the registration: what it queues either
    /// runs inside or not at all, and nothing is left.
    #[test]
    fn queue_against_unregister() -> Result {
        let parent = parent()?;
        let _class = unregistered()?;
        let (mut overlapped, mut ran) = (0, 0);
        for round in 0..rounds() {
            let log = Log::new(Does::Nothing)?;
            let worker = register(&parent, &log)?;
            let other = Other::new()?;

            let task = (worker.reference(), other.clone());
            spawn(move || {
                let (worker, other) = task;
                other.meet(0);
                loop {
                    match worker.work::<FIRST>().queue() {
                        Ok(_) => other.rounds.fetch_add(1, Full),
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
            assert!(worker.unregister() == Ok(Outcome::Done));
            let runs = log.calls();
            assert_eq!(log.alive.load(Acquire), 0);
            assert!(!worker.work::<FIRST>().cancel());
            other.done.wait_for_completion();
            assert!(!worker.work::<FIRST>().cancel());
            assert_eq!(other.errors.load(Acquire), 0);
            assert_eq!(log.errors.load(Acquire), 0);
            assert_eq!(log.calls(), runs);
            overlapped += usize::from(other.rounds.load(Acquire) > 0);
            ran += usize::from(runs > 0);
        }
        // The other task ends with its first refusal, so what it queued was before the end.
        assert!(overlapped > 0);
        pr_info!(
            "queue_against_unregister: {} rounds, queued in {overlapped}, ran in {ran}\n",
            rounds()
        );
        Ok(())
    }

    /// Work that asks for the end of a sibling while the device is unbound: nobody waits for ever.
    #[test]
    fn ends_siblings_against_unbind() -> Result {
        let _class = unregistered()?;
        for round in 0..rounds() {
            let device = parent()?;
            let idle = Log::new(Does::Nothing)?;
            let ends = Arc::pin_init::<Error>(
                try_pin_init!(Ends {
                    round,
                    meeting: Other::new()?,
                    objects <- kernel::new_mutex!(KVec::new()),
                }? Error),
                GFP_KERNEL,
            )?;
            let log = Log::new(Does::EndsOthers(ends.clone()))?;

            let older = register(&device, &idle)?;
            let worker = register(&device, &log)?;
            let newer = register(&device, &idle)?;
            for other in [&older, &newer] {
                ends.objects.lock().push(other.reference(), GFP_KERNEL)?;
            }
            assert!(worker.work::<FIRST>().queue() == Ok(true));
            log.reached.wait_for_completion();
            ends.meeting.meet(0);
            drop(device);
            assert_eq!(log.alive.load(Acquire) + idle.alive.load(Acquire), 0);
            assert_eq!(log.errors.load(Acquire), 0);
        }
        Ok(())
    }
}
