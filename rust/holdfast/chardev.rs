// SPDX-License-Identifier: GPL-2.0

//! Character devices on objects.
//!
//! An object whose [`object::Operations::CHARACTER_DEVICE`] is set has a node in devtmpfs while it
//! is registered. The file operations are the library's own: each enters the door of the object,
//! calls the driver inside, and leaves. An open file holds the memory of the object and the
//! library, and nothing of the driver.
//!
//! # After the end of the registration
//!
//! However long a file stays open, the driver is not called any more:
//!
//! - every operation answers [`ENODEV`], and `poll` has [`Events::HANGUP`] and [`Events::ERROR`];
//! - whoever slept in [`Access::wait_until`] or polled was woken, and whoever asked for signals got
//!   one;
//! - everything that was mapped is unmapped, and touching it gives SIGBUS;
//! - closing the file frees what the library has of it.
//!
//! # Examples
//!
//! A register that can be read through a file, until the registration ends:
//!
//! ```
//! use holdfast::{
//!     chardev::{
//!         self,
//!         Events,
//!         Flags,
//!         Handle, //
//!     },
//!     class::Class,
//!     object::{
//!         self,
//!         Access,
//!         Object,
//!         Unregistered, //
//!     }, //
//! };
//! use kernel::{
//!     device::{
//!         Bound,
//!         Device, //
//!     },
//!     iov::IovIterDest,
//!     prelude::*, //
//! };
//! # use holdfast::testing::{File, Parent};
//! # use kernel::fs::file::flags::O_RDONLY;
//!
//! struct Sensor;
//!
//! /// What stands for registers here.
//! struct SensorBound {
//!     status: u32,
//! }
//!
//! impl object::Operations for Sensor {
//!     type Parent = Device<Bound>;
//!     type Structure = object::ClassDevice;
//!     type Data = ();
//!     type Bound<'bound> = SensorBound;
//!     type Argument = ();
//!
//!     const CLASS: Class = Class::new(c"example_sensor", c"example-sensor");
//!     const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());
//!
//!     fn bind<'bound>(
//!         _object: &'bound Object<Self>,
//!         _parent: &'bound Device<Bound>,
//!         _argument: (),
//!     ) -> impl PinInit<SensorBound, Error> + 'bound {
//!         Ok(SensorBound { status: 0x8008 })
//!     }
//! }
//!
//! #[vtable]
//! impl chardev::Operations for Sensor {
//!     type File = ();
//!
//!     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
//!         Ok(())
//!     }
//!
//!     fn read(
//!         access: &Access<'_, '_, Self>,
//!         _file: &Handle<'_, Self>,
//!         position: &mut i64,
//!         buffer: &mut IovIterDest<'_>,
//!     ) -> Result<usize> {
//!         buffer.simple_read_from_buffer(position, &access.status.to_le_bytes())
//!     }
//! }
//!
//! # let parent = Parent::new()?;
//! let registration = Unregistered::<Sensor>::new(())?.register(&parent, ())?;
//!
//! // `File` stands for a file that user space has opened.
//! let file = File::open(&registration, O_RDONLY)?;
//! let mut status = [0; 4];
//! assert_eq!(file.read(&mut status)?, 4);
//! assert_eq!(u32::from_le_bytes(status), 0x8008);
//!
//! drop(registration);
//! assert_eq!(file.read(&mut status), Err(ENODEV));
//! assert!(file.poll() == Events::HANGUP | Events::ERROR);
//! # Ok::<(), Error>(())
//! ```

use crate::{
    class::take_number,
    object::{
        self,
        device_pointer,
        Access,
        Header,
        Object, //
    },
    shims,
    Holdfast, //
};

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device,
    error::{
        from_err_ptr,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    fs::file::flags,
    id_pool::IdPool,
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    list::{
        impl_list_arc_safe,
        impl_list_item,
        AtomicTracker,
        List,
        ListArc,
        ListLinks,
        TryNewListArc, //
    },
    module::this_module,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        global_lock,
        Arc,
        ArcBorrow,
        Mutex, //
    },
    types::ForeignOwnable, //
};

#[path = "chardev/memory.rs"]
mod memory;
#[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
#[path = "chardev/tests.rs"]
mod tests;
#[path = "chardev/wait.rs"]
mod wait;

use memory::{
    Fault,
    FileSystem,
    Mapping, //
};

pub use memory::{
    Area,
    Backing,
    Caching,
    Memory,
    Pages, //
};
pub use wait::Events;

#[cfg(CONFIG_PCI_IOV)]
pub(crate) use wait::wake_waiters;
pub(crate) use wait::{
    wake_files,
    State, //
};

