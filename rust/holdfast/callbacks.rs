// SPDX-License-Identifier: GPL-2.0

//! What calls the driver of an object by itself: [work](crate::work), [timers](crate::timer) and
//! [interrupts](crate::irq).
//!
//! A driver declares them with its type of object, as [`Operations::CALLBACKS`], and the library
//! makes them with each object, in memory of its own. So a driver cannot move them, drop them, or
//! forget them while the kernel knows them, and the library knows all of them at the end.
//!
//! # The end
//!
//! Nothing can be queued or started once the door is closed: that is checked in a section that the
//! grace period waits for. What was pending is taken back as soon as nobody is inside of the object
//! any more, before anything is dropped. So what queues itself again and again ends like everything
//! else, and no callback can come later.
//!
//! It is not done earlier, because it waits for a callback that is running. Whoever is inside is
//! waited for by the door, which notices tasks that wait for each other; what is then left to wait
//! for here is a few instructions of the library, before a callback has entered or after it has
//! left. Only handlers of hard interrupts do not enter: see [`crate::irq`].
//!
//! What the kernel calls are functions of the library and not generic; those of the driver are
//! called by these. A callback holds no reference to the object: it is in memory of the object,
//! and none is pending or running when the registration's own reference is given up.
//!
//! # Examples
//!
//! ```
//! use holdfast::{callbacks::Callbacks, object::Access, timer, work};
//! # use holdfast::{class::Class, object::{self, Object, Unregistered}};
//! # use kernel::{device::{Bound, Device}, faux};
//! use kernel::{sync::{Arc, Completion}, time::Delta};
//!
//! const REFILL: u64 = 0;
//! const WATCHDOG: u64 = 0;
//!
//! struct Nic;
//!
//! # impl object::Operations for Nic {
//! # type Parent = Device<Bound>;
//! # type Structure = object::ClassDevice;
//! # type Data = ();
//! # type Bound<'bound> = Arc<Completion>;
//! # type Argument = Arc<Completion>;
//! # const CLASS: Class = Class::new(c"holdfast_example_nic", c"holdfast-example-nic");
//! // In impl object::Operations for Nic:
//! const CALLBACKS: Callbacks<Self> = Callbacks::new()
//!     .with_work::<REFILL>()
//!     .with_timer::<WATCHDOG>();
//! # fn bind<'bound>(
//! #     _object: &'bound Object<Self>,
//! #     _device: &'bound Device<Bound>,
//! #     refilled: Arc<Completion>,
//! # ) -> impl PinInit<Arc<Completion>, Error> + 'bound {
//! #     Ok(refilled)
//! # }
//! # }
//!
//! impl work::Operations<REFILL> for Nic {
//!     fn run(access: &Access<'_, '_, Self>) {
//!         access.complete_all();
//!     }
//! }
//!
//! impl timer::Operations<WATCHDOG> for Nic {
//!     fn expired(access: &Access<'_, '_, Self>) {
//!         let _ = access.object().work::<REFILL>().queue();
//!         let _ = access.object().timer::<WATCHDOG>().start(Delta::from_millis(10));
//!     }
//! }
//!
//! # let device = faux::Registration::new(c"holdfast-nic", None)?;
//! # let refilled = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
//! let nic = Unregistered::<Nic>::new(())?.register(device.as_ref().as_ref(), refilled.clone())?;
//! nic.timer::<WATCHDOG>().start(Delta::from_millis(1))?;
//! refilled.wait_for_completion();
//!
//! // However often they start each other, they end with the object.
//! nic.unregister()?;
//! assert_eq!(nic.timer::<WATCHDOG>().start(Delta::from_millis(1)), Err(ENODEV));
//! # Ok::<(), Error>(())
//! ```

use crate::{
    irq,
    object::{
        Header,
        Operations, //
    },
    timer,
    work, //
};

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::prelude::*;

/// How many callbacks a type of objects can have.
const MOST: usize = 16;

/// What the driver gave for a callback, with the types erased.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    Work(work::Function),
    Timer(timer::Function),
    Interrupt(irq::Functions),
}

#[derive(Clone, Copy)]
struct Declared {
    id: u64,
    call: Call,
}

