// SPDX-License-Identifier: GPL-2.0

//! What can be revoked: the part that objects and managed resources have in common.
//!
//! A [`Revocable`] is registered below a parent, which is another one or a [`Binding`], and ends
//! once. The tree that this makes is what ends things in the right order.
//!
//! # The end
//!
//! A task that ends a revocable ends all below it. It goes through the tree three times:
//!
//! 1. *close*: claim each one and close its door, parents first, so that nothing new begins; wake
//!    who sleeps inside. One grace period follows, however many there are;
//! 2. *drain*: children first and the newest first, take each one out of the system, wait until
//!    nobody is inside, and cancel what would enter by itself;
//! 3. *drop*: in the same order, drop what was bound, and say that it has ended.
//!
//! Nothing is dropped before everything is drained, because whoever is inside of one of them can
//! reach the others, and the bound device, without another check.
//!
//! What another task has claimed already is waited for; [`crate::waits`] sees to it that they do
//! not wait for each other for ever.

use crate::{
    binding::Binding,
    platform::{
        current_task,
        KernelWord,
        PerCpuSlots,
        WaitQueue, //
    },
    protocol::{
        Claim,
        Entered,
        Protocol,
        SlotClaim,
        Slots,
        Task,
        Waiters, //
    },
    waits::{
        self,
        Ends, //
    }, //
};

use core::{
    cell::UnsafeCell,
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        global_lock,
        rcu,
        Arc, //
    }, //
};

type Slot = <PerCpuSlots as Slots>::Slot;

/// How deep the tree can be. The end of a tree recurses this often, on a kernel stack.
const DEPTH: usize = 16;

/// What an end of a registration calls, with the type of what is registered erased.
///
/// All but the first three are called by the owner of the teardown only, each once, in the order in
/// which they stand here.
pub(crate) struct Functions {
    /// Takes a reference to the memory.
    pub(crate) hold: unsafe fn(NonNull<Revocable>),
    /// Gives a reference back.
    pub(crate) put: unsafe fn(NonNull<Revocable>),
    /// An address in the module of the driver that the others call.
    pub(crate) driver: unsafe fn(&Revocable) -> *const c_void,
    /// Wakes who sleeps inside. The door has just been closed.
    pub(crate) wake: unsafe fn(&Revocable),
    /// Takes it out of the system.
    pub(crate) unlink: unsafe fn(&Revocable),
    /// Takes back what would call the driver by itself, and waits for what does. Nobody is inside
    /// any more.
    pub(crate) cancel: unsafe fn(&Revocable),
    /// Drops what was bound. Nobody is inside any more.
    pub(crate) drop_bound: unsafe fn(&Revocable),
    /// Gives back what the registration held of the library.
    pub(crate) conclude: unsafe fn(&Revocable),
}

/// What ends once.
///
/// # Invariants
///
/// - It is pinned in memory that `functions.hold` and `functions.put` count the references of, and
///   `functions` are the ones for the structure it is in.
/// - `above` is written by the one who registers, before `protocol` is `Registered`, and taken by
///   the owner of the teardown in its last step.
/// - `links` belongs to the [`Children`] of `above` while this is in one of its lists, which has a
///   reference to this.
/// - `protocol` is the first field.
#[repr(C)]
pub(crate) struct Revocable {
    pub(crate) protocol: Protocol<KernelWord>,
    pub(crate) waiters: WaitQueue,
    functions: &'static Functions,
    above: UnsafeCell<Option<Above>>,
    links: UnsafeCell<Links>,
    children: Children,
}

// SAFETY: The fields are synchronised as the type invariants say.
unsafe impl Sync for Revocable {}
// SAFETY: Nothing in it belongs to a task.
unsafe impl Send for Revocable {}

/// A reference to the memory of a [`Revocable`].
///
/// # Invariants
///
/// It owns one reference.
pub(crate) struct Reference(NonNull<Revocable>);

// SAFETY: References can be taken and put by any task.
unsafe impl Send for Reference {}
// SAFETY: As above, and `Revocable` is `Sync`.
unsafe impl Sync for Reference {}

impl Reference {
    /// Takes a reference to the memory of `revocable`.
    pub(crate) fn new(revocable: &Revocable) -> Self {
        let this = NonNull::from(revocable);
        // SAFETY: By the type invariants of `Revocable`, and because the caller has a reference.
        unsafe { (revocable.functions.hold)(this) };
        // INVARIANT: Taken just now.
        Self(this)
    }

