// SPDX-License-Identifier: GPL-2.0

//! Interrupts of an object: handled while it is registered, and its lines freed with that.

use super::*;

use crate::{
    callbacks::Callbacks,
    irq::{
        self,
        IrqReturn,
        Line, //
    },
    shims,
    testing::Wire, //
};

use kernel::bindings;

#[pin_data]
struct Log {
    /// The line of the first interrupt, and of the second, if it is not zero.
    lines: [c_uint; 2],
    alive: Atomic<usize>,
    handled: Atomic<usize>,
    late: Atomic<usize>,
    in_thread: Atomic<usize>,
    errors: Atomic<usize>,
    #[pin]
    reached: Completion,
    #[pin]
    go_on: Completion,
}

impl Log {
    fn new(lines: [c_uint; 2]) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                lines,
                alive: Atomic::new(0),
                handled: Atomic::new(0),
                late: Atomic::new(0),
                in_thread: Atomic::new(0),
                errors: Atomic::new(0),
                reached <- Completion::new(),
                go_on <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    fn expect(&self, condition: bool) {
        if !condition {
            self.errors.fetch_add(1, Full);
        }
    }

    fn wait_for(&self, count: &Atomic<usize>, value: usize) {
        while count.load(Acquire) < value {
            // SAFETY: The tests run in tasks that may sleep.
            unsafe { bindings::schedule() };
        }
    }
}

/// Handles one line at once, and another one in a thread.
struct Handler;

struct HandlerBound(Arc<Log>);

impl Drop for HandlerBound {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Full);
    }
}

impl object::Operations for Handler {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = Atomic<usize>;
    type Bound<'bound> = HandlerBound;
    type Argument = Arc<Log>;

    const CLASS: Class = Class::new(c"holdfast_handler", c"holdfast-handler");
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_interrupt::<0>();

    fn bind<'bound>(
        object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        log: Arc<Log>,
    ) -> impl PinInit<HandlerBound, Error> + 'bound {
        object.store(Arc::as_ptr(&log) as usize, Release);
        log.alive.fetch_add(1, Full);
        Ok(HandlerBound(log))
    }
}

impl irq::Operations for Handler {
    fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>> {
        // SAFETY: The tests keep the line for longer than the object.
        Ok(unsafe { Line::new(access.0.lines[0]) })
    }

    fn handle(access: &Access<'_, '_, Self>) -> IrqReturn {
        let log = &access.bound().0;
        log.expect(log.alive.load(Acquire) == 1);
        if !access.object().is_registered() {
            log.late.fetch_add(1, Full);
        }
        log.handled.fetch_add(1, Full);
        IrqReturn::Handled
    }
}

/// Handles both lines in threads.
struct Threaded;

impl object::Operations for Threaded {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = Atomic<usize>;
    type Bound<'bound> = HandlerBound;
    type Argument = Arc<Log>;

    const CLASS: Class = Class::new(c"holdfast_threaded", c"holdfast-threaded");
    const CALLBACKS: Callbacks<Self> = Callbacks::new()
        .with_threaded_interrupt::<0>()
        .with_threaded_interrupt::<1>();

    fn bind<'bound>(
        object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        log: Arc<Log>,
    ) -> impl PinInit<HandlerBound, Error> + 'bound {
        object.store(Arc::as_ptr(&log) as usize, Release);
        log.alive.fetch_add(1, Full);
        Ok(HandlerBound(log))
    }

    fn wake(object: &Object<Self>) {
        // SAFETY: `bind` stored it, and the bound data, which is dropped after this, holds it.
        let log = unsafe { &*(object.load(Acquire) as *const Log) };
        log.go_on.complete_all();
    }
}

impl irq::ThreadedOperations<0> for Threaded {
    fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>> {
        // SAFETY: The tests keep the line for longer than the object.
        Ok(unsafe { Line::new(access.0.lines[0]) })
    }

    fn handle_threaded(access: &Access<'_, '_, Self>) -> IrqReturn {
        let log = &access.bound().0;
        log.in_thread.fetch_add(1, Full);
        log.reached.complete_all();
        log.go_on.wait_for_completion();
        log.expect(log.alive.load(Acquire) == 1);
        IrqReturn::Handled
    }
}

impl irq::ThreadedOperations<1> for Threaded {
    fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>> {
        match access.0.lines[1] {
            0 => Err(EIO),
            // SAFETY: As above.
            irq => Ok(unsafe { Line::new(irq) }),
        }
    }

    fn handle_threaded(_access: &Access<'_, '_, Self>) -> IrqReturn {
        IrqReturn::None
    }
}

fn register<T>(parent: &faux::Registration, log: &Arc<Log>) -> Result<Registration<T>>
where
    T: object::Operations<Parent = Device<Bound>, Data = Atomic<usize>, Argument = Arc<Log>>,
{
    Unregistered::<T>::new(Ok::<_, Error>(Atomic::new(0)))?
        .register(parent.as_ref().as_ref(), log.clone())
}

#[kunit_tests(holdfast_irq)]
mod irq_tests {
    use super::*;