/// The file operations of a driver.
///
/// All are called inside the door of the object: it is registered, its parent is bound, and what is
/// bound can be used. They may sleep, in process context, and wait in [`Handle::wait_for`] and
/// [`Access::wait_until`], which the end of the registration wakes, or in a way of their own, which
/// [`object::Operations::wake`] must wake. They may be called by any number of tasks at once, also
/// for the same file.
///
/// What a driver does not implement answers as a file that does not have it.
/// # Examples
///
/// A store of four bytes, which knows who has opened it:
///
/// ```
/// # use holdfast::chardev::{self, *};
/// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
/// # use kernel::fs::file::flags::*;
/// # use kernel::{bindings::{SEEK_END, SEEK_SET}, iov::{IovIterDest, IovIterSource}};
/// # use kernel::{new_mutex, sync::Mutex};
/// # testing::object! {
/// #     struct Store: ();
/// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
/// #     fn bind(_argument: ()) -> StoreBound {
/// #         try_pin_init!(StoreBound { bytes <- new_mutex!([0; 4]) }? Error)
/// #     }
/// # }
/// #
/// #[pin_data]
/// struct StoreBound {
///     #[pin]
///     bytes: Mutex<[u8; 4]>,
/// }
///
/// /// What is known of an open file.
/// struct Opened {
///     by_writer: bool,
/// }
///
/// #[vtable]
/// impl chardev::Operations for Store {
///     type File = Opened;
///
///     // It can be seeked in, which is what is said by default.
///     const STREAM: bool = false;
///
///     fn open(_access: &Access<'_, '_, Self>, flags: Flags) -> Result<Opened> {
///         Ok(Opened {
///             by_writer: flags.is_writable(),
///         })
///     }
///
///     fn read(
///         access: &Access<'_, '_, Self>,
///         file: &Handle<'_, Self>,
///         position: &mut i64,
///         buffer: &mut IovIterDest<'_>,
///     ) -> Result<usize> {
///         // The handle is the driver's data of the file.
///         if file.by_writer {
///             return Err(EPERM);
///         }
///         buffer.simple_read_from_buffer(position, &*access.bytes.lock())
///     }
///
///     fn write(
///         access: &Access<'_, '_, Self>,
///         _file: &Handle<'_, Self>,
///         position: &mut i64,
///         buffer: &mut IovIterSource<'_>,
///     ) -> Result<usize> {
///         let mut bytes = access.bytes.lock();
///         let at = usize::try_from(*position).unwrap_or(usize::MAX);
///         let written = buffer.copy_from_iter(bytes.get_mut(at..).ok_or(ENOSPC)?);
///         *position += written as i64;
///         Ok(written)
///     }
///
///     fn size(_access: &Access<'_, '_, Self>, _file: &Handle<'_, Self>) -> Result<i64> {
///         Ok(4)
///     }
/// }
///
/// # let parent = testing::Parent::new()?;
/// let registration = Unregistered::<Store>::new(())?.register(&parent, ())?;
/// let (reader, writer) = (
///     File::open(&registration, O_RDONLY)?,
///     File::open(&registration, O_RDWR)?,
/// );
/// let mut byte = [0];
///
/// writer.write(&[1, 2])?;
/// assert_eq!(writer.seek(-1, SEEK_END)?, 3);
/// assert_eq!(writer.write(&[3, 4])?, 1);
/// assert_eq!(writer.read(&mut byte), Err(EPERM));
///
/// assert_eq!(reader.seek(3, SEEK_SET)?, 3);
/// assert_eq!(reader.read(&mut byte)?, 1);
/// assert_eq!(byte, [3]);
/// assert_eq!(reader.read(&mut byte)?, 0);
/// # Ok::<(), Error>(())
/// ```
#[vtable]
pub trait Operations: object::Operations {
    /// Data of an open file.
    ///
    /// It is dropped when the file is released, inside the door, or when the registration ends,
    /// whichever is first. So the drop must not unregister the object.
    type File: Send + Sync + 'static;

    /// Whether a file has no position: it cannot be seeked in, nor read or written at a position.
    const STREAM: bool = false;

    /// Opens a file.
    fn open(access: &Access<'_, '_, Self>, flags: Flags) -> Result<Self::File>;

