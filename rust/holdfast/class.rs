// SPDX-License-Identifier: GPL-2.0

//! Device classes.
//!
//! A class is what user space sees objects of one kind under: `/sys/class/<name>/`. A driver only
//! describes it, with [`Class`]. The library registers it with the first object of that name and
//! unregisters it with the last, so that there is nothing for a driver to keep, to order against
//! its objects, or to forget.

use crate::{
    hold_library,
    release_library, //
};

use kernel::{
    alloc::Flags,
    bindings,
    error::to_result,
    id_pool::IdPool,
    prelude::*,
    str::CString,
    sync::{
        global_lock,
        Arc, //
    },
    types::Opaque, //
};

/// The description of a device class.
///
/// Objects of a class are named by a prefix and the lowest number that is free when the object is
/// made: `prefix0`, `prefix1`, …
///
/// # Examples
///
/// ```
/// use holdfast::class::Class;
/// # use holdfast::object::{self, Object, Unregistered};
/// # use kernel::device::{Bound, Device};
///
/// struct Radio;
///
/// # impl object::Operations for Radio {
/// # type Parent = Device<Bound>;
/// # type Structure = object::ClassDevice;
/// # type Data = ();
/// # type Bound<'bound> = ();
/// # type Argument = ();
/// // In impl object::Operations for Radio. Everybody may read its character devices.
/// const CLASS: Class = Class::new(c"radio", c"radio").with_mode(0o644);
/// # fn bind<'bound>(
/// #     _object: &'bound Object<Self>,
/// #     _device: &'bound Device<Bound>,
/// #     _argument: (),
/// # ) -> impl PinInit<(), Error> + 'bound {
/// #     Ok(())
/// # }
/// # }
///
/// // The lowest number that is free is taken.
/// let (first, second) = (Unregistered::<Radio>::new(())?, Unregistered::<Radio>::new(())?);
/// assert_eq!(first.name(), c"radio0");
/// assert_eq!(second.name(), c"radio1");
/// drop(first);
/// assert_eq!(Unregistered::<Radio>::new(())?.name(), c"radio0");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Class {
    name: &'static CStr,
    prefix: &'static CStr,
    mode: u16,
}

impl Class {
    /// Describes the class `/sys/class/<name>` whose objects are called `<prefix><number>`.
    ///
    /// Drivers that use the same name share the class, and its first object decides its mode.
    pub const fn new(name: &'static CStr, prefix: &'static CStr) -> Self {
        Self {
            name,
            prefix,
            mode: 0o600,
        }
    }

    /// Sets the permissions that devtmpfs gives to the character devices of the class.
    ///
    /// Without it, they are 0600.
    pub const fn with_mode(self, mode: u16) -> Self {
        Self { mode, ..self }
    }

    pub(crate) fn prefix(&self) -> &'static CStr {
        self.prefix
    }

    /// The number of the object of this class that is called `name`; none if no object can be.
    pub(crate) fn number_of(&self, name: &[u8]) -> Option<usize> {
        let digits = name.strip_prefix(self.prefix.to_bytes())?;
        // As the kernel prints it: one name for one number.
        if digits.is_empty() || digits.len() > 1 && digits[0] == b'0' {
            return None;
        }
        digits.iter().try_fold(0usize, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })
    }
}

/// A class as the driver core knows it.
///
/// A `struct device` points to its class for as long as it exists, so each object holds one of
/// these until it is freed. The driver core holds another from the registration of the class until
/// it releases it, some time after the last [`Membership`] is gone.
///
/// # Invariants
///
/// `class` is initialised, and its `name` points into `name`.
#[pin_data]
pub(crate) struct RegisteredClass {
    #[pin]
    class: Opaque<bindings::class>,
    name: CString,
    mode: u16,
}

// SAFETY: The driver core synchronises the use of a class, and the other fields are never written.
unsafe impl Send for RegisteredClass {}
// SAFETY: As above.
unsafe impl Sync for RegisteredClass {}