    /// # Safety
    ///
    /// The caller must have a reference to the memory of `revocable`, which it gives up.
    pub(crate) unsafe fn from_raw(revocable: NonNull<Revocable>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(revocable)
    }

    fn into_raw(self) -> NonNull<Revocable> {
        ManuallyDrop::new(self).0
    }
}

impl core::ops::Deref for Reference {
    type Target = Revocable;

    fn deref(&self) -> &Revocable {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { (self.functions.put)(self.0) };
    }
}

/// What a [`Revocable`] is registered below.
pub(crate) enum Above {
    /// A bound device.
    Binding(Arc<Binding>),
    /// Another revocable.
    Revocable(Reference),
}

impl Above {
    fn children(&self) -> &Children {
        match self {
            Self::Binding(binding) => binding.children(),
            Self::Revocable(revocable) => &revocable.children,
        }
    }

    /// How many revocables there are from here to the root.
    ///
    /// The caller must be inside the door, if there is one.
    fn depth(&self) -> usize {
        let mut depth = 0;
        let mut next = match self {
            Self::Binding(_) => None,
            Self::Revocable(revocable) => Some(&**revocable),
        };
        while let Some(revocable) = next {
            depth += 1;
            // SAFETY: It does not end, because the caller is inside, or it has such a child.
            next = unsafe { revocable.above() };
        }
        depth
    }
}

/// Protects the lists and links of all [`Children`].
///
/// One lock for all: it is held for a few instructions, and it makes a tree that can be walked.
pub(crate) struct Tree(());

global_lock! {
    // SAFETY: `initialise` is called when the library is loaded, before anything else of it runs.
    pub(crate) unsafe(uninit) static TREE: SpinLock<Tree> = Tree(());
}

/// Makes revocables ready for use.
///
/// # Safety
///
/// Must be called exactly once, before anything else in this module.
pub(crate) unsafe fn initialise() {
    // SAFETY: By the safety requirements.
    unsafe { TREE.init() };
}

#[derive(Default)]
struct Links {
    previous: Option<NonNull<Revocable>>,
    next: Option<NonNull<Revocable>>,
}

/// A list of children, which has a reference to each.
#[derive(Default)]
struct List {
    first: Option<NonNull<Revocable>>,
    last: Option<NonNull<Revocable>>,
}

impl List {
    /// # Safety
    ///
    /// `child` must be in no list, and the caller hold the lock of [`TREE`].
    unsafe fn push_last(&mut self, child: Reference) {
        let child = child.into_raw();
        // SAFETY: By the safety requirements; what is in the list is referenced by it.
        unsafe {
            *child.as_ref().links.get() = Links {
                previous: self.last,
                next: None,
            };
            match self.last {
                Some(last) => (*last.as_ref().links.get()).next = Some(child),
                None => self.first = Some(child),
            }
        }
        self.last = Some(child);
    }
}

#[derive(Default)]
struct Lists {
    closing: bool,
    present: List,
    closed: List,
    drained: List,
}

/// What is registered below something.
///
/// # Invariants
///
/// - The lists, and the links of what is in them, are read and written under the lock of [`TREE`].
/// - Each child is in exactly one of the lists, from its registration to its end. The order of each
///   list is that of the steps that the module's documentation describes: `present` has the oldest
///   first, the others the newest.
#[derive(Default)]
pub(crate) struct Children(UnsafeCell<Lists>);

// SAFETY: The lists own references, which are `Send`.
unsafe impl Send for Children {}
// SAFETY: The lists are synchronised as the type invariants say.
unsafe impl Sync for Children {}

impl Children {
    fn lists<'a>(&'a self, _tree: &'a mut Tree) -> &'a mut Lists {
        // SAFETY: By the type invariants, the lock protects them, and there is one `Tree`.
        unsafe { &mut *self.0.get() }
    }

    /// Adds the newest child, unless the end has begun.
    ///
    /// # Safety
    ///
    /// `child` must never have been in a list.
    unsafe fn add(&self, child: &Revocable) -> Result {
        let reference = Reference::new(child);
        let mut tree = TREE.lock();
        let lists = self.lists(&mut tree);
        if lists.closing {
            drop(tree);
            return Err(ENODEV);
        }
        // SAFETY: By the safety requirements.
        unsafe { lists.present.push_last(reference) };
        Ok(())
    }

