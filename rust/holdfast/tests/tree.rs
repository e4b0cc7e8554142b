// SPDX-License-Identifier: GPL-2.0

//! The tree of objects: who ends before whom, and who waits for whom.

use super::*;

use core::mem::ManuallyDrop;

use kernel::{
    new_mutex,
    sync::Mutex, //
};

/// What the tests of this file look at afterwards.
#[pin_data]
struct Log {
    /// The numbers of the objects whose bound data was dropped, in that order.
    #[pin]
    dropped: Mutex<KVec<u32>>,
    /// Registrations that bound data owns.
    #[pin]
    owned: Mutex<KVec<Registration<Leaf>>>,
    errors: Atomic<usize>,
    #[pin]
    reached: Completion,
    #[pin]
    go_on: Completion,
}

impl Log {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                dropped <- new_mutex!(KVec::new()),
                owned <- new_mutex!(KVec::new()),
                errors: Atomic::new(0),
                reached <- Completion::new(),
                go_on <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    fn dropped(&self, numbers: &[u32]) -> bool {
        **self.dropped.lock() == *numbers
    }
}

/// What an object does when it is bound or dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Nothing,
    /// Waits in `bind` until the test lets it go on.
    WaitsInBind,
    /// Asks for the end of its parent when it is dropped, and expects `EDEADLK`.
    EndsParent,
}

/// Below a device.
struct Branch;
/// Below a [`Branch`].
struct Leaf;

struct BranchBound {
    log: Arc<Log>,
    number: u32,
    owned: Option<Registration<Branch>>,
}

impl Drop for BranchBound {
    fn drop(&mut self) {
        drop(self.owned.take());
        let _ = self.log.dropped.lock().push(self.number, GFP_KERNEL);
    }
}

impl object::Operations for Branch {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = BranchBound;
    type Argument = (Arc<Log>, u32, Option<Registration<Self>>);

    const CLASS: Class = Class::new(c"holdfast_branch", c"holdfast-branch");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        (log, number, owned): Self::Argument,
    ) -> impl PinInit<BranchBound, Error> + 'bound {
        Ok(BranchBound { log, number, owned })
    }
}

struct LeafBound<'bound> {
    log: Arc<Log>,
    number: u32,
    does: Does,
    parent: object::Registered<'bound, Branch>,
}

impl Drop for LeafBound<'_> {
    fn drop(&mut self) {
        // What the parent has bound is still there.
        let parent = self.parent.with(|parent| parent.number);
        if parent == 0
            || self.does == Does::EndsParent && self.parent.object().unregister() != Err(EDEADLK)
        {
            self.log.errors.fetch_add(1, Full);
        }
        let _ = self.log.dropped.lock().push(self.number, GFP_KERNEL);
    }
}

impl object::Operations for Leaf {
    type Parent = Object<Branch>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = LeafBound<'bound>;
    type Argument = (Arc<Log>, u32, Does);

    const CLASS: Class = Class::new(c"holdfast_leaf", c"holdfast-leaf");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        parent: object::Registered<'bound, Branch>,
        (log, number, does): Self::Argument,
    ) -> impl PinInit<LeafBound<'bound>, Error> + 'bound {
        if does == Does::WaitsInBind {
            log.reached.complete_all();
            log.go_on.wait_for_completion();
        }
        Ok(LeafBound {
            log,
            number,
            does,
            parent,
        })
    }
}

fn branch(
    parent: &faux::Registration,
    log: &Arc<Log>,
    number: u32,
) -> Result<Registration<Branch>> {
    Unregistered::<Branch>::new(Ok::<_, Error>(()))?
        .register(parent.as_ref().as_ref(), (log.clone(), number, None))
}

fn leaf(
    parent: &Object<Branch>,
    log: &Arc<Log>,
    number: u32,
    does: Does,
) -> Result<Registration<Leaf>> {
    let object = Unregistered::<Leaf>::new(Ok::<_, Error>(()))?;
    parent.access(|parent| object.register(parent.registered(), (log.clone(), number, does)))?
}

