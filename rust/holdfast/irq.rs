// SPDX-License-Identifier: GPL-2.0

//! Interrupts of an object: handlers of the driver that are called while the object is registered.
//!
//! The library asks the driver which line it is ([`Operations::line`]) when what is bound is there
//! and the door is open, requests it then, and frees it at the end, before anything is dropped: see
//! [`crate::callbacks`]. So a handler never runs too early or too late, and there is nothing that a
//! driver could forget to free.
//!
//! # Between the closing of the door and the end
//!
//! A line that the device asserts must be answered, or it interrupts for ever. So
//! [`Operations::handle`] is called until the line is freed, also when the door is closed already;
//! what is bound is there until then. It finds [`Object::is_registered`] false, and what it queues
//! is refused.
//!
//! The part of a handler that sleeps runs inside the door like everything else that does. When it
//! finds the door closed, and nobody shares the line, that is switched off until it is freed.
//!
//! # Examples
//!
//! The first interrupt of a platform device:
//!
//! ```
//! use holdfast::{
//!     callbacks::Callbacks,
//!     class::Class,
//!     irq::{
//!         self,
//!         IrqReturn,
//!         Line, //
//!     },
//!     object::{
//!         self,
//!         Access,
//!         Object, //
//!     },
//!     work, //
//! };
//! use kernel::{
//!     device::Bound,
//!     platform,
//!     prelude::*, //
//! };
//!
//! struct Nic;
//!
//! /// The numbers of the interrupt and of the work.
//! const RECEIVED: u64 = 0;
//! const REFILL: u64 = 0;
//!
//! impl object::Operations for Nic {
//!     type Parent = platform::Device<Bound>;
//!     type Structure = object::ClassDevice;
//!     type Data = ();
//!     type Bound<'bound> = ();
//!     type Argument = ();
//!
//!     const CLASS: Class = Class::new(c"example", c"example");
//!     const CALLBACKS: Callbacks<Self> = Callbacks::new()
//!         .with_interrupt::<RECEIVED>()
//!         .with_work::<REFILL>();
//!
//!     fn bind<'bound>(
//!         _object: &'bound Object<Self>,
//!         _pdev: &'bound platform::Device<Bound>,
//!         _argument: (),
//!     ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
//!         Ok(())
//!     }
//! }
//!
//! impl irq::Operations<RECEIVED> for Nic {
//!     fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>> {
//!         Ok(access.parent().irq_by_index(0)?.into())
//!     }
//!
//!     fn handle(access: &Access<'_, '_, Self>) -> IrqReturn {
//!         let _ = access.object().work::<REFILL>().queue();
//!         IrqReturn::Handled
//!     }
//! }
//!
//! impl work::Operations<REFILL> for Nic {
//!     fn run(_access: &Access<'_, '_, Self>) {}
//! }
//! # Ok::<(), Error>(())
//! ```

use crate::object::{
    self,
    Access,
    Header,
    Object, //
};

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    irq::IrqRequest,
    prelude::*, //
};

pub use kernel::irq::{
    IrqReturn,
    ThreadedIrqReturn, //
};

/// A line on which a device interrupts.
///
/// # Invariants
///
/// `irq` is the number of an interrupt source of a device, for `'a`.
/// # Examples
///
/// A line that several devices share, and a handler that says whether it was its device:
///
/// ```
/// # #[cfg(CONFIG_IRQ_SIM)] {
/// # use holdfast::{callbacks::Callbacks, irq, testing::{self, Wire}};
/// # use holdfast::object::{Access, Unregistered};
/// # use kernel::sync::{atomic::*, Arc, Completion};
/// # testing::object! {
/// #     struct Function: Completion;
/// #     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_interrupt::<0>();
/// #     fn bind(wire: Arc<Wire>) -> FunctionBound {
/// #         Ok(FunctionBound { wire, pending: Atomic::new(false) })
/// #     }
/// # }
/// #
/// struct FunctionBound {
///     wire: Arc<Wire>,
///     // What stands for a register that says that this device interrupts.
///     pending: Atomic<bool>,
/// }
///
/// impl irq::Operations for Function {
///     fn line<'a>(access: &Access<'a, '_, Self>) -> Result<irq::Line<'a>> {
///         Ok(access.bound().wire.line().shared())
///     }
///
///     fn handle(access: &Access<'_, '_, Self>) -> irq::IrqReturn {
///         if !access.pending.xchg(false, Relaxed) {
///             return irq::IrqReturn::None;
///         }
///         access.object().complete_all();
///         irq::IrqReturn::Handled
///     }
/// }
///
/// # let parent = testing::Parent::new()?;
/// # let wire = Arc::new(Wire::new()?, GFP_KERNEL)?;
/// let first = Unregistered::<Function>::new(Completion::new())?.register(&parent, wire.clone())?;
/// let second = Unregistered::<Function>::new(Completion::new())?.register(&parent, wire.clone())?;
///
/// second.access(|access| access.pending.store(true, Relaxed))?;
/// wire.assert();
/// second.wait_for_completion();
/// first.access(|access| access.pending.store(true, Relaxed))?;
/// wire.assert();
/// first.wait_for_completion();
/// # }
/// # Ok::<(), Error>(())
/// ```
pub struct Line<'a> {
    irq: c_uint,
    shared: bool,
    _device: PhantomData<&'a Device<Bound>>,
}