/// The callbacks of a type of objects.
///
/// A value of [`Operations::CALLBACKS`]. Each callback has a number, which the driver chooses; two
/// of the same kind must not have the same.
///
/// # Examples
///
/// A device with two interrupts. This is only compiled: it takes a device that has them.
///
/// ```no_run
/// use holdfast::{
///     callbacks::Callbacks,
///     class::Class,
///     irq::{self, IrqReturn, Line},
///     object::{self, Access, Object},
/// };
/// use kernel::platform;
/// # use kernel::device::Bound;
///
/// struct Nic;
///
/// const RECEIVED: u64 = 0;
/// const FAILED: u64 = 1;
///
/// # impl object::Operations for Nic {
/// # type Parent = platform::Device<Bound>;
/// # type Structure = object::ClassDevice;
/// # type Data = ();
/// # type Bound<'bound> = ();
/// # type Argument = ();
/// # const CLASS: Class = Class::new(c"nic", c"nic");
/// // In impl object::Operations for Nic:
/// const CALLBACKS: Callbacks<Self> = Callbacks::new()
///     .with_interrupt::<RECEIVED>()
///     .with_threaded_interrupt::<FAILED>();
/// # fn bind<'bound>(
/// #     _object: &'bound Object<Self>,
/// #     _pdev: &'bound platform::Device<Bound>,
/// #     _argument: (),
/// # ) -> impl PinInit<(), Error> + 'bound {
/// #     Ok(())
/// # }
/// # }
///
/// impl irq::Operations<RECEIVED> for Nic {
///     fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>> {
///         Ok(access.parent().irq_by_index(0)?.into())
///     }
///
///     fn handle(_access: &Access<'_, '_, Self>) -> IrqReturn {
///         IrqReturn::Handled
///     }
/// }
///
/// impl irq::ThreadedOperations<FAILED> for Nic {
///     fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>> {
///         Ok(access.parent().irq_by_index(1)?.into())
///     }
///
///     fn handle_threaded(_access: &Access<'_, '_, Self>) -> IrqReturn {
///         IrqReturn::Handled
///     }
/// }
/// ```
pub struct Callbacks<T: Operations> {
    declared: Declarations,
    _type: PhantomData<fn(&T)>,
}

/// The callbacks of a type of objects, with the type erased.
///
/// # Invariants
///
/// The functions are for objects of one type.
#[derive(Clone, Copy)]
pub(crate) struct Declarations([Option<Declared>; MOST]);

impl Declarations {
    /// Whether `left` and `right` are of one kind.
    const fn alike(left: &Call, right: &Call) -> bool {
        matches!(
            (left, right),
            (Call::Work(_), Call::Work(_))
                | (Call::Timer(_), Call::Timer(_))
                | (Call::Interrupt(_), Call::Interrupt(_))
        )
    }

    /// The place of a callback among those of its kind.
    const fn place(&self, id: u64, kind: &Call) -> Option<usize> {
        let mut place = 0;
        let mut index = 0;
        while index < MOST {
            if let Some(declared) = &self.0[index] {
                if Self::alike(&declared.call, kind) {
                    if declared.id == id {
                        return Some(place);
                    }
                    place += 1;
                }
            }
            index += 1;
        }
        None
    }

    fn iter(&self) -> impl Iterator<Item = &Call> {
        self.0.iter().flatten().map(|declared| &declared.call)
    }
}

impl<T: Operations> Callbacks<T> {
    /// None.
    #[expect(clippy::new_without_default, reason = "Default cannot be const")]
    pub const fn new() -> Self {
        // INVARIANT: There are none.
        Self {
            declared: Declarations([None; MOST]),
            _type: PhantomData,
        }
    }

    /// And the work with this number.
    pub const fn with_work<const ID: u64>(self) -> Self
    where
        T: work::Operations<ID>,
    {
        self.with(ID, Call::Work(work::call::<T, ID>))
    }

    /// And the timer with this number.
    pub const fn with_timer<const ID: u64>(self) -> Self
    where
        T: timer::Operations<ID>,
    {
        self.with(ID, Call::Timer(timer::call::<T, ID>))
    }

    /// And the interrupt with this number.
    pub const fn with_interrupt<const ID: u64>(self) -> Self
    where
        T: irq::Operations<ID>,
    {
        self.with(ID, Call::Interrupt(irq::Functions::of::<T, ID>()))
    }

    /// And the interrupt with this number, which is handled by a thread.
    pub const fn with_threaded_interrupt<const ID: u64>(self) -> Self
    where
        T: irq::ThreadedOperations<ID>,
    {
        self.with(ID, Call::Interrupt(irq::Functions::of_threaded::<T, ID>()))
    }

