// SPDX-License-Identifier: GPL-2.0

//! What the library does with the protocol, in short: see `rust/holdfast/revocable.rs`.

use crate::{
    platform::{
        Current,
        ModelWord,
        WaitQueue, //
    },
    protocol::{
        Claim,
        Entered,
        Lost,
        Protocol,
        Slots,
        Task,
        Waiters, //
    },
};

use loom::cell::UnsafeCell;

/// What is bound, in a cell in which loom finds every access that could be at the same time as
/// another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    NotYet,
    Present,
    Dropped,
}

/// What a call of `unregister` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    AlreadyDone,
    WouldWaitForItself,
}

pub(crate) type Inside = Entered<(usize, usize)>;

/// What can be registered.
pub(crate) struct Object {
    protocol: Protocol<ModelWord>,
    waiters: WaitQueue,
    bound: UnsafeCell<Bound>,
    /// Where those wait who sleep inside.
    sleepers: WaitQueue,
}

// SAFETY: loom checks what `bound` is accessed by.
unsafe impl Sync for Object {}
// SAFETY: As above.
unsafe impl Send for Object {}

impl Object {
    pub(crate) fn new() -> Self {
        Self {
            protocol: Protocol::new(),
            waiters: WaitQueue::new(),
            bound: UnsafeCell::new(Bound::NotYet),
            sleepers: WaitQueue::new(),
        }
    }

    /// An object that is registered, and whose door `current` has used if `used`.
    pub(crate) fn registered(current: &Current<'_>, used: bool) -> Self {
        let object = Self::new();
        assert_eq!(object.register(current), Ok(()));
        object.used(current, used);
        object
    }

    fn used(&self, current: &Current<'_>, used: bool) {
        if used {
            let inside = self.enter(current).expect("the door is open");
            self.leave(current, inside);
        }
    }

    pub(crate) fn begin_registration(&self, current: &Current<'_>) -> Result<(), Lost> {
        self.protocol.begin_registration(current.task)
    }

    /// What lies between the beginning and the end of a registration.
    pub(crate) fn bind_and_open(&self) {
        // SAFETY: The one who registers; nobody can be inside yet.
        self.bound.with_mut(|bound| unsafe {
            assert_eq!(*bound, Bound::NotYet);
            *bound = Bound::Present;
        });
        self.protocol.open();
    }

    pub(crate) fn finish_registration(&self, current: &Current<'_>) -> Result<(), Lost> {
        let answer = self.protocol.finish_registration(current.task);
        if answer == Err(Lost::Cancelled) {
            self.tear_down(current);
        }
        answer
    }

    pub(crate) fn register(&self, current: &Current<'_>) -> Result<(), Lost> {
        self.begin_registration(current)?;
        self.bind_and_open();
        self.finish_registration(current)
    }

    /// A registration that has failed. `opened` says whether the door was.
    pub(crate) fn fail_registration(&self, current: &Current<'_>, opened: bool) {
        self.protocol.abandon_registration(current.task);
        if opened {
            self.tear_down(current);
        } else {
            self.drop_bound_and_end(current);
        }
    }

    pub(crate) fn unregister(&self, current: &Current<'_>) -> Outcome {
        self.unregister_with(current, || ())
    }

    /// As [`Object::unregister`]; whoever owns the teardown calls `callback` when it wakes who
    /// sleeps inside, and when it drops what is bound.
    pub(crate) fn unregister_with(&self, current: &Current<'_>, callback: impl Fn()) -> Outcome {
        match self.protocol.begin_unregistration(current.task) {
            Claim::Owner => {
                self.tear_down_with(current, callback);
                Outcome::Done
            }
            Claim::Ended => Outcome::AlreadyDone,
            Claim::WouldWaitForItself => Outcome::WouldWaitForItself,
            Claim::Busy => {
                assert!(self.protocol.wait_for_end(&self.waiters, || false));
                Outcome::AlreadyDone
            }
        }
    }

