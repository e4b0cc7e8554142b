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
    cell::UnsafeCell,
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
/// Read and written under the lock of [`OBJECTS`], or by whoever has made the state of the object
/// `Dropping`.
#[derive(Default)]
pub(crate) struct Memory(UnsafeCell<Option<NonNull<Entry>>>);

impl Memory {
    /// Takes out of the list what another module than the object's own has put there.
    ///
    /// # Safety
    ///
    /// The caller must hold the lock of [`OBJECTS`], and the state of the object be `Kept`.
    unsafe fn forget(&self, in_module: &dyn Fn(*const c_void) -> bool) {
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
    /// A task is dropping it.
    Dropping,
}

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

/// Drops everything that `header` keeps.
///
/// # Safety
///
/// The caller must have made the state of the object `Dropping`, and the driver's module must be
/// there.
unsafe fn drop_everything(header: &Header) {
    // SAFETY: By the safety requirements and the type invariants, the list is the caller's, and its
    // entries can be dropped.
    unsafe {
        while let Some(entry) = *header.memory().0.get() {
            *header.memory().0.get() = entry.as_ref().older;
            (entry.as_ref().drop)(entry);
        }
        header.drop_data();
    }
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
    match objects.state(header) {
        None => return,
        Some(state @ State::Kept) => {
            *state = State::Dropping;
            drop(objects);
            // SAFETY: Done just now. The end of the module waits for this.
            unsafe { drop_everything(header) };
            return;
        }
        Some(State::Dropping) => drop(objects),
    }
    DROPPED.wait_until(|| OBJECTS.lock().state(header).is_none());
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

    loop {
        match next_to_drop(&in_module) {
            Next::Drop(header) => {
                // SAFETY: Made `Dropping` and referenced just now, and the module is there.
                unsafe {
                    drop_everything(header);
                    bindings::put_device(header.device());
                }
            }
            Next::Wait => DROPPED.wait_until(|| {
                !any(&|header, state| {
                    in_module(header.driver())
                        && (state == State::Dropping || header.typed_references() == 0)
                })
            }),
            Next::Nothing => break,
        }
    }

    // What is left has references from elsewhere, which may still look at it.
    forget(&in_module);
}

/// What there is to do for a module that goes.
enum Next {
    /// To drop what this object keeps, whose state is `Dropping` now, and then to put it.
    Drop(&'static Header),
    /// To wait for other tasks that do.
    Wait,
    Nothing,
}

fn next_to_drop(in_module: &dyn Fn(*const c_void) -> bool) -> Next {
    let mut next = Next::Nothing;
    let mut objects = OBJECTS.lock();
    let mut cursor = objects.0.as_mut().and_then(RBTree::cursor_front_mut);
    while let Some(mut object) = cursor {
        let (key, state) = object.current_mut();
        // SAFETY: What is in there is not freed while the lock is held, or while there is a
        // reference.
        let header: &'static Header = unsafe { &*(*key as *const Header) };
        if in_module(header.driver()) {
            if *state == State::Kept && header.typed_references() == 0 {
                // SAFETY: The device is initialised.
                if unsafe { shims::holdfast_device_get_unless_released(header.device()) } {
                    *state = State::Dropping;
                    return Next::Drop(header);
                }
                // The last reference was put: somebody is on the way to drop it.
                next = Next::Wait;
            } else if *state == State::Dropping {
                next = Next::Wait;
            }
        }
        cursor = object.move_next();
    }
    next
}

/// Whether `condition` holds for any object that has something to be dropped.
fn any(condition: &dyn Fn(&Header, State) -> bool) -> bool {
    OBJECTS
        .lock()
        .0
        .iter()
        .flat_map(RBTree::iter)
        .any(|(key, state)| {
            // SAFETY: What is in there is not freed while the lock is held.
            condition(unsafe { &*(*key as *const Header) }, *state)
        })
}

/// Forgets what would need a module that goes to be dropped.
fn forget(in_module: &dyn Fn(*const c_void) -> bool) {
    loop {
        let mut objects = OBJECTS.lock();
        let mut found = None;
        for (key, state) in objects.0.iter().flat_map(RBTree::iter) {
            // SAFETY: What is in there is not freed while the lock is held.
            let header = unsafe { &*(*key as *const Header) };
            if in_module(header.driver()) {
                found = Some(*key);
                break;
            }
            if *state == State::Kept {
                // SAFETY: The lock is held.
                unsafe { header.memory().forget(in_module) };
            }
        }
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