    /// Interrupts are handled while the object is registered; then the line is free for another.
    #[test]
    fn handled() -> Result {
        let wire = Wire::new()?;
        let parent = parent()?;
        for _ in 0..3 {
            let log = Log::new([wire.irq(), 0])?;
            let object = register::<Handler>(&parent, &log)?;

            wire.assert();
            log.wait_for(&log.handled, 1);
            // Nobody else can have it meanwhile.
            assert!(register::<Handler>(&parent, &Log::new([wire.irq(), 0])?).err() == Some(EBUSY));
            assert!(object.unregister() == Ok(Outcome::Done));
            wire.assert();
            assert_eq!(log.handled.load(Acquire), 1);
            assert_eq!(log.alive.load(Acquire), 0);
            assert_eq!(log.errors.load(Acquire), 0);
        }
        Ok(())
    }

    /// A registration that fails frees what it has requested.
    #[test]
    fn second_line_fails() -> Result {
        let wire = Wire::new()?;
        let parent = parent()?;
        for _ in 0..3 {
            let log = Log::new([wire.irq(), 0])?;
            assert!(register::<Threaded>(&parent, &log).err() == Some(EIO));
            assert_eq!(log.alive.load(Acquire), 0);
        }
        Ok(())
    }

    /// A line is freed with the unbind of the parent, though the registration was forgotten.
    #[test]
    fn freed_by_unbind() -> Result {
        let wire = Wire::new()?;
        let parent = parent()?;
        let log = Log::new([wire.irq(), 0])?;
        let object = register::<Handler>(&parent, &log)?;

        drop(parent);
        wire.assert();
        assert!(object.unregister() == Ok(Outcome::AlreadyDone));
        let parent = super::parent()?;
        let again = register::<Handler>(&parent, &log)?;
        wire.assert();
        log.wait_for(&log.handled, 1);
        drop(again);
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// A thread that sleeps inside is woken and waited for.
    #[test]
    fn sleeping_thread_is_woken() -> Result {
        let (first, second) = (Wire::new()?, Wire::new()?);
        let parent = parent()?;
        let log = Log::new([first.irq(), second.irq()])?;
        let object = register::<Threaded>(&parent, &log)?;

        first.assert();
        log.reached.wait_for_completion();
        assert!(object.unregister() == Ok(Outcome::Done));
        assert_eq!(log.in_thread.load(Acquire), 1);
        assert_eq!(log.alive.load(Acquire), 0);
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// A device is answered until the line is freed, also when the door is closed.
    #[test]
    fn answered_after_the_door_is_closed() -> Result {
        let wire = Wire::new()?;
        let parent = parent()?;
        let log = Log::new([wire.irq(), 0])?;
        let object = register::<Handler>(&parent, &log)?;

        let task = (object.reference(), log.clone());
        spawn(move || {
            let (object, log) = task;
            let _ = object.access(|_| {
                log.reached.complete_all();
                log.go_on.wait_for_completion();
            });
        })?;
        log.reached.wait_for_completion();
        let task = (object.reference(), log.clone());
        let done = Other::new()?;
        let other = done.clone();
        spawn(move || {
            let (object, log) = task;
            log.expect(object.unregister() == Ok(Outcome::Done));
            other.done.complete_all();
        })?;
        while object.is_registered() {
            core::hint::spin_loop();
        }
        wire.assert();
        log.wait_for(&log.late, 1);
        log.go_on.complete_all();
        done.done.wait_for_completion();
        assert_eq!(log.alive.load(Acquire), 0);
        assert_eq!(log.errors.load(Acquire), 0);
        Ok(())
    }

    /// A line that is asserted without end against the end of the registration.
    #[test]
    fn assert_against_unregister() -> Result {
        let parent = parent()?;
        let wire = Wire::new()?;
        let _class = register::<Handler>(&parent, &Log::new([wire.irq(), 0])?)?;
        let wire = Wire::new()?;
        let mut handled = 0;
        for round in 0..rounds() {
            let log = Log::new([wire.irq(), 0])?;
            let object = register::<Handler>(&parent, &log)?;
            let other = Other::new()?;

            let task = (object.reference(), other.clone(), wire.irq());
            spawn(move || {
                let (object, other, irq) = task;
                other.meet(0);
                while object.is_registered() {
                    // SAFETY: The test keeps the line until this has ended.
                    unsafe { shims::holdfast_sim_assert(irq) };
                    other.rounds.fetch_add(1, Full);
                }
                // SAFETY: As above.
                unsafe { shims::holdfast_sim_assert(irq) };
                other.done.complete_all();
            })?;

            other.meet(pause(round));
            assert!(object.unregister() == Ok(Outcome::Done));
            let after = log.handled.load(Acquire);
            assert_eq!(log.alive.load(Acquire), 0);
            other.done.wait_for_completion();
            assert_eq!(log.handled.load(Acquire), after);
            assert_eq!(log.errors.load(Acquire), 0);
            handled += usize::from(after > 0);
        }
        pr_info!(
            "assert_against_unregister: {} rounds, handled in {handled}\n",
            rounds()
        );
        Ok(())
    }
}