    /// Reads at `position`, and advances it. The number of bytes read; zero at the end.
    ///
    /// Without it, [`EINVAL`].
    fn read(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        _position: &mut i64,
        _buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Writes at `position`, and advances it. The number of bytes written.
    ///
    /// Without it, [`EINVAL`].
    fn write(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        _position: &mut i64,
        _buffer: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Does what `command` says; see [`kernel::ioctl`]. A command that is not known is [`ENOTTY`].
    ///
    /// Without it, [`ENOTTY`].
    /// # Examples
    ///
    /// ```
    /// # use holdfast::chardev::{self, *};
    /// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
    /// # use kernel::fs::file::flags::*;
    /// # use kernel::{ioctl::_IO, sync::atomic::{Atomic, Relaxed}};
    /// # struct FanBound { speed: Atomic<usize> }
    /// # testing::object! {
    /// #     struct Fan: ();
    /// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
    /// #     fn bind(_argument: ()) -> FanBound {
    /// #         Ok(FanBound { speed: Atomic::new(0) })
    /// #     }
    /// # }
    /// #
    /// /// Sets the speed, which is the argument.
    /// const SET_SPEED: u32 = _IO(b'f' as u32, 1);
    ///
    /// # #[vtable]
    /// # impl chardev::Operations for Fan {
    /// #     type File = ();
    /// #
    /// #     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
    /// #         Ok(())
    /// #     }
    /// #
    /// fn ioctl(
    ///     access: &Access<'_, '_, Self>,
    ///     file: &Handle<'_, Self>,
    ///     command: u32,
    ///     argument: usize,
    /// ) -> Result<isize> {
    ///     match command {
    ///         SET_SPEED if !file.flags().is_writable() => Err(EBADF),
    ///         SET_SPEED => {
    ///             access.speed.store(argument, Relaxed);
    ///             Ok(0)
    ///         }
    ///         _ => Err(ENOTTY),
    ///     }
    /// }
    ///
    /// // The argument is a number, and not a pointer that would have to be converted.
    /// fn compat_ioctl(
    ///     access: &Access<'_, '_, Self>,
    ///     file: &Handle<'_, Self>,
    ///     command: u32,
    ///     argument: usize,
    /// ) -> Result<isize> {
    ///     Self::ioctl(access, file, command, argument)
    /// }
    /// # }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Fan>::new(())?.register(&parent, ())?;
    /// let file = File::open(&registration, O_RDWR)?;
    ///
    /// file.ioctl(SET_SPEED, 1200)?;
    /// assert_eq!(registration.access(|access| access.speed.load(Relaxed))?, 1200);
    /// file.compat_ioctl(SET_SPEED, 900)?;
    /// assert_eq!(registration.access(|access| access.speed.load(Relaxed))?, 900);
    ///
    /// assert_eq!(file.ioctl(SET_SPEED + 1, 0), Err(ENOTTY));
    /// let file = File::open(&registration, O_RDONLY)?;
    /// assert_eq!(file.ioctl(SET_SPEED, 0), Err(EBADF));
    /// # Ok::<(), Error>(())
    /// ```
    fn ioctl(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        _command: u32,
        _argument: usize,
    ) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The same, for a 32-bit task on a 64-bit kernel.
    ///
    /// Without it, [`Operations::ioctl`] is called, with the argument converted as a pointer; that
    /// is right if all arguments are pointers to what has the same layout for both, or are ignored.
    fn compat_ioctl(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        _command: u32,
        _argument: usize,
    ) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// What the file is ready for. [`Object::wake_pollers`] tells those who wait that it changes.
    ///
    /// The wait queue is the library's. Without this, a file is always readable and writable.
    fn poll(_access: &Access<'_, '_, Self>, _file: &Handle<'_, Self>) -> Events {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The size of what the file shows, for seeking in it.
    ///
    /// Without it, every position can be seeked to, and there is no end to seek from.
    fn size(_access: &Access<'_, '_, Self>, _file: &Handle<'_, Self>) -> Result<i64> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Says how a mapping of `area` is to be set up.
    ///
    /// Nothing is mapped yet: [`Operations::fault`] does that, and must be implemented with this. A
    /// private mapping that could be written to is refused by the library.
    ///
    /// Without it, [`ENODEV`].
    fn mmap(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        _area: &Area,
    ) -> Result<Backing> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The memory for the page number `page` of the file, which user space touches.
    ///
    /// It must be of the kind that [`Operations::mmap`] has announced. Called with the mmap lock of
    /// the task held, so it must not take a lock under which user memory is accessed, nor wait for
    /// user space. An error is SIGBUS.
    /// # Examples
    ///
    /// A page that driver and user space share, until the registration ends:
    ///
    /// ```
    /// # use holdfast::chardev::{self, *};
    /// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
    /// # use kernel::fs::file::flags::*;
    /// # use kernel::page::PAGE_SIZE;
    /// # testing::object! {
    /// #     struct Shared: ();
    /// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
    /// #     fn bind(_argument: ()) -> Pages {
    /// #         Pages::new(1)
    /// #     }
    /// # }
    /// #
    /// # #[vtable]
    /// # impl chardev::Operations for Shared {
    /// #     type File = ();
    /// #
    /// #     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
    /// #         Ok(())
    /// #     }
    /// #
    /// fn mmap(
    ///     _access: &Access<'_, '_, Self>,
    ///     _file: &Handle<'_, Self>,
    ///     area: &Area,
    /// ) -> Result<Backing> {
    ///     if !area.is_within(PAGE_SIZE) {
    ///         return Err(EINVAL);
    ///     }
    ///     Ok(Backing::pages())
    /// }
    ///
    /// fn fault<'access>(
    ///     access: &'access Access<'_, '_, Self>,
    ///     _file: &'access Handle<'_, Self>,
    ///     page: usize,
    /// ) -> Result<Memory<'access>> {
    ///     access.page(page)
    /// }
    /// # }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Shared>::new(())?.register(&parent, ())?;
    /// let file = File::open(&registration, O_RDWR)?;
    /// assert!(file.map(2 * PAGE_SIZE).is_err());
    ///
    /// let mapped = file.map(PAGE_SIZE)?;
    /// registration.access(|access| access.store(0, 42))??;
    /// assert_eq!(mapped.read::<u32>(0)?, 42);
    /// mapped.write(4, &43u32)?;
    /// assert_eq!(registration.access(|access| access.load(4))??, 43);
    ///
    /// // Who touches it now gets SIGBUS.
    /// drop(registration);
    /// assert_eq!(mapped.read::<u32>(0), Err(EFAULT));
    /// # Ok::<(), Error>(())
    /// ```
    fn fault<'access>(
        _access: &'access Access<'_, '_, Self>,
        _file: &'access Handle<'_, Self>,
        _page: usize,
    ) -> Result<Memory<'access>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// How a file was opened, and whether the operation on it may block.
/// # Examples
///
/// ```
/// # use holdfast::chardev::{self, *};
/// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
/// # use kernel::fs::file::flags::*;
/// # testing::object! {
/// #     struct Log: ();
/// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
/// #     fn bind(_argument: ()) -> () {
/// #         Ok(())
/// #     }
/// # }
/// #
/// # #[vtable]
/// # impl chardev::Operations for Log {
/// #     type File = Flags;
/// #
/// // Opened by readers and writers, but to write is only to append.
/// fn open(_access: &Access<'_, '_, Self>, flags: Flags) -> Result<Self::File> {
///     if flags.is_writable() && flags.bits() & O_APPEND == 0 {
///         return Err(EPERM);
///     }
/// #     let readable = flags.bits() & O_ACCMODE != O_WRONLY;
/// #     assert!(flags.is_readable() == readable);
/// #     assert!(flags.is_nonblocking() == (flags.bits() & O_NONBLOCK != 0));
///     Ok(flags)
/// }
/// # }
///
/// # let parent = testing::Parent::new()?;
/// let registration = Unregistered::<Log>::new(())?.register(&parent, ())?;
///
/// assert_eq!(File::open(&registration, O_RDWR).err(), Some(EPERM));
/// assert!(File::open(&registration, O_WRONLY | O_APPEND).is_ok());
/// assert!(File::open(&registration, O_RDWR | O_APPEND).is_ok());
/// assert!(File::open(&registration, O_RDONLY | O_NONBLOCK).is_ok());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    flags: u32,
    nonblocking: bool,
}

impl Flags {
    /// # Safety
    ///
    /// `file` must be valid.
    unsafe fn of(file: *mut bindings::file) -> Self {
        // SAFETY: By the safety requirements. `F_SETFL` may write it at the same time, so this is
        // what `READ_ONCE` is in C.
        let flags = unsafe { (&raw const (*file).f_flags).read_volatile() };
        Self {
            flags,
            nonblocking: flags & flags::O_NONBLOCK != 0,
        }
    }

    /// The same for a read or write, which may be asked not to block by itself.
    ///
    /// # Safety
    ///
    /// `kiocb` must be valid.
    unsafe fn of_kiocb(kiocb: *mut bindings::kiocb) -> Self {
        // SAFETY: By the safety requirements.
        unsafe {
            Self {
                nonblocking: shims::holdfast_kiocb_nonblocking(kiocb),
                ..Self::of((*kiocb).ki_filp)
            }
        }
    }

    /// The flags, see [`kernel::fs::file::flags`].
    pub fn bits(self) -> u32 {
        self.flags
    }

    /// Whether an operation that would have to wait must return [`EAGAIN`] instead.
    pub fn is_nonblocking(self) -> bool {
        self.nonblocking
    }

    /// Whether it can be read from.
    pub fn is_readable(self) -> bool {
        self.flags & flags::O_ACCMODE != flags::O_WRONLY
    }

    /// Whether it can be written to.
    pub fn is_writable(self) -> bool {
        self.flags & flags::O_ACCMODE != flags::O_RDONLY
    }
}

/// An open file, as an operation on it sees it.
///
/// It dereferences to the driver's data, [`Operations::File`].
/// # Examples
///
/// ```
/// # use holdfast::chardev::{self, *};
/// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
/// # use kernel::fs::file::flags::*;
/// # use kernel::{iov::IovIterDest, sync::atomic::{Atomic, Relaxed}};
/// # testing::object! {
/// #     struct Ticket: ();
/// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
/// #     fn bind(_argument: ()) -> () {
/// #         Ok(())
/// #     }
/// # }
/// #
/// # #[vtable]
/// # impl chardev::Operations for Ticket {
/// // How often the file was read.
/// type File = Atomic<u32>;
///
/// # fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
/// #     Ok(Atomic::new(0))
/// # }
/// #
/// fn read(
///     _access: &Access<'_, '_, Self>,
///     file: &Handle<'_, Self>,
///     _position: &mut i64,
///     buffer: &mut IovIterDest<'_>,
/// ) -> Result<usize> {
///     let reads = file.fetch_add(1, Relaxed);
///     if reads == 2 && file.flags().is_nonblocking() {
///         return Err(EAGAIN);
///     }
///     Ok(buffer.copy_to_iter(&[reads as u8]))
/// }
/// # }
///
/// # let parent = testing::Parent::new()?;
/// let registration = Unregistered::<Ticket>::new(())?.register(&parent, ())?;
/// let file = File::open(&registration, O_RDONLY | O_NONBLOCK)?;
/// let other = File::open(&registration, O_RDONLY)?;
///
/// for expected in [0, 1] {
///     let mut read = [u8::MAX];
///     file.read(&mut read)?;
///     assert_eq!(read, [expected]);
/// }
/// assert_eq!(file.read(&mut [0]), Err(EAGAIN));
/// let mut read = [u8::MAX];
/// other.read(&mut read)?;
/// assert_eq!(read, [0]);
/// # Ok::<(), Error>(())
/// ```
pub struct Handle<'a, T: Operations> {
    data: &'a T::File,
    flags: Flags,
}

impl<T: Operations> Handle<'_, T> {
    /// How it was opened, and whether this operation may block.
    pub fn flags(&self) -> Flags {
        self.flags
    }
}

impl<T: Operations> Deref for Handle<'_, T> {
    type Target = T::File;

