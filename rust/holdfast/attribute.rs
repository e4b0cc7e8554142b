// SPDX-License-Identifier: GPL-2.0

//! Attributes of objects in sysfs.
//!
//! The files of [`object::Operations::ATTRIBUTES`] are in the directory of an object while it is
//! registered: the driver core makes them before it tells user space of the device, and removes
//! them with it. The functions that sysfs calls are the library's own: each enters the door of the
//! object, calls the driver inside, and leaves. After the end of the registration a file that is
//! still open answers [`ENODEV`].
//!
//! The end of a registration waits for those who are reading or writing a file. So an attribute
//! that is to end its own object, or another that has the same attribute, asks for that with
//! [`Object::unregister_deferred`]; [`Object::unregister`] answers [`EDEADLK`] for its own.
//!
//! # Examples
//!
//! ```
//! use holdfast::{
//!     attribute::{self, list, Attribute, Group, Output},
//!     object::Access,
//! };
//! use kernel::{str::{parse_int::ParseInt, BStr}, sync::atomic::{Atomic, Relaxed}};
//! # use holdfast::{class::Class, example::{cat, echo}, object::{self, Object, Unregistered}};
//! # use kernel::{device::{Bound, Device}, faux};
//!
//! struct Fan;
//!
//! struct FanBound {
//!     limit: Atomic<u32>,
//!     stalls: Atomic<u32>,
//! }
//!
//! # impl object::Operations for Fan {
//! # type Parent = Device<Bound>;
//! # type Structure = object::ClassDevice;
//! # type Data = ();
//! # type Bound<'bound> = FanBound;
//! # type Argument = u32;
//! # const CLASS: Class = Class::new(c"holdfast_example_fan", c"holdfast-example-fan");
//! // In impl object::Operations for Fan:
//! const ATTRIBUTES: attribute::Groups<Self> = list![
//!     Group::new(list![
//!         Attribute::read_write(c"limit", Self::show_limit, Self::store_limit),
//!         Attribute::write_only(c"reset", Self::store_reset)
//!             .visible_if(|access| access.limit.load(Relaxed) != 0),
//!     ]),
//!     Group::named(c"statistics", list![
//!         Attribute::read_only(c"stalls", Self::show_stalls).admin_only(),
//!     ]),
//! ];
//! # fn bind<'bound>(
//! #     _object: &'bound Object<Self>,
//! #     _device: &'bound Device<Bound>,
//! #     limit: u32,
//! # ) -> impl PinInit<FanBound, Error> + 'bound {
//! #     Ok(FanBound { limit: Atomic::new(limit), stalls: Atomic::new(3) })
//! # }
//! # }
//!
//! impl Fan {
//!     fn show_limit(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
//!         writeln!(output, "{}", access.limit.load(Relaxed))
//!     }
//!
//!     fn store_limit(access: &Access<'_, '_, Self>, text: &BStr) -> Result {
//!         access.limit.store(u32::from_str(text)?, Relaxed);
//!         Ok(())
//!     }
//!
//!     fn show_stalls(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
//!         writeln!(output, "{}", access.stalls.load(Relaxed))
//!     }
//!
//!     fn store_reset(access: &Access<'_, '_, Self>, _text: &BStr) -> Result {
//!         access.stalls.store(0, Relaxed);
//!         Ok(())
//!     }
//! }
//!
//! # let device = faux::Registration::new(c"holdfast-fan", None)?;
//! # let fan = Unregistered::<Fan>::new(())?.register(device.as_ref().as_ref(), 900)?;
//! // In the directory of the fan, user space finds:
//! assert_eq!(*cat(&fan, "limit")?, *b"900\n");
//! echo(&fan, "limit", "1200\n")?;
//! assert_eq!(*cat(&fan, "limit")?, *b"1200\n");
//! assert_eq!(echo(&fan, "limit", "fast\n"), Err(EINVAL));
//!
//! assert_eq!(*cat(&fan, "statistics/stalls")?, *b"3\n");
//! echo(&fan, "reset", "1\n")?;
//! assert_eq!(*cat(&fan, "statistics/stalls")?, *b"0\n");
//! # Ok::<(), Error>(())
//! ```
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use crate::object::{
    self,
    Access,
    Header,
    Object, //
};