/// What an object ends when its bound data is dropped: the next one in a circle.
#[pin_data]
struct Link {
    circle: Arc<Other>,
    /// How many objects the circle has.
    length: usize,
    #[pin]
    next: Mutex<Option<ARef<Object<Ring>>>>,
}

impl Link {
    fn new(circle: &Arc<Other>, length: usize) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                circle: circle.clone(),
                length,
                next <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
    }
}

struct Ring;

struct RingBound(Arc<Link>);

impl Drop for RingBound {
    fn drop(&mut self) {
        let Link { circle, length, .. } = &*self.0;
        // Nobody waits for the next one before all are here.
        if circle.arrived.fetch_add(1, Full) + 1 == *length {
            circle.ready.complete_all();
        }
        circle.ready.wait_for_completion();
        let next = self.0.next.lock().take();
        let outcome = next.map(|next| next.unregister());
        if outcome == Some(Err(EDEADLK)) {
            circle.rounds.fetch_add(1, Full);
        } else if outcome != Some(Ok(Outcome::AlreadyDone)) {
            circle.errors.fetch_add(1, Full);
        }
    }
}

impl object::Operations for Ring {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = RingBound;
    type Argument = Arc<Link>;

    const CLASS: Class = Class::new(c"holdfast_ring", c"holdfast-ring");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        link: Arc<Link>,
    ) -> impl PinInit<RingBound, Error> + 'bound {
        Ok(RingBound(link))
    }
}

/// An operation of an object that calls `register` when `end`, which ends that object, has begun.
fn refused_by_end<T: object::Operations<Data = ()>>(
    register: fn(Unregistered<T>, &Access<'_, '_, Branch>, &Arc<Log>) -> Result,
    end: fn(faux::Registration, &Registration<Branch>) -> bool,
) -> Result {
    let device = parent()?;
    let log = Log::new()?;

    let branch = branch(&device, &log, 9)?;
    let task = (branch.reference(), log.clone());
    spawn(move || {
        let (branch, log) = task;
        let object = Unregistered::<T>::new(Ok::<_, Error>(()));
        let refused = branch.access(|access| {
            log.reached.complete_all();
            while access.object().is_registered() {
                core::hint::spin_loop();
            }
            register(object?, access, &log)
        });
        if refused != Ok(Err(ENODEV)) {
            log.errors.fetch_add(1, Full);
        }
        log.go_on.complete_all();
    })?;
    log.reached.wait_for_completion();
    assert_shared!(end(device, &branch));
    log.go_on.wait_for_completion();
    assert_shared!(log.errors.load(Acquire) == 0);
    assert_shared!(log.dropped(&[9]));
    Ok(())
}

#[kunit_tests(holdfast_tree)]
mod tree_tests {
    use super::*;

    /// Children end before their parent, the newest first.
    #[test]
    fn children_end_first() -> Result {
        let device = parent()?;
        let log = Log::new()?;

        let branch = branch(&device, &log, 9)?;
        let first = leaf(&branch, &log, 1, Does::Nothing)?;
        let _second = leaf(&branch, &log, 2, Does::Nothing)?;
        // As if it had been forgotten, until the end of the test.
        let third = ManuallyDrop::new(leaf(&branch, &log, 3, Does::Nothing)?);
        assert!(branch.unregister() == Ok(Outcome::Done));
        assert!(log.dropped(&[3, 2, 1, 9]));
        assert!(first.unregister() == Ok(Outcome::AlreadyDone));
        assert_eq!(log.errors.load(Acquire), 0);
        drop(ManuallyDrop::into_inner(third));
        Ok(())
    }

    /// The same when the device at the root is unbound, over several branches.
    #[test]
    fn unbind_ends_the_tree() -> Result {
        let device = parent()?;
        let log = Log::new()?;

        let first = branch(&device, &log, 8)?;
        let second = branch(&device, &log, 9)?;
        let _leaf = leaf(&first, &log, 1, Does::Nothing)?;
        let _leaf = leaf(&second, &log, 2, Does::Nothing)?;
        drop(device);
        assert!(log.dropped(&[2, 9, 1, 8]));
        Ok(())
    }