    fn deref(&self) -> &T::File {
        self.data
    }
}

/// A function of a driver that is given an open file, and more arguments.
macro_rules! function {
    ($($argument:ty),* => $result:ty) => {
        unsafe fn(&Header, &FileData, Flags, $($argument),*) -> $result
    };
}

type Open = unsafe fn(&Header, Flags) -> Result<FileData>;
type Read = function!(&mut i64, &mut IovIterDest<'_> => Result<usize>);
type Write = function!(&mut i64, &mut IovIterSource<'_> => Result<usize>);
type Ioctl = function!(u32, usize => Result<isize>);
type Poll = function!(=> Events);
type Size = function!(=> Result<i64>);
type Mmap = function!(&Area => Result<Backing>);
type HandleFault = function!(&Fault => Result<bindings::vm_fault_t>);

/// The functions of the character device of a driver's objects.
///
/// They are for objects of this type and of no other.
/// # Examples
///
/// A file that can be opened, and nothing else:
///
/// ```
/// # use holdfast::{
/// #     chardev::{self, Events, Flags},
/// #     class::Class,
/// #     object::{self, Access, Object, Unregistered},
/// #     testing::{self, File},
/// # };
/// # use kernel::{device::{Bound, Device}, fs::file::flags::O_RDWR};
/// # struct Presence;
/// #
/// impl object::Operations for Presence {
/// #     type Parent = Device<Bound>;
/// #     type Structure = object::ClassDevice;
/// #     type Data = ();
/// #     type Bound<'bound> = ();
/// #     type Argument = ();
///     // As for any object, and:
///     const CLASS: Class = Class::new(c"example", c"example").with_mode(0o666);
///     const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());
/// #
/// #     fn bind<'bound>(
/// #         _object: &'bound Object<Self>,
/// #         _parent: &'bound Device<Bound>,
/// #         _argument: (),
/// #     ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
/// #         Ok(())
/// #     }
/// }
///
/// #[vtable]
/// impl chardev::Operations for Presence {
///     type File = ();
///
///     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
///         Ok(())
///     }
/// }
///
/// # let parent = testing::Parent::new()?;
/// let registration = Unregistered::<Presence>::new(())?.register(&parent, ())?;
/// let file = File::open(&registration, O_RDWR)?;
/// assert_eq!(file.read(&mut [0]), Err(EINVAL));
/// assert_eq!(file.write(&[0]), Err(EINVAL));
/// assert_eq!(file.ioctl(1, 0), Err(ENOTTY));
/// assert!(file.poll() == Events::READABLE | Events::WRITABLE);
/// assert!(file.map(1).is_err());
/// # Ok::<(), Error>(())
/// ```
pub struct Functions<T> {
    pub(crate) erased: ErasedFunctions,
    _type: PhantomData<fn(T) -> T>,
}

/// The functions of a driver's character device, with the types erased.
///
/// They lie in the driver's module, and are called inside the door or by the owner of the teardown.
///
/// # Safety of the functions
///
/// The header must be one of an object of this type, and the caller inside its door. The data must
/// come from `open`.
#[derive(Clone, Copy)]
pub(crate) struct ErasedFunctions {
    stream: bool,
    open: Open,
    read: Option<Read>,
    write: Option<Write>,
    ioctl: Option<Ioctl>,
    compat_ioctl: Option<Ioctl>,
    poll: Option<Poll>,
    size: Option<Size>,
    mapping: Option<MappingFunctions>,
}

/// The functions for mappings, of which there are both or none.
///
/// As [`ErasedFunctions`].
#[derive(Clone, Copy)]
struct MappingFunctions {
    mmap: Mmap,
    fault: HandleFault,
}

/// `Some(function)` if the driver has it.
macro_rules! if_implemented {
    ($has:expr, $function:expr) => {
        if $has {
            Some($function)
        } else {
            None
        }
    };
}

impl<T: Operations> Functions<T> {
    /// The functions of `T`.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        assert!(
            T::HAS_MMAP == T::HAS_FAULT,
            "chardev::Operations::mmap and ::fault must be implemented together"
        );
        assert!(
            T::HAS_IOCTL || !T::HAS_COMPAT_IOCTL,
            "chardev::Operations::compat_ioctl needs ::ioctl"
        );

        let erased = ErasedFunctions {
            stream: T::STREAM,
            open: open::<T>,
            read: if_implemented!(T::HAS_READ, read::<T>),
            write: if_implemented!(T::HAS_WRITE, write::<T>),
            ioctl: if_implemented!(T::HAS_IOCTL, ioctl::<T>),
            compat_ioctl: if_implemented!(T::HAS_COMPAT_IOCTL, compat_ioctl::<T>),
            poll: if_implemented!(T::HAS_POLL, poll::<T>),
            size: if_implemented!(T::HAS_SIZE, size::<T>),
            mapping: if_implemented!(
                T::HAS_MMAP,
                MappingFunctions {
                    mmap: mmap::<T>,
                    fault: fault::<T>,
                }
            ),
        };
        Self {
            erased,
            _type: PhantomData,
        }
    }
}