use core::{
    fmt,
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        BStr, //
    }, //
};

#[doc(inline)]
pub use crate::attribute_list as list;

/// Writes what an attribute reads as.
///
/// Called inside the door of the object. May sleep, but the end of the registration waits for it.
pub type Show<T> = fn(&Access<'_, '_, T>, &mut Output<'_>) -> Result;

/// Takes what was written to an attribute, without the newline at its end, if there was one.
///
/// Called inside the door of the object. May sleep, but the end of the registration waits for it.
pub type Store<T> = fn(&Access<'_, '_, T>, &BStr) -> Result;

/// Whether an object has an attribute.
///
/// Called inside the door of the object, while it is being registered.
pub type Visible<T> = fn(&Access<'_, '_, T>) -> bool;

/// The attributes of the objects of a driver, in groups.
pub type Groups<T> = List<Group<T>>;

/// The longest text that an attribute can have. The C side wants room for a NUL behind it.
const LENGTH: usize = PAGE_SIZE - 1;

/// Where an attribute writes its text to, with `write!` or `writeln!`.
///
/// What is behind the first `PAGE_SIZE - 1` bytes is cut off, as `sysfs_emit()` does.
///
/// # Examples
///
/// ```
/// use holdfast::{attribute::Output, object::Access};
/// # use holdfast::example::{self, Led};
///
/// fn show_colours(_access: &Access<'_, '_, Led>, output: &mut Output<'_>) -> Result {
///     for colour in [c"red", c"green"] {
///         output.push(colour.to_bytes());
///         output.push(b" ");
///     }
///     output.write_fmt(fmt!("{}\n", 2))
/// }
///
/// # let device = example::device()?;
/// # let led = Led::register(device.as_ref().as_ref())?;
/// assert_eq!(*example::shown(&led, show_colours)?, *b"red green 2\n");
/// # Ok::<(), Error>(())
/// ```
pub struct Output<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Output<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// How long the text is.
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let free = &mut self.buffer[self.length..];
        let count = bytes.len().min(free.len());
        free[..count].copy_from_slice(&bytes[..count]);
        self.length += count;
    }

    /// Appends formatted text: what `write!` and `writeln!` call.
    pub fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> Result {
        Ok(fmt::Write::write_fmt(self, arguments)?)
    }
}

impl fmt::Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// The part of an attribute that does not depend on the type of the object: what sysfs knows, and
/// the functions of the driver with the type erased.
///
/// The functions lie in the driver's module, and are called inside the door only.
///
/// # Invariants
///
/// It is the start of an [`Attribute`], and the functions are the ones for its type.
#[repr(C)]
struct Erased {
    attribute: bindings::device_attribute,

    /// # Safety
    ///
    /// `this` must be the one that this is read from. The header must be one of an object of the
    /// type of the attribute, and the caller inside its door.
    show: unsafe fn(this: NonNull<Self>, &Header, &mut Output<'_>) -> Result,

    /// # Safety
    ///
    /// As `show`.
    store: unsafe fn(this: NonNull<Self>, &Header, &BStr) -> Result,

    /// # Safety
    ///
    /// As `show`.
    visible: unsafe fn(this: NonNull<Self>, &Header) -> bool,
}

/// An attribute of objects.
//
// The memory of attributes, and of the lists and groups of them, is that of constants in the
// driver's module. It is static memory, as lockdep wants of the key in each, and as with C's
// `DEVICE_ATTR_RO()` each attribute has a lock class of its own. It lives long enough: sysfs looks
// at it until the device is removed from the system, which waits for those inside of the files and
// is over before the end of the registration is, and with that before the module can go.
#[repr(C)]
pub struct Attribute<T: object::Operations> {
    erased: Erased,
    show: Option<Show<T>>,
    store: Option<Store<T>>,
    visible: Option<Visible<T>>,
}

impl<T: object::Operations> Attribute<T> {
    /// An attribute that everybody can read and nobody can write.
    pub const fn read_only(name: &'static CStr, show: Show<T>) -> Self {
        Self::new(name, 0o444, Some(show), None)
    }

