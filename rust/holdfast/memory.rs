// SPDX-License-Identifier: GPL-2.0

//! What lives as long as the memory of an object: its data, and resources that it keeps.
//!
//! They are dropped when the last reference to the object is put, the newest first and the data
//! last. But the memory may outlive the module of the driver, because an open file or a child can
//! hold it, and the code that drops them is in that module. So they are dropped when the module
//! goes, after its exit function has run, if nobody has an [`ARef`] to the object: files and
//! children do not know its type and cannot look at them. The memory itself stays until the last
//! reference.
//!
//! What somebody still has an `ARef` to, because it was forgotten or because objects own each
//! other, is never dropped then: it leaks. So does what an object keeps that is of another module
//! than the object, and whose module goes first.
//!
//! [`ARef`]: kernel::sync::aref::ARef
//!
//! The same moment ends the registrations that the module has forgotten below devices of others.

use crate::{
    binding,
    object::Header,
    platform::WaitQueue,
    protocol::Waiters,
    shims, //
};

use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::global_lock, //
};

/// A resource that an object keeps, with its type erased.
///
/// # Invariants
///
/// It is the first field of a leaked `KBox<Kept<V>>`, and `drop` drops such a box.
struct Entry {
    older: Option<NonNull<Entry>>,
    drop: unsafe fn(NonNull<Entry>),
}

#[repr(C)]
struct Kept<V> {
    entry: Entry,
    value: V,
}

/// The resources that an object keeps.
///
/// # Invariants
///
/// Read and written under the lock of [`OBJECTS`], as are the entries in it.
#[derive(Default)]
pub(crate) struct Memory(UnsafeCell<Option<NonNull<Entry>>>);

impl Memory {
    /// Takes out of the list what has to be dropped by a module.
    ///
    /// # Safety
    ///
    /// The caller must hold the lock of [`OBJECTS`].
    unsafe fn forget(&self, in_module: InModule<'_>) {
        let mut place = self.0.get();
        // SAFETY: By the safety requirements and the type invariants.
        unsafe {
            while let Some(entry) = *place {
                if in_module((*entry.as_ptr()).drop as *const c_void) {
                    *place = (*entry.as_ptr()).older;
                } else {
                    place = &raw mut (*entry.as_ptr()).older;
                }
            }
        }
    }
}

/// What happens to the memory of an object in [`OBJECTS`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is something to be dropped.
    Kept,
    /// A task is dropping it, and calls what is in the module of this address.
    Dropping(usize),
}

impl State {
    fn calls(self, in_module: InModule<'_>) -> bool {
        match self {
            Self::Kept => false,
            Self::Dropping(address) => in_module(address as *const c_void),
        }
    }
}

/// Whether an address is in a module that goes.
type InModule<'a> = &'a dyn Fn(*const c_void) -> bool;

/// The objects that have something to be dropped. Not there before the library is ready.
struct Objects(Option<RBTree<usize, State>>);

impl Objects {
    fn state(&mut self, header: &Header) -> Option<&mut State> {
        self.0.as_mut()?.get_mut(&key(header))
    }
}

global_lock! {
    // SAFETY: `Watch::new` initialises it, before any object exists.
    //
    // The key is the address of the header, which is not freed while it is in here.
    unsafe(uninit) static OBJECTS: SpinLock<Objects> = Objects(None);
}

/// Where to wait for the end of a `Dropping`.
static DROPPED: WaitQueue = WaitQueue::new();

fn key(header: &Header) -> usize {
    core::ptr::from_ref(header) as usize
}

/// Says that `header` has something to be dropped with its memory.
#[inline(never)]
pub(crate) fn has_something(header: &Header) -> Result {
    let node = RBTreeNode::new(key(header), State::Kept, GFP_KERNEL)?;
    let mut objects = OBJECTS.lock();
    let unused = if objects.state(header).is_none() {
        let objects = objects.0.as_mut().ok_or(ENODEV)?;
        objects.insert(node)
    } else {
        Some(node)
    };
    drop(objects);
    drop(unused);
    header.keeps_something();
    Ok(())
}

