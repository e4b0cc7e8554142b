// SPDX-License-Identifier: GPL-2.0

//! Work of an object: it runs inside, ends with the registration, and is refused afterwards.

use super::*;

use crate::{
    callbacks::Callbacks,
    platform::PerCpuSlots,
    protocol::Slots,
    work, //
};

use kernel::time::Delta;

/// What the work of the tests does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Nothing,
    /// Queues itself again.
    Queues,
    /// Says that it is there, and sleeps until the wake hook runs.
    Sleeps,
    /// Says that it is there, and waits for the test, which nothing else wakes it for.
    Waits,
    /// Asks for the end of its object, and expects `EDEADLK`; then for a later one.
    EndsItself,
    /// Meets the test, and asks for the end of the objects that the test names.
    EndsOthers,
}

#[pin_data]
struct Log {
    does: Does,
    /// How many bound data exist.
    alive: Atomic<usize>,
    runs: Atomic<usize>,
    other_runs: Atomic<usize>,
    refused: Atomic<usize>,
    errors: Atomic<usize>,
    #[pin]
    reached: Completion,
    #[pin]
    go_on: Completion,
    #[pin]
    done: Completion,
    #[pin]
    others: kernel::sync::Mutex<KVec<ARef<Object<Worker>>>>,
    other: Arc<Other>,
    round: usize,
}

impl Log {
    fn new(does: Does) -> Result<Arc<Self>> {
        Self::in_round(does, 0)
    }

    fn in_round(does: Does, round: usize) -> Result<Arc<Self>> {
        let other = Other::new()?;
        Arc::pin_init(
            pin_init!(Self {
                does,
                alive: Atomic::new(0),
                runs: Atomic::new(0),
                other_runs: Atomic::new(0),
                refused: Atomic::new(0),
                errors: Atomic::new(0),
                reached <- Completion::new(),
                go_on <- Completion::new(),
                done <- Completion::new(),
                others <- kernel::new_mutex!(KVec::new()),
                other,
                round,
            }),
            GFP_KERNEL,
        )
    }

    fn runs(&self) -> usize {
        self.runs.load(Acquire)
    }

    fn expect(&self, condition: bool) {
        if !condition {
            self.errors.fetch_add(1, Full);
        }
    }

    fn wait_for_runs(&self, runs: usize) {
        while self.runs() < runs {
            // SAFETY: The tests run in tasks that may sleep.
            unsafe { kernel::bindings::schedule() };
        }
    }
}

struct Worker;

const FIRST: u64 = 7;
const SECOND: u64 = 3;

struct WorkerBound(Arc<Log>);

impl Drop for WorkerBound {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Full);
    }
}

/// The log, for the wake hook, which only sees the object.
struct WorkerData(Atomic<usize>);

impl object::Operations for Worker {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = WorkerData;
    type Bound<'bound> = WorkerBound;
    type Argument = Arc<Log>;

    const CLASS: Class = Class::new(c"holdfast_worker", c"holdfast-worker");
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<FIRST>().with_work::<SECOND>();

    fn bind<'bound>(
        object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        log: Arc<Log>,
    ) -> impl PinInit<WorkerBound, Error> + 'bound {
        object.0.store(Arc::as_ptr(&log) as usize, Release);
        log.expect(object.work::<FIRST>().queue() == Err(ENODEV));
        log.alive.fetch_add(1, Full);
        Ok(WorkerBound(log))
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
        log.runs.fetch_add(1, Full);
        match log.does {
            Does::Nothing => {}
            Does::Queues => {
                // In every second round it meets the end of the registration.
                while log.round % 2 == 1 && log.runs() > log.round % 3 && object.is_registered() {
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
            Does::Waits => {
                log.reached.complete_all();
                log.other.ready.wait_for_completion();
            }
            Does::EndsItself => {
                log.expect(object.unregister() == Err(EDEADLK));
                object.unregister_deferred();
            }
            Does::EndsOthers => {
                log.reached.complete_all();
                log.other.meet(pause(log.round));
                for other in log.others.lock().iter() {
                    let _ = other.unregister();
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
        access.0.other_runs.fetch_add(1, Full);
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
        log.wait_for_runs(1);
        assert!(worker.work::<FIRST>().queue_after(Delta::from_millis(1)) == Ok(true));
        log.wait_for_runs(2);
        assert_eq!(log.other_runs.load(Acquire), 0);
        assert!(worker.work::<SECOND>().queue() == Ok(true));
        while log.other_runs.load(Acquire) == 0 {
            core::hint::spin_loop();
        }
        drop(worker);
        assert_eq!(log.runs(), 2);
        assert_eq!(log.other_runs.load(Acquire), 1);
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
        assert_eq!(log.runs(), 0);
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
        assert_eq!(log.runs(), 0);
        Ok(())
    }

    /// Work that queues itself for ever ends with the registration.
    #[test]
    fn queues_itself() -> Result {
        let parent = parent()?;
        let _class = unregistered()?;
        let mut refused = 0;
        for round in 0..rounds() {
            let log = Log::in_round(Does::Queues, round)?;
            let worker = register(&parent, &log)?;

            assert!(worker.work::<FIRST>().queue() == Ok(true));
            log.wait_for_runs(1 + round % 3);
            assert!(worker.unregister() == Ok(Outcome::Done));
            let runs = log.runs();
            assert_eq!(log.alive.load(Acquire), 0);
            assert!(!worker.work::<FIRST>().cancel());
            assert!(worker.work::<FIRST>().queue() == Err(ENODEV));
            assert_eq!(log.errors.load(Acquire), 0);
            assert_eq!(log.runs(), runs);
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
        let log = Log::new(Does::Waits)?;
        let worker = register(&parent, &log)?;

        assert!(worker.work::<FIRST>().queue() == Ok(true));
        log.reached.wait_for_completion();
        let task = (worker.reference(), log.clone());
        spawn(move || {
            let (worker, log) = task;
            while worker.is_registered() {
                core::hint::spin_loop();
            }
            // An end that does not wait would be over after its grace period.
            for _ in 0..3 {
                PerCpuSlots.grace_period();
            }
            log.expect(log.alive.load(Acquire) == 1);
            log.other.ready.complete_all();
            log.other.done.complete_all();
        })?;
        assert!(worker.unregister() == Ok(Outcome::Done));
        log.other.done.wait_for_completion();
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
            let runs = log.runs();
            assert_eq!(log.alive.load(Acquire), 0);
            assert!(!worker.work::<FIRST>().cancel());
            other.done.wait_for_completion();
            assert!(!worker.work::<FIRST>().cancel());
            assert_eq!(other.errors.load(Acquire), 0);
            assert_eq!(log.errors.load(Acquire), 0);
            assert_eq!(log.runs(), runs);
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
            let log = Log::in_round(Does::EndsOthers, round)?;

            let older = register(&device, &idle)?;
            let worker = register(&device, &log)?;
            let newer = register(&device, &idle)?;
            for other in [&older, &newer] {
                log.others.lock().push(other.reference(), GFP_KERNEL)?;
            }
            assert!(worker.work::<FIRST>().queue() == Ok(true));
            log.reached.wait_for_completion();
            log.other.meet(0);
            drop(device);
            assert_eq!(log.alive.load(Acquire) + idle.alive.load(Acquire), 0);
            assert_eq!(log.errors.load(Acquire), 0);
        }
        Ok(())
    }
}