    /// An attribute that everybody can read and root can write.
    pub const fn read_write(name: &'static CStr, show: Show<T>, store: Store<T>) -> Self {
        Self::new(name, 0o644, Some(show), Some(store))
    }

    /// An attribute that nobody can read and root can write.
    pub const fn write_only(name: &'static CStr, store: Store<T>) -> Self {
        Self::new(name, 0o200, None, Some(store))
    }

    /// Lets only root read it.
    pub const fn admin_only(mut self) -> Self {
        self.erased.attribute.attr.mode &= 0o700;
        self
    }

    /// Lets only those objects have it for which `visible` says so, when they are registered.
    pub const fn visible_if(mut self, visible: Visible<T>) -> Self {
        self.visible = Some(visible);
        self
    }

    const fn new(
        name: &'static CStr,
        mode: bindings::umode_t,
        show: Option<Show<T>>,
        store: Option<Store<T>>,
    ) -> Self {
        let mut attribute: bindings::device_attribute = pin_init::zeroed();
        attribute.attr.name = as_char_ptr_in_const_context(name);
        attribute.attr.mode = mode;
        if show.is_some() {
            attribute.__bindgen_anon_1.show = Some(sysfs_show);
        }
        if store.is_some() {
            attribute.__bindgen_anon_2.store = Some(sysfs_store);
        }

        // INVARIANT: The functions are for `T`.
        Self {
            erased: Erased {
                attribute,
                show: Self::call_show,
                store: Self::call_store,
                visible: Self::call_visible,
            },
            show,
            store,
            visible: None,
        }
    }

    /// # Safety
    ///
    /// As [`Erased::show`] says.
    unsafe fn call_show(this: NonNull<Erased>, header: &Header, output: &mut Output<'_>) -> Result {
        // SAFETY: By the safety requirements and the type invariants of `Erased`.
        let show = unsafe { this.cast::<Self>().as_ref() }.show.ok_or(EIO)?;
        // SAFETY: By the safety requirements.
        show(
            &unsafe { Object::<T>::from_header(header).inside() },
            output,
        )
    }

    /// # Safety
    ///
    /// As [`Erased::show`] says.
    unsafe fn call_store(this: NonNull<Erased>, header: &Header, text: &BStr) -> Result {
        // SAFETY: By the safety requirements and the type invariants of `Erased`.
        let store = unsafe { this.cast::<Self>().as_ref() }.store.ok_or(EIO)?;
        // SAFETY: By the safety requirements.
        store(&unsafe { Object::<T>::from_header(header).inside() }, text)
    }

    /// # Safety
    ///
    /// As [`Erased::show`] says.
    unsafe fn call_visible(this: NonNull<Erased>, header: &Header) -> bool {
        // SAFETY: By the safety requirements and the type invariants of `Erased`.
        match unsafe { this.cast::<Self>().as_ref() }.visible {
            // SAFETY: By the safety requirements.
            Some(visible) => visible(&unsafe { Object::<T>::from_header(header).inside() }),
            None => true,
        }
    }
}

/// Attributes that are in one directory: that of the object, or one below it.
///
/// # Invariants
///
/// The attributes are those of a list of [`Attribute<T>`].
#[repr(transparent)]
pub struct Group<T: object::Operations> {
    group: bindings::attribute_group,
    _attributes: PhantomData<List<Attribute<T>>>,
}

impl<T: object::Operations> Group<T> {
    /// Attributes in the directory of the object.
    pub const fn new(attributes: List<Attribute<T>>) -> Self {
        let mut group: bindings::attribute_group = pin_init::zeroed();
        // CAST: Each `Attribute` begins with its `struct attribute`.
        group.__bindgen_anon_2.attrs = attributes.first.cast_mut().cast();
        group.__bindgen_anon_1.is_visible = Some(sysfs_is_visible);
        // INVARIANT: As the argument says.
        Self {
            group,
            _attributes: PhantomData,
        }
    }