    /// An early end of a child takes it out of the tree.
    #[test]
    fn child_ends_early() -> Result {
        let device = parent()?;
        let log = Log::new()?;

        let branch = branch(&device, &log, 9)?;
        let first = leaf(&branch, &log, 1, Does::Nothing)?;
        let second = leaf(&branch, &log, 2, Does::Nothing)?;
        let third = leaf(&branch, &log, 3, Does::Nothing)?;
        assert!(second.unregister() == Ok(Outcome::Done));
        assert!(first.unregister() == Ok(Outcome::Done));
        assert!(third.unregister() == Ok(Outcome::Done));
        drop(branch);
        assert!(log.dropped(&[2, 1, 3, 9]));
        Ok(())
    }

    /// A child keeps the memory of its parent, after both have ended.
    #[test]
    fn child_keeps_memory_of_parent() -> Result {
        let device = parent()?;
        let log = Log::new()?;

        let branch = branch(&device, &log, 9)?;
        let memory = branch.reference();
        let child = leaf(&branch, &log, 1, Does::Nothing)?.reference();
        drop(branch);
        drop(device);
        assert_eq!(memory.reference_count(), 2);
        drop(child);
        assert_eq!(memory.reference_count(), 1);
        Ok(())
    }

    /// A registration below an object whose end has begun is refused, though its door cannot be
    /// drained before the caller has left.
    #[test]
    fn refused_below_ending_parent() -> Result {
        refused_by_end::<Leaf>(
            |object, access, log| {
                object
                    .register(access.registered(), (log.clone(), 1, Does::Nothing))
                    .map(drop)
            },
            |_device, branch| branch.unregister() == Ok(Outcome::Done),
        )
    }

    /// The same below a device that is being unbound, by an operation of an object that is already
    /// registered there.
    #[test]
    fn refused_below_unbinding_device() -> Result {
        refused_by_end::<Branch>(
            |object, access, log| {
                object
                    .register(access.parent(), (log.clone(), 1, None))
                    .map(drop)
            },
            |device, branch| {
                drop(device);
                branch.unregister() == Ok(Outcome::AlreadyDone)
            },
        )
    }

    /// A child that is being constructed while its parent ends is ended before it: by its
    /// constructor, which the parent waits for, or, if that came to its end just in time, by who
    /// ends the parent.
    #[test]
    fn construction_while_parent_ends() -> Result {
        let device = parent()?;
        let mut refused = 0;
        for _ in 0..rounds() {
            let log = Log::new()?;
            let branch = branch(&device, &log, 9)?;

            let task = (branch.reference(), log.clone());
            spawn(move || {
                let (branch, log) = task;
                log.reached.wait_for_completion();
                // The constructor is in `bind`; let it go on when the end has begun.
                let ending = branch.clone();
                let (other, waiting) = (log.clone(), branch);
                if spawn(move || {
                    while waiting.is_registered() {
                        core::hint::spin_loop();
                    }
                    other.go_on.complete_all();
                })
                .is_err()
                    || ending.unregister() != Ok(Outcome::Done)
                {
                    log.errors.fetch_add(1, Full);
                    log.go_on.complete_all();
                }
                let _ = log.dropped.lock().push(0, GFP_KERNEL);
            })?;

            let child = leaf(&branch, &log, 1, Does::WaitsInBind);
            // Waits for the other task.
            let _ = branch.unregister();
            assert_eq!(log.errors.load(Acquire), 0);
            match child {
                Err(error) => refused += usize::from(error == ENODEV),
                Ok(child) => assert!(child.unregister() == Ok(Outcome::AlreadyDone)),
            }
            assert!((*log.dropped.lock()).starts_with(&[1, 9]));
        }
        pr_info!(
            "construction_while_parent_ends: {} rounds, {refused} refused\n",
            rounds()
        );
        assert!(refused > 0);
        Ok(())
    }