    /// The first part of an end, without the grace period: whether one is needed.
    pub(crate) fn close(&self, current: &Current<'_>) -> bool {
        assert_eq!(
            self.protocol.begin_unregistration(current.task),
            Claim::Owner
        );
        self.protocol.close()
    }

    /// The rest of an end.
    pub(crate) fn drain_and_end(&self, current: &Current<'_>) {
        self.protocol.drain(current, &self.waiters);
        self.drop_bound_and_end(current);
    }

    pub(crate) fn tear_down(&self, current: &Current<'_>) {
        self.tear_down_with(current, || ());
    }

    fn tear_down_with(&self, current: &Current<'_>, callback: impl Fn()) {
        let used = self.protocol.close();
        self.sleepers.wake_all();
        callback();
        if used {
            current.grace_period();
        }
        self.protocol.drain(current, &self.waiters);
        callback();
        self.drop_bound_and_end(current);
    }

    fn drop_bound_and_end(&self, current: &Current<'_>) {
        assert!(self.is_owner(current), "the end of somebody else");
        // SAFETY: The owner of the teardown, once, and nobody is inside.
        self.bound.with_mut(|bound| unsafe {
            assert_ne!(*bound, Bound::Dropped, "dropped twice");
            *bound = Bound::Dropped;
        });
        self.protocol.end(&self.waiters);
    }

    /// What is bound, for one who knows that nobody writes it.
    pub(crate) fn bound(&self) -> Bound {
        // SAFETY: loom checks it.
        self.bound.with(|bound| unsafe { *bound })
    }

    /// What everybody finds who returns from an end.
    pub(crate) fn assert_ended(&self) {
        assert_ne!(
            self.bound(),
            Bound::Present,
            "returned before the end was over"
        );
        assert!(!self.protocol.is_open(), "the door is open after the end");
    }

    /// Who waits for an end asks whether that one waits for it: see `rust/holdfast/waits.rs`.
    pub(crate) fn owner(&self) -> Option<Task> {
        self.protocol.owner()
    }

    /// Waits for the end that somebody else has begun, or until it `gives_up`.
    pub(crate) fn wait_for_end(&self, gives_up: impl Fn() -> bool) -> bool {
        self.protocol.wait_for_end(&self.waiters, gives_up)
    }

    /// Makes those who wait for the end ask again whether they give up.
    pub(crate) fn wake_who_waits(&self) {
        self.waiters.wake_all();
    }

    pub(crate) fn begin_unregistration(&self, current: &Current<'_>) -> Claim {
        self.protocol.begin_unregistration(current.task)
    }

    pub(crate) fn is_owner(&self, current: &Current<'_>) -> bool {
        self.protocol.is_owner(current.task)
    }

    pub(crate) fn enter(&self, current: &Current<'_>) -> Option<Inside> {
        let claim = self.protocol.enter(current);
        self.protocol.enter_otherwise(claim, current, &self.waiters)
    }

    pub(crate) fn leave(&self, current: &Current<'_>, inside: Inside) {
        if self.protocol.leave(inside, current) {
            self.waiters.wake_all();
        }
    }

    /// Whether `current` is inside, with a slot.
    pub(crate) fn is_inside(&self, current: &Current<'_>) -> bool {
        let address = core::ptr::from_ref(&self.protocol) as usize;
        current.is_inside(|door| door == address)
    }

    /// What somebody inside does.
    pub(crate) fn operate(&self) {
        assert_eq!(self.bound(), Bound::Present, "inside, and nothing is bound");
    }

    /// Waits inside for the end.
    pub(crate) fn sleep(&self) {
        self.sleepers.wait_until(|| !self.protocol.is_open());
    }

    /// Operates in a section, without entering.
    pub(crate) fn operate_in_section(&self, current: &Current<'_>) -> bool {
        current.begin();
        let open = self.protocol.is_open_in_section();
        if open {
            self.operate();
        }
        current.end();
        open
    }
}