/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn open<T: Operations>(header: &Header, flags: Flags) -> Result<FileData> {
    // SAFETY: By the safety requirements.
    let access = unsafe { Object::<T>::from_header(header).inside() };

    Ok(FileData::new(KBox::new(
        T::open(&access, flags)?,
        GFP_KERNEL,
    )?))
}

/// Calls `operation` with what the driver knows of an open file.
///
/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn with_file<T: Operations, R>(
    header: &Header,
    data: &FileData,
    flags: Flags,
    operation: impl FnOnce(&Access<'_, '_, T>, &Handle<'_, T>) -> R,
) -> R {
    // SAFETY: By the safety requirements; the closure works for any lifetimes.
    let access = unsafe { Object::<T>::from_header(header).inside() };
    let handle = Handle {
        // SAFETY: By the safety requirements, `data` was made by `open::<T>`.
        data: unsafe { data.get::<T::File>() },
        flags,
    };

    operation(&access, &handle)
}

/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn read<T: Operations>(
    header: &Header,
    data: &FileData,
    flags: Flags,
    position: &mut i64,
    buffer: &mut IovIterDest<'_>,
) -> Result<usize> {
    // SAFETY: By the safety requirements.
    unsafe {
        with_file::<T, _>(header, data, flags, |access, file| {
            T::read(access, file, position, buffer)
        })
    }
}

/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn write<T: Operations>(
    header: &Header,
    data: &FileData,
    flags: Flags,
    position: &mut i64,
    buffer: &mut IovIterSource<'_>,
) -> Result<usize> {
    // SAFETY: By the safety requirements.
    unsafe {
        with_file::<T, _>(header, data, flags, |access, file| {
            T::write(access, file, position, buffer)
        })
    }
}

/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn ioctl<T: Operations>(
    header: &Header,
    data: &FileData,
    flags: Flags,
    command: u32,
    argument: usize,
) -> Result<isize> {
    // SAFETY: By the safety requirements.
    unsafe {
        with_file::<T, _>(header, data, flags, |access, file| {
            T::ioctl(access, file, command, argument)
        })
    }
}

/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn compat_ioctl<T: Operations>(
    header: &Header,
    data: &FileData,
    flags: Flags,
    command: u32,
    argument: usize,
) -> Result<isize> {
    // SAFETY: By the safety requirements.
    unsafe {
        with_file::<T, _>(header, data, flags, |access, file| {
            T::compat_ioctl(access, file, command, argument)
        })
    }
}

/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn poll<T: Operations>(header: &Header, data: &FileData, flags: Flags) -> Events {
    // SAFETY: By the safety requirements.
    unsafe { with_file::<T, _>(header, data, flags, |access, file| T::poll(access, file)) }
}

/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn size<T: Operations>(header: &Header, data: &FileData, flags: Flags) -> Result<i64> {
    // SAFETY: By the safety requirements.
    unsafe { with_file::<T, _>(header, data, flags, |access, file| T::size(access, file)) }
}

/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn mmap<T: Operations>(
    header: &Header,
    data: &FileData,
    flags: Flags,
    area: &Area,
) -> Result<Backing> {
    // SAFETY: By the safety requirements.
    unsafe {
        with_file::<T, _>(header, data, flags, |access, file| {
            T::mmap(access, file, area)
        })
    }
}

/// # Safety
///
/// As [`ErasedFunctions`] says.
unsafe fn fault<T: Operations>(
    header: &Header,
    data: &FileData,
    flags: Flags,
    fault: &Fault,
) -> Result<bindings::vm_fault_t> {
    // SAFETY: By the safety requirements.
    unsafe {
        with_file::<T, _>(header, data, flags, |access, file| {
            T::fault(access, file, fault.page()).map(|memory| fault.insert(memory))
        })
    }
}

/// The driver's data of an open file, with its type erased.
///
/// # Invariants
///
/// `data` is a `KBox` that `drop` drops, with which it was made.
struct FileData {
    data: NonNull<c_void>,
    drop: unsafe fn(NonNull<c_void>),
}

// SAFETY: It is only made of what is `Send`.
unsafe impl Send for FileData {}
// SAFETY: It is only made of what is `Sync`.
unsafe impl Sync for FileData {}

impl FileData {
    fn new<F: Send + Sync + 'static>(file: KBox<F>) -> Self {
        /// # Safety
        ///
        /// `data` must be a leaked `KBox<F>`, and is not used after this.
        unsafe fn drop_file<F>(data: NonNull<c_void>) {
            // SAFETY: By the safety requirements.
            drop(unsafe { KBox::<F>::from_raw(data.cast().as_ptr()) });
        }

        // INVARIANT: `drop_file` is for the same type.
        Self {
            data: NonNull::from(KBox::leak(file)).cast(),
            drop: drop_file::<F>,
        }
    }

    /// # Safety
    ///
    /// It must have been made of an `F`.
    unsafe fn get<F>(&self) -> &F {
        // SAFETY: By the safety requirements and the type invariants.
        unsafe { self.data.cast().as_ref() }
    }
}

impl Drop for FileData {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, and because this is dropped once.
        unsafe { (self.drop)(self.data) };
    }
}

/// An open file.
///
/// # Invariants
///
/// - `device` is the one of an object.
/// - From its opening until the release of the file or the end of the registration, whichever is
///   first, this is in the [`OpenFiles`] of the object, and `data` is there.
/// - `data` is taken either inside the door when the file is released, which is after all other
///   operations on it, or by the owner of the teardown when nobody is inside. So it is there, and
///   stays, for every other operation on the file that is inside.
#[pin_data]
pub(crate) struct OpenFile {
    #[pin]
    links: ListLinks,
    #[pin]
    tracker: AtomicTracker,
    data: UnsafeCell<Option<FileData>>,
    // Before `device`, as the inode must go before the library may.
    mapping: Option<Mapping>,
    device: ARef<device::Device>,
}