impl<'a, R: Into<IrqRequest<'a>>> From<R> for Line<'a> {
    fn from(request: R) -> Self {
        // INVARIANT: By the invariants of `IrqRequest`.
        Self {
            irq: request.into().irq(),
            shared: false,
            _device: PhantomData,
        }
    }
}

impl Line<'_> {
    /// The same, and others may use it too. The handler says whether it was its device.
    pub fn shared(self) -> Self {
        Self {
            shared: true,
            ..self
        }
    }

    /// The line with the number `irq`, for tests.
    ///
    /// # Safety
    ///
    /// There must be one for as long as it is used.
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    #[cfg_attr(not(CONFIG_IRQ_SIM), expect(dead_code))]
    pub(crate) unsafe fn new(irq: c_uint) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            irq,
            shared: false,
            _device: PhantomData,
        }
    }
}

/// An interrupt of a driver with the number `ID`.
/// # Examples
///
/// ```
/// # #[cfg(CONFIG_IRQ_SIM)] {
/// # use holdfast::{callbacks::Callbacks, irq, testing::{self, Wire}};
/// # use holdfast::object::{Access, Unregistered};
/// # use kernel::sync::{Arc, Completion};
/// # testing::object! {
/// #     struct Sensor: Completion;
/// #     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_interrupt::<0>();
/// #     fn bind(wire: Arc<Wire>) -> SensorBound {
/// #         Ok(SensorBound { wire })
/// #     }
/// # }
/// #
/// struct SensorBound {
///     // What stands for a device here. It is asserted, and has a line.
///     wire: Arc<Wire>,
/// }
///
/// impl irq::Operations for Sensor {
///     fn line<'a>(access: &Access<'a, '_, Self>) -> Result<irq::Line<'a>> {
///         Ok(access.bound().wire.line())
///     }
///
///     fn handle(access: &Access<'_, '_, Self>) -> irq::IrqReturn {
///         access.object().complete_all();
///         irq::IrqReturn::Handled
///     }
/// }
///
/// # let parent = testing::Parent::new()?;
/// # let wire = Arc::new(Wire::new()?, GFP_KERNEL)?;
/// let sensor = Unregistered::<Sensor>::new(Completion::new())?.register(&parent, wire.clone())?;
/// wire.assert();
/// sensor.wait_for_completion();
///
/// // Nobody else gets the line, until it is freed with the end of the registration.
/// let other = Unregistered::<Sensor>::new(Completion::new())?.register(&parent, wire.clone());
/// assert_eq!(other.err(), Some(EBUSY));
/// drop(sensor);
/// let other = Unregistered::<Sensor>::new(Completion::new())?.register(&parent, wire.clone())?;
/// # wire.assert();
/// # other.wait_for_completion();
/// # }
/// # Ok::<(), Error>(())
/// ```
pub trait Operations<const ID: u64 = 0>: object::Operations {
    /// The line.
    ///
    /// Called once, by the registration of the object, after [`object::Operations::bind`]. An error
    /// ends the object.
    ///
    /// What it returns can only borrow from what is bound, from the object and from its parent.
    fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>>;

    /// Handles the interrupt.
    ///
    /// Called in the context of a hard interrupt, as soon as the line is requested and until it is
    /// freed. It must not sleep.
    fn handle(access: &Access<'_, '_, Self>) -> IrqReturn;
}