    /// Who ends a child, or is inside of it, cannot wait for its parent.
    #[test]
    fn waiting_for_oneself_in_the_tree() -> Result {
        let device = parent()?;
        let log = Log::new()?;

        let branch = branch(&device, &log, 9)?;
        let child = leaf(&branch, &log, 1, Does::EndsParent)?;
        assert!(child.access(|_| branch.unregister()) == Ok(Err(EDEADLK)));
        assert!(branch.access(|_| branch.unregister()) == Ok(Err(EDEADLK)));
        assert!(branch.access(|_| child.access(|_| branch.unregister())) == Ok(Ok(Err(EDEADLK))));
        // To end a child from inside of its parent is fine.
        assert!(branch.access(|_| child.unregister()) == Ok(Ok(Outcome::Done)));
        assert_eq!(log.errors.load(Acquire), 0);
        assert!(branch.unregister() == Ok(Outcome::Done));
        Ok(())
    }

    /// Whoever asks for its own end can have it later.
    #[test]
    fn deferred() -> Result {
        let device = parent()?;
        let log = Log::new()?;

        let branch = branch(&device, &log, 9)?;
        branch.access(|branch| {
            branch.object().unregister_deferred();
            branch.object().unregister_deferred();
        })?;
        // The end needs the caller to have left, which it has.
        while branch.is_registered() {
            core::hint::spin_loop();
        }
        assert!(branch.unregister() == Ok(Outcome::AlreadyDone));
        assert!(log.dropped(&[9]));
        Ok(())
    }

    /// An object whose bound data owns the registration of an older sibling, ended while the device
    /// is unbound: one of the two ends the sibling, and nobody waits for ever.
    #[test]
    fn owner_of_sibling_against_unbind() -> Result {
        let _class = Unregistered::<Branch>::new(Ok::<_, Error>(()))?;
        for round in 0..rounds() {
            let device = parent()?;
            let log = Log::new()?;
            let other = Other::new()?;

            let sibling = branch(&device, &log, 1)?;
            let owner = Unregistered::<Branch>::new(Ok::<_, Error>(()))?
                .register(device.as_ref().as_ref(), (log.clone(), 2, Some(sibling)))?;

            let task = (owner.reference(), other.clone());
            spawn(move || {
                let (owner, other) = task;
                other.meet(pause(round));
                let _ = owner.unregister();
                other.done.complete_all();
            })?;
            other.meet(0);
            drop(device);
            other.done.wait_for_completion();
            assert!(log.dropped(&[1, 2]) || log.dropped(&[2, 1]));
        }
        Ok(())
    }

    /// An operation that asks for the end of a sibling while the device is unbound.
    #[test]
    fn operation_ends_sibling_against_unbind() -> Result {
        let _class = Unregistered::<Branch>::new(Ok::<_, Error>(()))?;
        for round in 0..rounds() {
            let device = parent()?;
            let log = Log::new()?;
            let other = Other::new()?;

            let older = branch(&device, &log, 1)?;
            let inside = branch(&device, &log, 2)?;
            let newer = branch(&device, &log, 3)?;

            let task = (
                older.reference(),
                inside.reference(),
                newer.reference(),
                other.clone(),
            );
            spawn(move || {
                let (older, inside, newer, other) = task;
                let _ = inside.access(|_| {
                    other.meet(pause(round));
                    let _ = older.unregister();
                    let _ = newer.unregister();
                });
                other.done.complete_all();
            })?;
            other.meet(0);
            drop(device);
            other.done.wait_for_completion();
            assert_eq!(log.dropped.lock().len(), 3);
        }
        Ok(())
    }