// SAFETY: `data` is `Send` and `Sync`, and synchronised as the type invariants say.
unsafe impl Send for OpenFile {}
// SAFETY: As above.
unsafe impl Sync for OpenFile {}

impl_list_arc_safe! {
    impl ListArcSafe<0> for OpenFile {
        tracked_by tracker: AtomicTracker;
    }
}
impl_list_item! {
    impl ListItem<0> for OpenFile { using ListLinks { self.links }; }
}

impl OpenFile {
    fn header(&self) -> &Header {
        // SAFETY: By the type invariants, `device` is embedded in an object.
        unsafe { Header::of_device(device_pointer(&self.device)) }
    }

    /// Enters the door and calls `operation` there.
    fn inside<R>(
        &self,
        operation: impl FnOnce(&Header, &ErasedFunctions, &FileData) -> Result<R>,
    ) -> Result<R> {
        let header = self.header();
        let _inside = header.enter().ok_or(ENODEV)?;
        let functions = header.functions().chardev.as_ref().ok_or(ENODEV)?;
        // SAFETY: By the type invariants, nobody takes the data while this is inside.
        let data = unsafe { (*self.data.get()).as_ref() }.ok_or(ENODEV)?;

        operation(header, functions, data)
    }

    /// Drops the driver's data.
    ///
    /// # Safety
    ///
    /// The caller must be the one who has taken this off the [`OpenFiles`], and be either inside
    /// the door and releasing the file, or the owner of the teardown with nobody inside.
    unsafe fn drop_data(&self) {
        // SAFETY: By the safety requirements and the type invariants, nobody else uses it, and the
        // driver is there.
        drop(unsafe { (*self.data.get()).take() });
    }

    /// Gives up what the driver has of a file that is being released.
    fn release(&self) {
        let header = self.header();

        // If the door is closed, then the owner of the teardown drops the data, or has done so. It
        // finds it in the list, which has a reference of its own.
        let Some(_inside) = header.enter() else {
            return;
        };

        // SAFETY: An `OpenFile` is only ever in the list of its own object.
        let listed = unsafe { header.files.lock().list.remove(self) };
        if listed.is_some() {
            // SAFETY: Taken off the list just now, inside the door, and all other operations on the
            // file are over.
            unsafe { self.drop_data() };
        }
    }
}

/// The open files of an object whose data has not been dropped.
pub(crate) struct OpenFiles {
    list: List<OpenFile>,
}

impl OpenFiles {
    pub(crate) fn new() -> impl PinInit<Mutex<Self>> {
        new_mutex!(Self { list: List::new() }, "holdfast::OpenFiles")
    }
}

/// Takes away what open files have of the driver: what they have mapped, and their data.
///
/// Must be called by the owner of the teardown only, when nobody is inside the door.
pub(crate) fn drop_file_data(header: &Header) {
    // SAFETY: By the type invariants of `State`, it is the owner of the teardown that takes it.
    let mapping = unsafe { (*header.chardev.mapping.get()).take() };
    if let Some(mapping) = mapping {
        mapping.unmap_all();
    }

    // Nobody else touches the list any more: it takes being inside. So the driver's code runs
    // without the lock.
    let mut files = core::mem::replace(&mut header.files.lock().list, List::new());
    while let Some(file) = files.pop_front() {
        // SAFETY: Taken off the list, and nobody is inside the door.
        unsafe { file.drop_data() };
    }
}

/// The file operations of every character device of the library.
const FILE_OPERATIONS: bindings::file_operations = bindings::file_operations {
    owner: this_module::<Holdfast>().as_ptr(),
    open: Some(fops_open),
    release: Some(fops_release),
    read_iter: Some(fops_read_iter),
    write_iter: Some(fops_write_iter),
    unlocked_ioctl: Some(fops_ioctl),
    compat_ioctl: Some(fops_compat_ioctl),
    poll: Some(fops_poll),
    llseek: Some(fops_llseek),
    fasync: Some(fops_fasync),
    mmap: Some(fops_mmap),
    ..pin_init::zeroed()
};

/// The operations of every mapping of the library.
const MAPPING_OPERATIONS: bindings::vm_operations_struct = bindings::vm_operations_struct {
    fault: Some(vm_fault),
    ..pin_init::zeroed()
};

/// The open file behind `file`.
///
/// # Safety
///
/// [`fops_open`] must have opened `file`, which must not be released while the result is used.
unsafe fn open_file_of<'a>(file: *mut bindings::file) -> ArcBorrow<'a, OpenFile> {
    // SAFETY: By the safety requirements, `fops_open` has put an `Arc<OpenFile>` there, which lives
    // until `fops_release`.
    unsafe { Arc::<OpenFile>::borrow((*file).private_data) }
}