/// Lets `header` keep `value`.
pub(crate) fn keep<V: Send + Sync + 'static, E>(
    header: &Header,
    value: impl Init<V, E>,
) -> Result<&V>
where
    Error: From<E>,
{
    /// # Safety
    ///
    /// `entry` must be the one of a leaked `KBox<Kept<V>>`, which is not used after this.
    unsafe fn drop_kept<V>(entry: NonNull<Entry>) {
        // SAFETY: By the safety requirements.
        drop(unsafe { KBox::<Kept<V>>::from_raw(entry.cast().as_ptr()) });
    }

    // INVARIANT: `drop_kept` is for the same type.
    let kept = KBox::try_init::<Error>(
        try_init!(Kept::<V> {
            entry: Entry {
                older: None,
                drop: drop_kept::<V>,
            },
            value <- value,
        }? Error),
        GFP_KERNEL,
    )?;
    let kept = KBox::leak(kept);
    // SAFETY: Leaked just now.
    if let Err(error) = unsafe { push(header, NonNull::from(&mut *kept).cast()) } {
        // SAFETY: As above, and nobody has it.
        unsafe { drop_kept::<V>(NonNull::from(kept).cast()) };
        return Err(error);
    }
    Ok(&kept.value)
}

/// # Safety
///
/// `entry` must keep the invariants of [`Entry`], and be in no list.
#[inline(never)]
unsafe fn push(header: &Header, entry: NonNull<Entry>) -> Result {
    has_something(header)?;
    let objects = OBJECTS.lock();
    // SAFETY: By the type invariants of `Memory`, the lock protects the list; by the safety
    // requirements, `entry` is the caller's.
    unsafe {
        let newest = &mut *header.memory().0.get();
        (*entry.as_ptr()).older = newest.replace(entry);
    }
    drop(objects);
    Ok(())
}

/// Takes the newest of what `header` keeps, and says who is called to drop it, or the data, if
/// nothing else is left.
///
/// The state of the object must be `Dropping`.
fn take_newest(header: &Header) -> Option<NonNull<Entry>> {
    let mut objects = OBJECTS.lock();
    // SAFETY: By the type invariants of `Memory` and `Entry`, the lock protects them.
    let (newest, called) = unsafe {
        let list = &mut *header.memory().0.get();
        let newest = *list;
        let called = match newest {
            Some(entry) => {
                *list = (*entry.as_ptr()).older;
                (*entry.as_ptr()).drop as usize
            }
            None => header.driver() as usize,
        };
        (newest, called)
    };
    if let Some(state) = objects.state(header) {
        *state = State::Dropping(called);
    }
    drop(objects);
    // The module of the one before may wait for this.
    DROPPED.wake_all();
    newest
}

/// Drops everything that `header` keeps.
///
/// # Safety
///
/// The caller must have made the state of the object `Dropping`, and the driver's module must be
/// there.
unsafe fn drop_everything(header: &Header) {
    while let Some(entry) = take_newest(header) {
        // SAFETY: By the type invariants of `Entry`; it is in no list any more. Its module waits
        // until the state says something else.
        unsafe { (entry.as_ref().drop)(entry) };
    }
    // SAFETY: By the safety requirements, the data is not used any more.
    unsafe { header.drop_data() };

    let mut objects = OBJECTS.lock();
    let node = objects
        .0
        .as_mut()
        .map(|objects| objects.remove_node(&key(header)));
    drop(objects);
    drop(node);
    DROPPED.wake_all();
}

/// Drops what `header` keeps, if the end of the driver's module has not done it.
///
/// Called when the last reference was put.
pub(crate) fn release(header: &Header) {
    let mut objects = OBJECTS.lock();
    // The end of a module has a reference to what it drops, so it is not `Dropping`.
    let Some(state) = objects.state(header) else {
        return;
    };
    *state = State::Dropping(header.driver() as usize);
    drop(objects);
    // SAFETY: Done just now. The end of the module waits for this.
    unsafe { drop_everything(header) };
}