    /// Takes `child` out of the list in which it is.
    ///
    /// # Safety
    ///
    /// `child` must be in one of the lists.
    unsafe fn remove(&self, child: NonNull<Revocable>, tree: &mut Tree) -> Reference {
        let lists = self.lists(tree);
        // SAFETY: By the safety requirements and the type invariants, the lock protects the links,
        // and the neighbours are in the same list.
        let links = unsafe {
            let links = core::mem::take(&mut *child.as_ref().links.get());
            if let Some(previous) = links.previous {
                (*previous.as_ref().links.get()).next = links.next;
            }
            if let Some(next) = links.next {
                (*next.as_ref().links.get()).previous = links.previous;
            }
            links
        };
        for list in [&mut lists.present, &mut lists.closed, &mut lists.drained] {
            if list.first == Some(child) {
                list.first = links.next;
            }
            if list.last == Some(child) {
                list.last = links.previous;
            }
        }
        // INVARIANT: The list's own reference.
        Reference(child)
    }

    /// From now on no child can be added.
    fn begin_to_close(&self) {
        self.lists(&mut TREE.lock()).closing = true;
    }

    /// Moves the newest child that is present to those whose doors are closed.
    fn next_to_close(&self) -> Option<Reference> {
        self.advance(|lists| lists.present.last, |lists| &mut lists.closed)
    }

    /// Moves the next child whose door is closed to those that are drained.
    fn next_to_drain(&self) -> Option<Reference> {
        self.advance(|lists| lists.closed.first, |lists| &mut lists.drained)
    }

    /// Moves the child that is `next` in one of the lists to the end of another one.
    fn advance(
        &self,
        next: fn(&Lists) -> Option<NonNull<Revocable>>,
        to: fn(&mut Lists) -> &mut List,
    ) -> Option<Reference> {
        let mut tree = TREE.lock();
        let child = next(self.lists(&mut tree))?;
        // SAFETY: It is in a list of this, and then in none.
        unsafe {
            let reference = self.remove(child, &mut tree);
            to(self.lists(&mut tree)).push_last(reference);
            Some(Reference::new(child.as_ref()))
        }
    }

    fn next_to_drop(&self) -> Option<Reference> {
        let mut tree = TREE.lock();
        let child = self.lists(&mut tree).drained.first?;
        // SAFETY: What is in a list is referenced by it.
        Some(Reference::new(unsafe { child.as_ref() }))
    }

    /// Whether there is one at `address` below.
    pub(crate) fn contain(&self, address: usize) -> bool {
        self.find(&mut TREE.lock(), &|child| {
            core::ptr::from_ref(child) as usize == address
        })
        .is_some()
    }

    /// One of those below for which `wanted` holds.
    pub(crate) fn find(
        &self,
        tree: &mut Tree,
        wanted: &dyn Fn(&Revocable) -> bool,
    ) -> Option<Reference> {
        let lists = self.lists(tree);
        for last in [lists.present.last, lists.closed.last, lists.drained.last] {
            let mut next = last;
            while let Some(child) = next {
                // SAFETY: What is in a list is referenced by it, and the lock is held.
                let child = unsafe { child.as_ref() };
                if wanted(child) {
                    return Some(Reference::new(child));
                }
                if let Some(found) = child.children.find(tree, wanted) {
                    return Some(found);
                }
                // SAFETY: By the type invariants.
                next = unsafe { (*child.links.get()).previous };
            }
        }
        None
    }
}

/// Closes the doors of all `children` and of all below them; whether there must be a grace period.
///
/// No child can be added any more.
fn close_all(children: &Children, task: Task) -> bool {
    let mut grace_period = false;
    while let Some(child) = children.next_to_close() {
        if child.protocol.begin_unregistration(task) == Claim::Owner {
            grace_period |= child.close(task);
        }
    }
    grace_period
}

/// Drains all `children`, whose doors are closed, and all below them.
fn drain_all(children: &Children, task: Task) {
    while let Some(child) = children.next_to_drain() {
        if child.protocol.is_owner(task) {
            child.drain(task);
        } else {
            waits::wait_for_end(&child);
        }
    }
}

/// Drops all `children`, which are drained, and all below them.
fn drop_all(children: &Children, task: Task) {
    while let Some(child) = children.next_to_drop() {
        child.drop_and_conclude(task);
    }
}