    /// Attributes in the directory `name` below that of the object.
    pub const fn named(name: &'static CStr, attributes: List<Attribute<T>>) -> Self {
        let mut this = Self::new(attributes);
        this.group.name = as_char_ptr_in_const_context(name);
        this
    }
}

/// A list of [`Attribute`]s or [`Group`]s, as the kernel reads it. [`list!`] makes one.
///
/// # Invariants
///
/// `first` points to `length` references to an `E`, and a null pointer behind them, all of which
/// live for ever, or as long as the module that they are in.
pub struct List<E: 'static> {
    first: *const &'static E,
    length: usize,
}

impl<E> List<E> {
    /// A list of what is in `elements`. For [`list!`].
    #[doc(hidden)]
    pub const fn new<const N: usize>(elements: &'static Terminated<E, N>) -> Self {
        // INVARIANT: By the layout of `Terminated`. `Option` makes a reference a pointer that may
        // be null.
        Self {
            first: core::ptr::from_ref(elements).cast(),
            length: N,
        }
    }
}

/// What a [`List`] is made of. For [`list!`].
#[doc(hidden)]
#[repr(C)]
pub struct Terminated<E: 'static, const N: usize> {
    elements: [&'static E; N],
    end: Option<&'static E>,
}

impl<E, const N: usize> Terminated<E, N> {
    /// Puts an end behind `elements`.
    pub const fn new(elements: [&'static E; N]) -> Self {
        Self {
            elements,
            end: None,
        }
    }
}

/// Makes a [`List`] in a constant.
///
/// [`List`]: crate::attribute::List
///
/// # Examples
///
/// ```
/// use holdfast::attribute::{list, Attribute, Group, Groups, List, Show, Store, Visible};
/// # use holdfast::example::Led;
///
/// const SHOW: Show<Led> = |_access, output| writeln!(output, "off");
/// const STORE: Store<Led> = |_access, _text| Ok(());
/// const CAN_BLINK: Visible<Led> = |_access| true;
///
/// const BLINKING: List<Attribute<Led>> = list![
///     Attribute::read_write(c"blink", SHOW, STORE).visible_if(CAN_BLINK),
/// ];
/// const ATTRIBUTES: Groups<Led> = list![Group::new(BLINKING), Group::named(c"again", BLINKING)];
/// # let _ = ATTRIBUTES;
/// ```
#[macro_export]
macro_rules! attribute_list {
    ($($element:expr),* $(,)?) => {
        $crate::attribute::List::new(&$crate::attribute::Terminated::new([$(&$element),*]))
    };
}

/// [`Groups`] with the type of the object erased.
///
/// # Invariants
///
/// What `groups` points to is as in [`List`], unless it is null.
#[derive(Clone, Copy)]
pub(crate) struct ErasedGroups {
    groups: *mut *const bindings::attribute_group,
}

impl ErasedGroups {
    pub(crate) const fn of<T: object::Operations>() -> Self {
        let list = T::ATTRIBUTES;
        // INVARIANT: A `Group` is a transparent wrapper.
        Self {
            groups: match list.length {
                0 => core::ptr::null_mut(),
                _ => list.first.cast_mut().cast(),
            },
        }
    }

    /// Gives the groups to `device`.
    ///
    /// # Safety
    ///
    /// `device` must be the one of an object of the type of these, which nobody has added.
    pub(crate) unsafe fn set(self, device: *mut bindings::device) {
        if !self.groups.is_null() {
            // SAFETY: By the safety requirements, nobody else looks at the field.
            unsafe { (*device).groups = self.groups };
        }
    }