impl RegisteredClass {
    fn new(description: &Class) -> Result<Arc<Self>> {
        let name = CString::try_from(description.name)?;
        let name_pointer = name.as_char_ptr();
        let mode = description.mode;

        Arc::pin_init(
            pin_init!(Self {
                // INVARIANT: The characters of a `CString` do not move with it.
                class <- Opaque::ffi_init(move |class: *mut bindings::class| {
                    // SAFETY: `class` is valid for writes.
                    unsafe {
                        class.write(bindings::class {
                            name: name_pointer,
                            devnode: Some(Self::devnode),
                            class_release: Some(Self::class_release),
                            ..pin_init::zeroed()
                        })
                    };
                }),
                name,
                mode,
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::class {
        self.class.get()
    }

    /// Registers the class.
    fn register(self: &Arc<Self>) -> Result {
        hold_library();
        let reference = Arc::into_raw(self.clone());

        // SAFETY: The class is initialised and not registered, and the reference above keeps it
        // where it is until `class_release`.
        to_result(unsafe { bindings::class_register(self.as_raw()) }).inspect_err(|_| {
            // SAFETY: The driver core does not call `class_release` for a class that it did not
            // register, so what that would give back is given back here. This function is called
            // by a user of the library, which holds it too.
            unsafe {
                drop(Arc::from_raw(reference));
                release_library();
            }
        })
    }

    /// Gives back what [`RegisteredClass::register`] took.
    ///
    /// # Safety
    ///
    /// The driver core calls this once, when it does not use `class` any more.
    unsafe extern "C" fn class_release(class: *const bindings::class) {
        // SAFETY: The class is embedded in a `RegisteredClass`, of which `register` took a
        // reference. This returns to the driver core.
        unsafe {
            let class = Opaque::cast_from(class);
            drop(Arc::from_raw(kernel::container_of!(class, Self, class)));
            release_library();
        }
    }

    /// Tells devtmpfs the mode of a device node. The name is the device's own.
    ///
    /// # Safety
    ///
    /// `device` must be a device of a [`RegisteredClass`]; `mode` must be null or valid for writes.
    unsafe extern "C" fn devnode(
        device: *const bindings::device,
        mode: *mut bindings::umode_t,
    ) -> *mut c_char {
        if !mode.is_null() {
            // SAFETY: By the safety requirements, the class of `device` is embedded in a
            // `RegisteredClass`, which the device holds.
            let this = unsafe {
                let class = Opaque::cast_from((*device).class.cast_mut());
                &*kernel::container_of!(class, Self, class)
            };
            // SAFETY: `mode` is not null, so it is valid for writes.
            unsafe { *mode = this.mode };
        }
        core::ptr::null_mut()
    }
}

/// A registered class and who uses it.
///
/// # Invariants
///
/// `class` is registered, and `members` is the number of its [`Membership`]s, at least one.
struct Entry {
    class: Arc<RegisteredClass>,
    numbers: IdPool,
    members: usize,
}

global_lock! {
    // SAFETY: `initialise` is called when the library is loaded, before anything else of it runs.
    unsafe(uninit) static CLASSES: Mutex<KVec<Entry>> = KVec::new();
}

/// Makes the classes ready for use.
///
/// # Safety
///
/// Must be called exactly once, before anything else in this module.
pub(crate) unsafe fn initialise() {
    // SAFETY: By the safety requirements.
    unsafe { CLASSES.init() };
}

/// Takes the lowest free number of `pool`.
pub(crate) fn take_number(pool: &mut IdPool, flags: Flags) -> Result<usize> {
    take_number_if(pool, flags, |_| true)
}

/// Takes the lowest free number of `pool`, if it is `wanted`; else [`EBUSY`].
fn take_number_if(
    pool: &mut IdPool,
    flags: Flags,
    wanted: impl Fn(usize) -> bool,
) -> Result<usize> {
    loop {
        if let Some(number) = pool.find_unused_id(0) {
            if !wanted(number.as_usize()) {
                return Err(EBUSY);
            }
            return Ok(number.acquire());
        }
        let resizer = pool.grow_request().ok_or(ENOSPC)?.realloc(flags)?;
        pool.grow(resizer);
    }
}

/// The lowest free number in the class that `description` describes.
#[inline(never)]
pub(crate) fn next_number(description: &Class) -> usize {
    let mut classes = CLASSES.lock();
    let Some(entry) = classes
        .iter_mut()
        .find(|entry| *entry.class.name == *description.name)
    else {
        return 0;
    };
    match entry.numbers.find_unused_id(0) {
        Some(number) => number.as_usize(),
        // It is full, and grows with the next object.
        None => entry.numbers.capacity(),
    }
}

/// A number in a class, which is registered at least as long as this exists.
///
/// # Invariants
///
/// `class` is in [`CLASSES`], where this is one of its members and `number` is taken.
pub(crate) struct Membership {
    class: Arc<RegisteredClass>,
    number: usize,
}

impl Membership {
    /// Joins the class that `description` describes, and registers it if nobody has.
    ///
    /// The number is the lowest that is free. If `wanted` is another one, [`EBUSY`].
    ///
    /// May sleep.
    #[inline(never)]
    pub(crate) fn new(description: &Class, wanted: Option<usize>) -> Result<Self> {
        let mut classes = CLASSES.lock();

        let index = match classes
            .iter()
            .position(|entry| *entry.class.name == *description.name)
        {
            Some(index) => index,
            None => {
                classes.reserve(1, GFP_KERNEL)?;
                let class = RegisteredClass::new(description)?;
                class.register()?;
                // INVARIANT: Registered just now; the member is counted below, or the entry is
                // taken away again.
                classes.push(
                    Entry {
                        class,
                        numbers: IdPool::new(),
                        members: 0,
                    },
                    GFP_KERNEL,
                )?;
                classes.len() - 1
            }
        };

        let entry = &mut classes[index];
        let is_wanted = |number| wanted.is_none_or(|wanted| wanted == number);
        match take_number_if(&mut entry.numbers, GFP_KERNEL, is_wanted) {
            Ok(number) => {
                entry.members += 1;
                // INVARIANT: Counted above.
                Ok(Self {
                    class: entry.class.clone(),
                    number,
                })
            }
            Err(error) => {
                Self::remove_if_unused(&mut classes, index);
                Err(error)
            }
        }
    }

    fn remove_if_unused(classes: &mut KVec<Entry>, index: usize) {
        if classes[index].members != 0 {
            return;
        }
        if let Ok(entry) = classes.remove(index) {
            // SAFETY: By the type invariants of `Entry`, the class is registered. It has no
            // members, hence no devices.
            unsafe { bindings::class_unregister(entry.class.as_raw()) };
        }
        if classes.is_empty() {
            // A static is never dropped, and would keep its memory when the library is unloaded.
            *classes = KVec::new();
        }
    }

    pub(crate) fn class(&self) -> &Arc<RegisteredClass> {
        &self.class
    }

    /// The number of the member in its class.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut classes = CLASSES.lock();
        let Some(index) = classes
            .iter()
            .position(|entry| Arc::ptr_eq(&entry.class, &self.class))
        else {
            return;
        };
        classes[index].numbers.release_id(self.number);
        classes[index].members -= 1;
        Self::remove_if_unused(&mut classes, index);
    }
}