/// Ends all `children`, in the three steps that the module's documentation describes.
#[inline(never)]
pub(crate) fn end_all(children: &Children) {
    let task = current_task();
    waits::while_ending(Ends::Children(children), || {
        children.begin_to_close();
        if close_all(children, task) {
            PerCpuSlots.grace_period();
        }
        drain_all(children, task);
        drop_all(children, task);
    });
}

/// Somebody inside the door of a revocable.
///
/// # Invariants
///
/// Entered, and not left.
pub(crate) struct Inside<'a> {
    revocable: &'a Revocable,
    entered: Entered<Slot>,
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.revocable.protocol.leave(self.entered, &PerCpuSlots) {
            self.revocable.wake();
        }
    }
}

/// What a call of `unregister` or `release` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This call has ended the registration.
    Done,
    /// It had ended before, or another caller has ended it meanwhile, or there was none.
    AlreadyDone,
}

impl Revocable {
    /// One that is not registered.
    pub(crate) fn new(functions: &'static Functions) -> Self {
        Self {
            protocol: Protocol::new(),
            waiters: WaitQueue::new(),
            functions,
            above: UnsafeCell::new(None),
            links: UnsafeCell::new(Links::default()),
            children: Children::default(),
        }
    }

    /// What is registered below this.
    pub(crate) fn children(&self) -> &Children {
        &self.children
    }

    /// An address in the module of the driver that this calls.
    pub(crate) fn driver(&self) -> *const c_void {
        // SAFETY: By the type invariants, these are the functions for this.
        unsafe { (self.functions.driver)(self) }
    }

    /// Begins the registration below `above`. It is the caller's until one of
    /// [`Revocable::finish_registration`] and [`Revocable::fail_registration`].
    ///
    /// If `above` is a revocable, the caller must be inside its door.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the end of this was asked for, or that of `above` has begun; [`ELOOP`] if the
    /// tree would become too deep.
    #[inline(never)]
    pub(crate) fn begin_registration(&self, above: Above) -> Result {
        let task = current_task();
        if above.depth() >= DEPTH {
            return Err(ELOOP);
        }
        self.protocol.begin_registration(task).map_err(|_| ENODEV)?;

        // SAFETY: It has never been registered.
        if let Err(error) = unsafe { above.children().add(self) } {
            self.protocol.abandon_registration(task);
            self.conclude();
            return Err(error);
        }
        // SAFETY: By the type invariants, this task owns the field.
        unsafe { *self.above.get() = Some(above) };
        Ok(())
    }

    /// Opens the door.
    pub(crate) fn open(&self) {
        self.protocol.open();
    }

    /// Ends the registration phase.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the end was asked for meanwhile; it has ended then.
    #[inline(never)]
    pub(crate) fn finish_registration(&self) -> Result {
        let task = current_task();
        if self.protocol.finish_registration(task).is_err() {
            self.tear_down(task);
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Ends a registration that has failed. `opened` says whether the door was.
    #[inline(never)]
    pub(crate) fn fail_registration(&self, opened: bool) {
        let task = current_task();
        self.protocol.abandon_registration(task);
        if opened {
            self.tear_down(task);
        } else {
            self.conclude();
        }
    }

    /// Ends the registration, or waits until whoever does it is done.
    #[inline(never)]
    pub(crate) fn unregister(&self) -> Result<Outcome> {
        self.unregister_or(|| waits::try_wait_for_end(self))
    }

    /// The same, but if another task is doing it, it is waited for only if it is `task`: who else
    /// does it may wait for the caller.
    #[inline(never)]
    pub(crate) fn unregister_or_wait_for(&self, task: Option<Task>) -> Result<Outcome> {
        self.unregister_or(|| {
            task.is_none() || self.protocol.owner() != task || waits::try_wait_for_end(self)
        })
    }

    /// Ends the registration. If another task is doing it, `wait` is asked whether that is as well.
    fn unregister_or(&self, wait: impl FnOnce() -> bool) -> Result<Outcome> {
        let task = current_task();
        if waits::would_wait_for_itself(self) {
            return Err(EDEADLK);
        }
        // Known before it is decided, so that of two who would wait for each other one sees it.
        waits::while_ending(Ends::Revocable(self), || {
            if waits::would_wait_in_circle(self) {
                return Err(EDEADLK);
            }
            match self.protocol.begin_unregistration(task) {
                Claim::Owner => {
                    self.tear_down_all(task);
                    Ok(Outcome::Done)
                }
                Claim::Ended => Ok(Outcome::AlreadyDone),
                Claim::WouldWaitForItself => Err(EDEADLK),
                Claim::Busy if wait() => Ok(Outcome::AlreadyDone),
                Claim::Busy => Err(EDEADLK),
            }
        })
    }

    /// Whether the door is open.
    pub(crate) fn is_open(&self) -> bool {
        self.protocol.is_open()
    }

    /// Enters the door, if it is open.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        let entered = match self.protocol.enter(&PerCpuSlots) {
            SlotClaim::Slot(slot) => Entered::Slot(slot),
            otherwise => self.enter_otherwise(otherwise)?,
        };
        // INVARIANT: Entered just now.
        Some(Inside {
            revocable: self,
            entered,
        })
    }