/// An interrupt of a driver with the number `ID`, which is handled by a thread.
/// # Examples
///
/// ```
/// # #[cfg(CONFIG_IRQ_SIM)] {
/// # use holdfast::{callbacks::Callbacks, irq, testing::{self, Wire}};
/// # use holdfast::object::{Access, Unregistered};
/// # use kernel::sync::{Arc, Completion};
/// # testing::object! {
/// #     struct Touch: Completion;
/// #     const CALLBACKS: Callbacks<Self> = Callbacks::new().with_threaded_interrupt::<0>();
/// #     fn bind(wire: Arc<Wire>) -> TouchBound {
/// #         Ok(TouchBound { wire })
/// #     }
/// # }
/// #
/// # struct TouchBound {
/// #     wire: Arc<Wire>,
/// # }
/// #
/// impl irq::ThreadedOperations for Touch {
///     fn line<'a>(access: &Access<'a, '_, Self>) -> Result<irq::Line<'a>> {
///         Ok(access.bound().wire.line())
///     }
///
///     // Without this, every interrupt wakes the thread.
///     fn handle(access: &Access<'_, '_, Self>) -> irq::ThreadedIrqReturn {
///         if !access.object().is_registered() {
///             return irq::ThreadedIrqReturn::Handled;
///         }
///         irq::ThreadedIrqReturn::WakeThread
///     }
///
///     fn handle_threaded(access: &Access<'_, '_, Self>) -> irq::IrqReturn {
///         // A slow bus would be read here.
///         access.object().complete_all();
///         irq::IrqReturn::Handled
///     }
/// }
///
/// # let parent = testing::Parent::new()?;
/// # let wire = Arc::new(Wire::new()?, GFP_KERNEL)?;
/// let touch = Unregistered::<Touch>::new(Completion::new())?.register(&parent, wire.clone())?;
/// wire.assert();
/// touch.wait_for_completion();
/// # }
/// # Ok::<(), Error>(())
/// ```
pub trait ThreadedOperations<const ID: u64 = 0>: object::Operations {
    /// As [`Operations::line`].
    fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>>;

    /// As [`Operations::handle`]; says whether the thread is needed. The line stays masked until
    /// that is done.
    fn handle(access: &Access<'_, '_, Self>) -> ThreadedIrqReturn {
        let _ = access;
        ThreadedIrqReturn::WakeThread
    }

    /// The part that may sleep, if [`object::Operations::wake`] wakes it.
    fn handle_threaded(access: &Access<'_, '_, Self>) -> IrqReturn;
}

/// The functions of a driver, with the type erased.
#[derive(Clone, Copy)]
pub(crate) struct Functions {
    /// # Safety
    ///
    /// The header must be one of an object of this type, and what is bound must not be dropped
    /// before the line is freed.
    line: unsafe fn(&Header) -> Result<(c_uint, bool)>,
    /// # Safety
    ///
    /// The header must be one of an object of this type, and what is bound not be dropped
    /// meanwhile.
    handle: unsafe fn(&Header) -> bindings::irqreturn_t,
    /// # Safety
    ///
    /// The header must be one of an object of this type, and the caller inside its door.
    handle_threaded: Option<unsafe fn(&Header) -> bindings::irqreturn_t>,
}

impl Functions {
    pub(crate) const fn of<T: Operations<ID>, const ID: u64>() -> Self {
        Self {
            line: line::<T, ID>,
            handle: handle::<T, ID>,
            handle_threaded: None,
        }
    }

    pub(crate) const fn of_threaded<T: ThreadedOperations<ID>, const ID: u64>() -> Self {
        Self {
            line: threaded_line::<T, ID>,
            handle: wake::<T, ID>,
            handle_threaded: Some(handle_threaded::<T, ID>),
        }
    }
}

/// # Safety
///
/// As [`Functions::line`] says.
unsafe fn line<T: Operations<ID>, const ID: u64>(header: &Header) -> Result<(c_uint, bool)> {
    // SAFETY: By the safety requirements.
    let line = T::line(&unsafe { Object::<T>::from_header(header).inside() })?;
    Ok((line.irq, line.shared))
}

/// # Safety
///
/// As [`Functions::line`] says.
unsafe fn threaded_line<T: ThreadedOperations<ID>, const ID: u64>(
    header: &Header,
) -> Result<(c_uint, bool)> {
    // SAFETY: By the safety requirements.
    let line = T::line(&unsafe { Object::<T>::from_header(header).inside() })?;
    Ok((line.irq, line.shared))
}

/// # Safety
///
/// As [`Functions::handle`] says.
unsafe fn handle<T: Operations<ID>, const ID: u64>(header: &Header) -> bindings::irqreturn_t {
    // SAFETY: By the safety requirements.
    let answer = T::handle(&unsafe { Object::<T>::from_header(header).inside() });
    bindings::irqreturn_t(answer as c_uint)
}

/// # Safety
///
/// As [`Functions::handle`] says.
unsafe fn wake<T: ThreadedOperations<ID>, const ID: u64>(header: &Header) -> bindings::irqreturn_t {
    // SAFETY: By the safety requirements.
    let answer = T::handle(&unsafe { Object::<T>::from_header(header).inside() });
    bindings::irqreturn_t(answer as c_uint)
}

/// # Safety
///
/// As [`Functions::handle_threaded`] says.
unsafe fn handle_threaded<T: ThreadedOperations<ID>, const ID: u64>(
    header: &Header,
) -> bindings::irqreturn_t {
    // SAFETY: By the safety requirements.
    let answer = T::handle_threaded(&unsafe { Object::<T>::from_header(header).inside() });
    bindings::irqreturn_t(answer as c_uint)
}

/// A line that is requested.
#[derive(Clone, Copy)]
struct Requested {
    irq: c_uint,
    shared: bool,
}