/// Ends what a module has left, which has run its exit function.
///
/// # Safety
///
/// The kernel calls this while the module is still there.
unsafe extern "C" fn module_is_going(module: *mut bindings::module) {
    // SAFETY: By the safety requirements, `module` is valid.
    unsafe { binding::module_is_going(module) };
    // SAFETY: As above.
    let in_module = |address: *const c_void| unsafe { shims::holdfast_module_has(address, module) };

    while let Some(registered) = binding::find(&|revocable| in_module(revocable.driver())) {
        if registered.unregister().is_err() {
            pr_err!("a module was unloaded from inside of its own object\n");
            break;
        }
    }

    // First, because what it drops may have references to objects of its own.
    forget_kept(&in_module);

    while let Some(header) = next_to_drop(&in_module) {
        // SAFETY: Made `Dropping` and referenced, and the module is there.
        unsafe {
            drop_everything(header);
            bindings::put_device(header.device());
        }
    }

    // What is left has references from elsewhere, which may still look at it.
    forget_kept(&in_module);
    forget_objects(&in_module);
}

/// What there is to do for a module that goes.
enum Next {
    /// To drop what this object keeps, whose state is `Dropping` now, and then to put it.
    Drop(&'static Header),
    /// To wait for other tasks that do.
    Wait,
    Nothing,
}

/// The next object to drop what it keeps, made `Dropping` and referenced. None if nothing is left,
/// and no other task is at it.
fn next_to_drop(in_module: InModule<'_>) -> Option<&'static Header> {
    let next = Cell::new(None);
    // What others drop may have the last references through which an object could be looked at, so
    // there may be something to do before all of them are done.
    DROPPED.wait_until(|| match find_next(in_module) {
        Next::Drop(header) => {
            next.set(Some(header));
            true
        }
        Next::Wait => false,
        Next::Nothing => true,
    });
    next.get()
}

fn find_next(in_module: InModule<'_>) -> Next {
    let mut next = Next::Nothing;
    let mut objects = OBJECTS.lock();
    let mut cursor = objects.0.as_mut().and_then(RBTree::cursor_front_mut);
    while let Some(mut object) = cursor {
        let (key, state) = object.current_mut();
        // SAFETY: What is in there is not freed while the lock is held, or while there is a
        // reference.
        let header: &'static Header = unsafe { &*(*key as *const Header) };
        if in_module(header.driver()) {
            if *state != State::Kept {
                next = Next::Wait;
            } else if header.typed_references() == 0 {
                // SAFETY: The device is initialised.
                if unsafe { shims::holdfast_device_get_unless_released(header.device()) } {
                    *state = State::Dropping(header.driver() as usize);
                    return Next::Drop(header);
                }
                // The last reference was put: somebody is on the way to drop it.
                next = Next::Wait;
            }
        }
        cursor = object.move_next();
    }
    next
}

/// Forgets what objects of other modules keep and this one would have to drop, and waits for what
/// is being dropped.
fn forget_kept(in_module: InModule<'_>) {
    let objects = OBJECTS.lock();
    for (key, _) in objects.0.iter().flat_map(RBTree::iter) {
        // SAFETY: What is in there is not freed while the lock is held.
        let header = unsafe { &*(*key as *const Header) };
        if !in_module(header.driver()) {
            // SAFETY: The lock is held.
            unsafe { header.memory().forget(in_module) };
        }
    }
    drop(objects);

    DROPPED.wait_until(|| {
        let objects = OBJECTS.lock();
        let mut states = objects.0.iter().flat_map(RBTree::iter);
        !states.any(|(_, state)| state.calls(in_module))
    });
}

/// Forgets the objects of a module that goes.
fn forget_objects(in_module: InModule<'_>) {
    loop {
        let mut objects = OBJECTS.lock();
        let found = objects
            .0
            .iter()
            .flat_map(RBTree::iter)
            .find_map(|(key, _)| {
                // SAFETY: What is in there is not freed while the lock is held.
                let header = unsafe { &*(*key as *const Header) };
                in_module(header.driver()).then_some(*key)
            });
        let Some(key) = found else {
            return;
        };
        let node = objects.0.as_mut().map(|objects| objects.remove_node(&key));
        drop(objects);
        drop(node);
    }
}

/// That modules which go are noticed.
pub(crate) struct Watch(());

impl Watch {
    /// Called once, when the library is loaded.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called once, before anything else in this module.
        unsafe { OBJECTS.init() };
        OBJECTS.lock().0 = Some(RBTree::new());
        // SAFETY: The function stays until the watch ends.
        to_result(unsafe { shims::holdfast_modules_watch(module_is_going) })?;
        Ok(Self(()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: It was begun by `new`.
        unsafe { shims::holdfast_modules_unwatch() };
    }
}