    /// Out of line, to keep short what is inlined into drivers.
    #[cold]
    #[inline(never)]
    fn enter_otherwise(&self, claim: SlotClaim<Slot>) -> Option<Entered<Slot>> {
        self.protocol
            .enter_otherwise(claim, &PerCpuSlots, &self.waiters)
    }

    /// As above.
    #[cold]
    #[inline(never)]
    fn wake(&self) {
        self.waiters.wake_all();
    }

    /// Whether the door is open, and stays so in effect until `_guard` is dropped.
    #[inline]
    pub(crate) fn is_open_atomic(&self, _guard: &rcu::Guard) -> bool {
        self.protocol.is_open_in_section()
    }

    /// The whole end, of a registration that has failed. The door must be open, and `task` the
    /// current one and the owner of the teardown.
    fn tear_down(&self, task: Task) {
        waits::while_ending(Ends::Revocable(self), || self.tear_down_all(task));
    }

    /// The whole end, while it is known that `task` does it.
    fn tear_down_all(&self, task: Task) {
        if self.close(task) {
            PerCpuSlots.grace_period();
        }
        self.drain(task);
        self.drop_and_conclude(task);
    }

    /// The first step of the end; whether there must be a grace period.
    fn close(&self, task: Task) -> bool {
        // First, so that whoever finds the door closed cannot register below this any more.
        self.children.begin_to_close();
        let mut grace_period = self.protocol.close();
        // SAFETY: The owner of the teardown, once.
        unsafe { (self.functions.wake)(self) };
        grace_period |= close_all(&self.children, task);
        grace_period
    }

    /// The second step of the end.
    fn drain(&self, task: Task) {
        drain_all(&self.children, task);
        // Taking it out of the system may wait for those inside too: sysfs does.
        waits::reconsider();
        // SAFETY: The owner of the teardown, once.
        unsafe { (self.functions.unlink)(self) };
        self.protocol.drain(&PerCpuSlots, &self.waiters);
        // After that, because it must not wait for those inside, who are looked for in `waits`; and
        // in this step, because such a call may reach the others of this tree.
        //
        // SAFETY: The owner of the teardown, once, and nobody is inside.
        unsafe { (self.functions.cancel)(self) };
    }

    /// The last step of the end.
    fn drop_and_conclude(&self, task: Task) {
        drop_all(&self.children, task);
        // SAFETY: The owner of the teardown, once, and nobody is inside.
        unsafe { (self.functions.drop_bound)(self) };
        self.conclude();
    }

    fn conclude(&self) {
        // SAFETY: The owner of the teardown, once.
        unsafe { (self.functions.conclude)(self) };

        // SAFETY: By the type invariants, the owner of the teardown may take this.
        let above = unsafe { (*self.above.get()).take() };
        let reference = above.as_ref().map(|above| {
            // SAFETY: It is in a list of those since it was registered.
            unsafe { above.children().remove(self.into(), &mut TREE.lock()) }
        });

        self.protocol.end(&self.waiters);

        // The caller has a reference of its own.
        drop(reference);
        drop(above);
    }

    /// What this is registered below.
    ///
    /// # Safety
    ///
    /// This must be registered or about to end, and not reach its end meanwhile.
    pub(crate) unsafe fn above(&self) -> Option<&Self> {
        // SAFETY: By the type invariants, the field is not written from the registration to the
        // last step of the end.
        match unsafe { &*self.above.get() } {
            Some(Above::Revocable(above)) => Some(above),
            _ => None,
        }
    }
}