    /// Two operations that each ask for the end of the object that the other is inside of: at least
    /// one of them is refused, and nobody waits for ever.
    #[test]
    fn operations_end_each_other() -> Result {
        let _class = Unregistered::<Branch>::new(Ok::<_, Error>(()))?;
        let mut refused = 0;
        for round in 0..rounds() {
            let device = parent()?;
            let log = Log::new()?;
            let other = Other::new()?;

            let first = branch(&device, &log, 1)?;
            let second = branch(&device, &log, 2)?;
            let task = (first.reference(), second.reference(), other.clone());
            spawn(move || {
                let (first, second, other) = task;
                let outcome = first.access(|_| {
                    other.meet(pause(round));
                    second.unregister()
                });
                other.outcome.store(
                    if outcome == Ok(Err(EDEADLK)) {
                        FAILED
                    } else {
                        DONE
                    },
                    Release,
                );
                other.done.complete_all();
            })?;
            let ours = second.access(|_| {
                other.meet(0);
                first.unregister()
            });
            other.done.wait_for_completion();
            let theirs = other.outcome.load(Acquire) == FAILED;
            assert!(theirs || ours == Ok(Err(EDEADLK)));
            refused += usize::from(theirs) + usize::from(ours == Ok(Err(EDEADLK)));
            drop((first, second));
            assert_eq!(log.dropped.lock().len(), 2);
        }
        pr_info!(
            "operations_end_each_other: {} rounds, {refused} refused\n",
            rounds()
        );
        Ok(())
    }

    /// Many tasks that each wait for what the next one ends, in a circle: one of them gives up, and
    /// all objects end.
    #[test]
    fn long_circle() -> Result {
        const LENGTH: usize = 24;

        let device = parent()?;
        let _class = Unregistered::<Ring>::new(Ok::<_, Error>(()))?;
        for _ in 0..rounds() / 10 {
            let circle = Other::new()?;
            let mut links = KVec::new();
            let mut objects = KVec::new();
            for _ in 0..LENGTH {
                let link = Link::new(&circle, LENGTH)?;
                links.push(link.clone(), GFP_KERNEL)?;
                objects.push(
                    Unregistered::<Ring>::new(Ok::<_, Error>(()))?
                        .register(device.as_ref().as_ref(), link)?,
                    GFP_KERNEL,
                )?;
            }
            for (index, link) in links.iter().enumerate() {
                *link.next.lock() = Some(objects[(index + 1) % LENGTH].reference());
            }

            let ended = Arc::new(Atomic::<usize>::new(0), GFP_KERNEL)?;
            for object in &objects {
                let task = (object.reference(), ended.clone(), circle.clone());
                spawn(move || {
                    let (object, ended, circle) = task;
                    if object.unregister() != Ok(Outcome::Done) {
                        circle.errors.fetch_add(1, Full);
                    }
                    if ended.fetch_add(1, Full) + 1 == LENGTH {
                        circle.done.complete_all();
                    }
                })?;
            }
            circle.done.wait_for_completion();
            assert_eq!(circle.errors.load(Acquire), 0);
            assert!(circle.rounds.load(Acquire) > 0);
        }
        Ok(())
    }

    /// One grace period for one unbind, however many objects have been entered.
    #[test]
    fn one_grace_period() -> Result {
        let device = parent()?;
        let log = Log::new()?;
        let mut objects = KVec::new();
        for number in 0..100 {
            let branch = branch(&device, &log, number)?;
            let child = leaf(&branch, &log, number + 1, Does::Nothing)?;
            child.access(|_| ())?;
            objects.push((branch, child), GFP_KERNEL)?;
        }
        let before = GRACE_PERIODS.load(Acquire);
        drop(device);
        assert_eq!(GRACE_PERIODS.load(Acquire) - before, 1);
        assert_eq!(log.dropped.lock().len(), 200);
        Ok(())
    }

    /// What nobody has entered needs none.
    #[test]
    fn no_grace_period_if_never_entered() -> Result {
        let device = parent()?;
        let log = Log::new()?;

        let branch = branch(&device, &log, 9)?;
        let before = GRACE_PERIODS.load(Acquire);
        drop(branch);
        assert_eq!(GRACE_PERIODS.load(Acquire) - before, 0);
        Ok(())
    }
}