    // INVARIANT: The callers give functions for `T`.
    const fn with(self, id: u64, call: Call) -> Self {
        assert!(
            self.declared.place(id, &call).is_none(),
            "give each callback of one kind a number of its own"
        );
        let mut declared = self.declared;
        let mut index = 0;
        while index < MOST {
            if declared.0[index].is_none() {
                declared.0[index] = Some(Declared { id, call });
                return Self {
                    declared,
                    _type: PhantomData,
                };
            }
            index += 1;
        }
        panic!("declare fewer callbacks, or give one several tasks");
    }

    /// With the type erased.
    pub(crate) const fn erase(&self) -> Declarations {
        self.declared
    }

    /// The place of the work with this number.
    pub(crate) const fn place_of_work<const ID: u64>(&self) -> usize
    where
        T: work::Operations<ID>,
    {
        match self.declared.place(ID, &Call::Work(work::call::<T, ID>)) {
            Some(place) => place,
            None => panic!("declare the work in object::Operations::CALLBACKS"),
        }
    }

    /// The place of the timer with this number.
    pub(crate) const fn place_of_timer<const ID: u64>(&self) -> usize
    where
        T: timer::Operations<ID>,
    {
        match self.declared.place(ID, &Call::Timer(timer::call::<T, ID>)) {
            Some(place) => place,
            None => panic!("declare the timer in object::Operations::CALLBACKS"),
        }
    }
}

/// The callbacks of an object.
#[derive(Default)]
struct Lists {
    work: KVec<work::Item>,
    timers: KVec<timer::Item>,
    interrupts: KVec<irq::Item>,
}

/// The callbacks of an object; a pointer, as most objects have none.
///
/// # Invariants
///
/// What is in the vectors is a part of the object, in the order of its declaration, and neither
/// moved nor dropped before this is.
pub(crate) struct Items(Option<KBox<Lists>>);

impl Items {
    /// Those of the object of `header`.
    ///
    /// # Safety
    ///
    /// This must become a part of `header`, and `declared` be for the type of its object.
    pub(crate) unsafe fn new(header: NonNull<Header>, declared: &Declarations) -> Result<Self> {
        if declared.iter().next().is_none() {
            // INVARIANT: There are none.
            return Ok(Self(None));
        }
        let mut lists = KBox::new(Lists::default(), GFP_KERNEL)?;
        for call in declared.iter() {
            // SAFETY: By the safety requirements.
            unsafe {
                match *call {
                    Call::Work(function) => lists
                        .work
                        .push(work::Item::new(header, function), GFP_KERNEL)?,
                    Call::Timer(function) => lists
                        .timers
                        .push(timer::Item::new(header, function), GFP_KERNEL)?,
                    Call::Interrupt(functions) => lists
                        .interrupts
                        .push(irq::Item::new(header, functions), GFP_KERNEL)?,
                }
            }
        }

        // INVARIANT: Nothing is moved from here on.
        //
        // SAFETY: The items stay where they are, and each is initialised once.
        unsafe {
            lists.work.iter().for_each(|item| item.initialise());
            lists.timers.iter().for_each(|item| item.initialise());
        }
        Ok(Self(Some(lists)))
    }

    /// The work, in the order of its declaration.
    pub(crate) fn work(&self) -> &[work::Item] {
        self.0.as_deref().map_or(&[], |lists| &lists.work)
    }

    /// The timers, in the order of their declaration.
    pub(crate) fn timers(&self) -> &[timer::Item] {
        self.0.as_deref().map_or(&[], |lists| &lists.timers)
    }

    fn interrupts(&self) -> &[irq::Item] {
        self.0.as_deref().map_or(&[], |lists| &lists.interrupts)
    }

    /// Requests the interrupts.
    ///
    /// # Safety
    ///
    /// The caller must be registering the object, and its door be open.
    pub(crate) unsafe fn begin(&self) -> Result {
        self.interrupts()
            .iter()
            // SAFETY: By the safety requirements.
            .try_for_each(|item| unsafe { item.request() })
    }

    /// Takes back what is pending, and waits for what is running.
    ///
    /// # Safety
    ///
    /// The caller must own the teardown of the object, and nobody be inside of it.
    pub(crate) unsafe fn cancel(&self) {
        self.interrupts()
            .iter()
            // SAFETY: By the safety requirements.
            .for_each(|item| unsafe { item.free() });
        self.timers().iter().for_each(timer::Item::cancel_and_wait);
        self.work().iter().for_each(work::Item::cancel_and_wait);
    }
}