    /// Takes the groups back from `device`, since they may go before its memory does.
    ///
    /// # Safety
    ///
    /// `device` must be the one of an object of the type of these, and not be added any more.
    pub(crate) unsafe fn take_back(self, device: *mut bindings::device) {
        if !self.groups.is_null() {
            // SAFETY: By the safety requirements, nobody else looks at the field.
            unsafe { (*device).groups = core::ptr::null_mut() };
        }
    }
}

/// # Safety
///
/// Called by sysfs for an attribute of this library, of the object in which `device` is embedded.
/// The attribute is there until this returns; `buffer` is a zeroed page.
#[inline(never)]
unsafe extern "C" fn sysfs_show(
    device: *mut bindings::device,
    attribute: *mut bindings::device_attribute,
    buffer: *mut c_char,
) -> isize {
    // SAFETY: By the safety requirements, and the `struct device` is held by its directory.
    let header = unsafe { Header::of_device(device) };
    // SAFETY: By the safety requirements.
    let mut output = Output::new(unsafe { core::slice::from_raw_parts_mut(buffer.cast(), LENGTH) });

    // SAFETY: By the safety requirements, and the attribute is one of the type of the object.
    match unsafe { show(header, attribute, &mut output) } {
        Ok(()) => output.length as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// # Safety
///
/// `attribute` must be in an [`Attribute`] of the type of the object of `header`.
unsafe fn show(
    header: &Header,
    attribute: *mut bindings::device_attribute,
    output: &mut Output<'_>,
) -> Result {
    let _inside = header.enter().ok_or(ENODEV)?;
    let erased = NonNull::new(attribute.cast::<Erased>()).ok_or(EIO)?;
    // SAFETY: By the safety requirements, and the caller is inside.
    unsafe { (erased.as_ref().show)(erased, header, output) }
}

/// # Safety
///
/// As [`sysfs_show`]; `text` points to `length` bytes.
#[inline(never)]
unsafe extern "C" fn sysfs_store(
    device: *mut bindings::device,
    attribute: *mut bindings::device_attribute,
    text: *const c_char,
    length: usize,
) -> isize {
    // SAFETY: By the safety requirements, and the `struct device` is held by its directory.
    let header = unsafe { Header::of_device(device) };
    // SAFETY: By the safety requirements.
    let text = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), length) };

    // SAFETY: By the safety requirements, and the attribute is one of the type of the object.
    match unsafe { store(header, attribute, text) } {
        // CAST: At most a page.
        Ok(()) => length as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// # Safety
///
/// As [`show`].
unsafe fn store(
    header: &Header,
    attribute: *mut bindings::device_attribute,
    text: &[u8],
) -> Result {
    let _inside = header.enter().ok_or(ENODEV)?;
    let erased = NonNull::new(attribute.cast::<Erased>()).ok_or(EIO)?;
    let text = BStr::from_bytes(text.strip_suffix(b"\n").unwrap_or(text));
    // SAFETY: By the safety requirements, and the caller is inside.
    unsafe { (erased.as_ref().store)(erased, header, text) }
}

/// # Safety
///
/// Called by sysfs for an attribute of this library, of the object in whose device `kobject` is
/// embedded. The attribute is there until this returns.
#[inline(never)]
unsafe extern "C" fn sysfs_is_visible(
    kobject: *mut bindings::kobject,
    attribute: *mut bindings::attribute,
    _index: c_int,
) -> bindings::umode_t {
    // SAFETY: By the safety requirements.
    let header =
        unsafe { Header::of_device(kernel::container_of!(kobject, bindings::device, kobj)) };
    // Nobody sees an object whose registration has failed already.
    let Some(_inside) = header.enter() else {
        return 0;
    };
    let Some(erased) = NonNull::new(attribute.cast::<Erased>()) else {
        return 0;
    };
    // SAFETY: By the safety requirements, and because this is inside.
    unsafe {
        match (erased.as_ref().visible)(erased, header) {
            true => (*attribute).mode,
            false => 0,
        }
    }
}