/// An interrupt of an object.
///
/// # Invariants
///
/// - It is a part of `header`.
/// - `functions` are for objects of the type of that.
/// - `requested` is written by the task that registers the object, before the line is requested,
///   and taken by the owner of the teardown, when it is freed or was not requested. It is there
///   while the line is.
pub(crate) struct Item {
    header: NonNull<Header>,
    functions: Functions,
    requested: UnsafeCell<Option<Requested>>,
}

impl Item {
    /// # Safety
    ///
    /// It must become a part of `header`, and stay there. `functions` must be for objects of the
    /// type of that.
    pub(crate) unsafe fn new(header: NonNull<Header>, functions: Functions) -> Self {
        Self {
            header,
            functions,
            requested: UnsafeCell::new(None),
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: By the type invariants.
        unsafe { self.header.as_ref() }
    }

    fn cookie(&self) -> *mut c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    /// Requests the line.
    ///
    /// # Safety
    ///
    /// The caller must be registering the object, and its door be open.
    pub(crate) unsafe fn request(&self) -> Result {
        let header = self.header();
        // SAFETY: By the type invariants and the safety requirements, and because the line is freed
        // in `free`.
        let (irq, shared) = unsafe { (self.functions.line)(header) }?;
        // SAFETY: By the type invariants and the safety requirements.
        unsafe { *self.requested.get() = Some(Requested { irq, shared }) };

        let mut flags = bindings::IRQF_COND_ONESHOT;
        let mut thread: bindings::irq_handler_t = None;
        if self.functions.handle_threaded.is_some() {
            flags = bindings::IRQF_ONESHOT;
            thread = Some(Self::interrupt_thread);
        }
        if shared {
            flags |= bindings::IRQF_SHARED;
        }
        // SAFETY: There is such a line, by the invariants of `Line`, until what is bound is
        // dropped, before which it is freed. The functions can be called with the cookie for so
        // long. The name is that of the device, which does not change while the object is
        // registered.
        let result = to_result(unsafe {
            bindings::request_threaded_irq(
                irq,
                Some(Self::interrupt),
                thread,
                // CAST: `c_ulong` is wider, or the same.
                flags as c_ulong,
                header.as_device().name().as_char_ptr(),
                self.cookie(),
            )
        });
        if result.is_err() {
            // SAFETY: By the type invariants and the safety requirements; nobody else reads it.
            unsafe { *self.requested.get() = None };
        }
        result
    }

    /// # Safety
    ///
    /// Called by the core of the interrupts, with the cookie of an [`Item`].
    unsafe extern "C" fn interrupt(_irq: c_int, cookie: *mut c_void) -> bindings::irqreturn_t {
        // SAFETY: By the safety requirements. The memory stays, because the end of the registration
        // waits until this has returned, in `free`.
        let item = unsafe { &*cookie.cast::<Self>() };
        // SAFETY: By the type invariants, these are the functions for this object. What is bound
        // was there when the line was requested, and is not dropped before it is freed.
        unsafe { (item.functions.handle)(item.header()) }
    }

    /// # Safety
    ///
    /// As [`Item::interrupt`].
    unsafe extern "C" fn interrupt_thread(
        irq: c_int,
        cookie: *mut c_void,
    ) -> bindings::irqreturn_t {
        // SAFETY: As in `interrupt`.
        let item = unsafe { &*cookie.cast::<Self>() };
        let header = item.header();
        if let (Some(_inside), Some(handle_threaded)) =
            (header.enter(), item.functions.handle_threaded)
        {
            // SAFETY: By the type invariants, these are the functions for this object, and the
            // caller is inside.
            return unsafe { handle_threaded(header) };
        }
        // SAFETY: By the type invariants, it is not written while the line is requested.
        let requested = unsafe { *item.requested.get() };
        if requested.is_some_and(|requested| !requested.shared) {
            // Nobody answers the device any more, and it would come again at once.
            //
            // SAFETY: The line is requested, by this only.
            unsafe { bindings::disable_irq_nosync(irq as c_uint) };
        }
        IRQ_HANDLED
    }

    /// Frees the line, if it is requested, and waits for its handlers.
    ///
    /// # Safety
    ///
    /// The caller must own the teardown of the object.
    pub(crate) unsafe fn free(&self) {
        // SAFETY: By the type invariants and the safety requirements.
        let requested = unsafe { *self.requested.get() };
        if let Some(requested) = requested {
            // SAFETY: By the type invariants, it is requested with this cookie. After it, nobody
            // else reads the field.
            unsafe {
                bindings::free_irq(requested.irq, self.cookie());
                *self.requested.get() = None;
            }
        }
    }
}

const IRQ_HANDLED: bindings::irqreturn_t = bindings::irqreturn_t(IrqReturn::Handled as c_uint);