/// # Safety
///
/// Called by the VFS, for a character device of the library.
unsafe extern "C" fn fops_open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: By the safety requirements, the device is the embedded one of an object, and the
    // `cdev` that is being opened holds it.
    let header = unsafe { Header::of_device(shims::holdfast_inode_to_device(inode)) };

    // SAFETY: By the safety requirements, these are the arguments of an `open` operation.
    match unsafe { open_file(header, inode, file) } {
        Ok(open_file) => {
            // SAFETY: By the safety requirements, `file` is being opened.
            unsafe { (*file).private_data = open_file.into_foreign() };
            0
        }
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// For use in an `open` operation, with its arguments, and what it returns must be dropped when the
/// file is released.
unsafe fn open_file(
    header: &Header,
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> Result<Arc<OpenFile>> {
    let _inside = header.enter().ok_or(ENODEV)?;
    let functions = header.functions().chardev.as_ref().ok_or(ENODEV)?;

    // SAFETY: By the type invariants of `State`, it is not written while somebody is inside.
    let mapping = unsafe { (*header.chardev.mapping.get()).clone() };

    // SAFETY: These are the functions for this object, and the caller is inside. The file is valid
    // by the safety requirements.
    let data = unsafe { (functions.open)(header, Flags::of(file)) }?;

    // INVARIANT: The data is there, and this is put on the list, which nobody empties while
    // somebody is inside.
    let open_file = ListArc::pin_init::<Error>(
        try_pin_init!(OpenFile {
            links <- ListLinks::new(),
            tracker <- AtomicTracker::new(),
            data: UnsafeCell::new(Some(data)),
            mapping,
            device: header.as_device().into(),
        }? Error),
        GFP_KERNEL,
    )?;

    // Nothing fails from here on.
    if functions.stream {
        // SAFETY: By the safety requirements.
        unsafe { bindings::stream_open(inode, file) };
    }
    if let Some(mapping) = &open_file.mapping {
        // SAFETY: By the safety requirements.
        unsafe { mapping.attach(file) };
    }

    let reference = open_file.clone_arc();
    header.files.lock().list.push_back(open_file);

    Ok(reference)
}

/// # Safety
///
/// Called by the VFS once for each file that [`fops_open`] opened, after all other operations.
unsafe extern "C" fn fops_release(
    _inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: By the safety requirements, `fops_open` has put an `Arc<OpenFile>` there.
    let open_file = unsafe { Arc::<OpenFile>::from_foreign((*file).private_data) };

    open_file.release();
    0
}

/// # Safety
///
/// Called by the VFS for a file that [`fops_open`] opened.
unsafe extern "C" fn fops_read_iter(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: By the safety requirements.
    let open_file = unsafe { open_file_of((*kiocb).ki_filp) };
    // SAFETY: The VFS gives a valid kiocb.
    let flags = unsafe { Flags::of_kiocb(kiocb) };
    // SAFETY: The VFS gives an iterator to read into.
    let buffer = unsafe { IovIterDest::from_raw(iter) };
    // SAFETY: The VFS gives a valid kiocb, which nobody else uses meanwhile.
    let position = unsafe { &mut (*kiocb).ki_pos };

    let read = open_file.inside(|header, functions, data| {
        let read = functions.read.ok_or(EINVAL)?;
        // SAFETY: These are the functions for this object, and the caller is inside.
        unsafe { read(header, data, flags, position, buffer) }
    });
    read.map_or_else(|error| error.to_errno() as isize, |read| read as isize)
}

/// # Safety
///
/// Called by the VFS for a file that [`fops_open`] opened.
unsafe extern "C" fn fops_write_iter(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: By the safety requirements.
    let open_file = unsafe { open_file_of((*kiocb).ki_filp) };
    // SAFETY: The VFS gives a valid kiocb.
    let flags = unsafe { Flags::of_kiocb(kiocb) };
    // SAFETY: The VFS gives an iterator to write from.
    let buffer = unsafe { IovIterSource::from_raw(iter) };
    // SAFETY: The VFS gives a valid kiocb, which nobody else uses meanwhile.
    let position = unsafe { &mut (*kiocb).ki_pos };

    let written = open_file.inside(|header, functions, data| {
        let write = functions.write.ok_or(EINVAL)?;
        // SAFETY: These are the functions for this object, and the caller is inside.
        unsafe { write(header, data, flags, position, buffer) }
    });
    written.map_or_else(
        |error| error.to_errno() as isize,
        |written| written as isize,
    )
}

/// # Safety
///
/// Called by the VFS for a file that [`fops_open`] opened.
unsafe extern "C" fn fops_ioctl(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    // SAFETY: By the safety requirements.
    let (open_file, flags) = unsafe { (open_file_of(file), Flags::of(file)) };

    let result = open_file.inside(|header, functions, data| {
        let ioctl = functions.ioctl.ok_or(ENOTTY)?;
        // SAFETY: These are the functions for this object, and the caller is inside.
        unsafe { ioctl(header, data, flags, command, argument) }
    });
    result.map_or_else(
        |error| error.to_errno() as c_long,
        |result| result as c_long,
    )
}

/// # Safety
///
/// Called by the VFS for a file that [`fops_open`] opened.
unsafe extern "C" fn fops_compat_ioctl(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    // SAFETY: By the safety requirements.
    let (open_file, flags) = unsafe { (open_file_of(file), Flags::of(file)) };

    let result = open_file.inside(|header, functions, data| {
        if let Some(ioctl) = functions.compat_ioctl {
            // SAFETY: These are the functions for this object, and the caller is inside.
            return unsafe { ioctl(header, data, flags, command, argument) };
        }
        let ioctl = functions.ioctl.ok_or(ENOTTY)?;
        // SAFETY: As above; the conversion is one of numbers.
        unsafe {
            let argument = shims::holdfast_compat_pointer(argument);
            ioctl(header, data, flags, command, argument)
        }
    });
    result.map_or_else(
        |error| error.to_errno() as c_long,
        |result| result as c_long,
    )
}

/// # Safety
///
/// Called by the VFS for a file that [`fops_open`] opened.
unsafe extern "C" fn fops_poll(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: By the safety requirements.
    let (open_file, flags) = unsafe { (open_file_of(file), Flags::of(file)) };

    let events = open_file.inside(|header, functions, data| {
        // First, so that no change is missed between the answer and the sleep.
        //
        // SAFETY: These are the arguments of a `poll` operation of a file of this object.
        unsafe { header.chardev.register(file, table) };

        let events = match functions.poll {
            // SAFETY: These are the functions for this object, and the caller is inside.
            Some(poll) => unsafe { poll(header, data, flags) },
            None => Events::READABLE | Events::WRITABLE,
        };
        // Either this sees that the door is closed, or `wake_files` finds the poller.
        if header.is_open() {
            Ok(events)
        } else {
            Err(ENODEV)
        }
    });
    events.unwrap_or(Events::GONE).as_raw()
}

/// # Safety
///
/// Called by the VFS for a file that [`fops_open`] opened.
unsafe extern "C" fn fops_llseek(
    file: *mut bindings::file,
    offset: bindings::loff_t,
    whence: c_int,
) -> bindings::loff_t {
    // SAFETY: By the safety requirements.
    let (open_file, flags) = unsafe { (open_file_of(file), Flags::of(file)) };

    let position = open_file.inside(|header, functions, data| {
        let Some(size) = functions.size else {
            // SAFETY: These are the arguments of an `llseek` operation.
            return Ok(unsafe { bindings::default_llseek(file, offset, whence) });
        };
        // SAFETY: These are the functions for this object, and the caller is inside.
        let size = unsafe { size(header, data, flags) }?;
        // SAFETY: These are the arguments of an `llseek` operation.
        Ok(unsafe { bindings::fixed_size_llseek(file, offset, whence, size) })
    });
    position.unwrap_or_else(|error| error.to_errno().into())
}

/// # Safety
///
/// Called by the VFS for a file that [`fops_open`] opened; also before it is released, if it is on
/// the list.
unsafe extern "C" fn fops_fasync(descriptor: c_int, file: *mut bindings::file, on: c_int) -> c_int {
    // SAFETY: By the safety requirements.
    let open_file = unsafe { open_file_of(file) };
    let header = open_file.header();

    // To be taken off the list nothing is needed but the list.
    let inside = header.enter();
    if on != 0 && inside.is_none() {
        return ENODEV.to_errno();
    }
    // SAFETY: These are the arguments of a `fasync` operation of a file of this object.
    unsafe { header.chardev.signal(header, descriptor, file, on) }
}

/// # Safety
///
/// Called by the VFS for a file that [`fops_open`] opened.
#[inline(never)]
unsafe extern "C" fn fops_mmap(
    file: *mut bindings::file,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: By the safety requirements.
    let (open_file, flags) = unsafe { (open_file_of(file), Flags::of(file)) };

    let result = open_file.inside(|header, functions, data| {
        let functions = functions.mapping.as_ref().ok_or(ENODEV)?;
        // SAFETY: This is an argument of an `mmap` operation.
        let area = unsafe { Area::of(vma) };
        // SAFETY: These are the functions for this object, and the caller is inside.
        let backing = unsafe { (functions.mmap)(header, data, flags, &area) }?;
        // SAFETY: This is an argument of an `mmap` operation, and the operations are static.
        unsafe { backing.set_up(vma, &MAPPING_OPERATIONS) }
    });
    result.map_or_else(|error| error.to_errno(), |()| 0)
}

/// # Safety
///
/// Called by the memory management for a mapping that [`fops_mmap`] has set up.
unsafe extern "C" fn vm_fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: By the safety requirements.
    let fault = unsafe { Fault::from_raw(vmf) };
    let file = fault.file();
    // SAFETY: A mapping has the file open that it was made of, which `fops_open` opened.
    let (open_file, flags) = unsafe { (open_file_of(file), Flags::of(file)) };

    let result = open_file.inside(|header, functions, data| {
        let functions = functions.mapping.as_ref().ok_or(ENODEV)?;
        // SAFETY: These are the functions for this object, and the caller is inside.
        unsafe { (functions.fault)(header, data, flags, &fault) }
    });
    result.unwrap_or_else(|error| {
        if error == ENOMEM {
            bindings::vm_fault_reason_VM_FAULT_OOM
        } else {
            bindings::vm_fault_reason_VM_FAULT_SIGBUS
        }
    })
}

/// How many character devices there can be at once.
const MINORS: u32 = 1 << 16;

/// The device numbers of the library's character devices.
struct Numbers {
    base: bindings::dev_t,
    minors: IdPool,
}

global_lock! {
    // SAFETY: `NumberSpace::new` initialises it, when the library is loaded.
    unsafe(uninit) static NUMBERS: Mutex<Option<Numbers>> = None;
}

/// The library's region of character device numbers, and what else its devices need.
///
/// # Invariants
///
/// `base` is the start of a region of [`MINORS`] numbers.
pub(crate) struct NumberSpace {
    base: bindings::dev_t,
    _file_system: FileSystem,
}

impl NumberSpace {
    /// Takes the region. Called once, when the library is loaded.
    pub(crate) fn new() -> Result<Self> {
        let file_system = FileSystem::new()?;
        let mut base = 0;
        // SAFETY: `base` is valid for writes, and the name is static.
        to_result(unsafe {
            bindings::alloc_chrdev_region(&mut base, 0, MINORS, c"holdfast".as_char_ptr())
        })?;
        // INVARIANT: Taken just now.
        let this = Self {
            base,
            _file_system: file_system,
        };

        // SAFETY: Called once, before anything else in this module.
        unsafe { NUMBERS.init() };
        *NUMBERS.lock() = Some(Numbers {
            base,
            minors: IdPool::new(),
        });

        Ok(this)
    }
}

impl Drop for NumberSpace {
    fn drop(&mut self) {
        NUMBERS.lock().take();

        // SAFETY: By the type invariants. No character device is left: each holds the library.
        unsafe { bindings::unregister_chrdev_region(self.base, MINORS) };
    }
}

/// A device number that is taken.
///
/// # Invariants
///
/// It is taken in [`NUMBERS`].
struct Number {
    minor: usize,
    devt: bindings::dev_t,
}

impl Number {
    fn take() -> Result<Self> {
        let mut numbers = NUMBERS.lock();
        let numbers = numbers.as_mut().ok_or(ENODEV)?;
        let minor = take_number(&mut numbers.minors, GFP_KERNEL)?;

        // INVARIANT: Taken just now.
        let this = Self {
            minor,
            devt: numbers.base + minor as bindings::dev_t,
        };
        if minor >= MINORS as usize {
            numbers.minors.release_id(minor);
            core::mem::forget(this);
            return Err(ENOSPC);
        }
        Ok(this)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if let Some(numbers) = NUMBERS.lock().as_mut() {
            numbers.minors.release_id(self.minor);
        }
    }
}

/// A character device that can be opened.
///
/// # Invariants
///
/// `cdev` is added, under `_number`.
pub(crate) struct Node {
    cdev: NonNull<bindings::cdev>,
    _number: Number,
}

impl Node {
    /// Adds a character device for `device`, and gives it its number.
    #[inline(never)]
    pub(crate) fn add(device: *mut bindings::device) -> Result<Self> {
        let number = Number::take()?;

        // SAFETY: The callers, which are in this crate, give the initialised device of an object.
        let header = unsafe { Header::of_device(device) };
        let functions = header.functions().chardev.as_ref();
        if functions.is_some_and(|functions| functions.mapping.is_some()) {
            let mapping = Mapping::new()?;
            // SAFETY: By the type invariants of `State`, nobody can open the object yet.
            unsafe { *header.chardev.mapping.get() = Some(mapping) };
        }

        // SAFETY: The callers, which are in this crate, give the initialised device of an object
        // that is not added yet. The file operations are static, and are for such devices.
        let cdev = from_err_ptr(unsafe {
            (*device).devt = number.devt;
            shims::holdfast_cdev_add(device, &FILE_OPERATIONS, this_module::<Holdfast>().as_ptr())
        })?;

        // INVARIANT: Added just now.
        Ok(Self {
            cdev: NonNull::new(cdev).ok_or(ENOMEM)?,
            _number: number,
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; it is deleted once.
        unsafe { bindings::cdev_del(self.cdev.as_ptr()) };
    }
}
