// SPDX-License-Identifier: GPL-2.0

//! Character devices on objects.
//!
//! An object whose [`object::Operations::CHARACTER_DEVICE`] is set has a node in devtmpfs while it
//! is registered. The file operations are the library's own: each enters the door of the object,
//! calls the driver inside, and leaves. After the end of the registration they answer [`ENODEV`]
//! without calling the driver, however long a file stays open. An open file holds the memory of the
//! object and the library, and nothing of the driver.
//!
//! # Examples
//!
//! ```ignore
//! impl object::Operations for Pf {
//!     const CHARACTER_DEVICE: Option<chardev::Functions> = Some(chardev::Functions::of::<Self>());
//!     // …
//! }
//!
//! impl chardev::Operations for Pf {
//!     type File = ();
//!
//!     fn open(_access: &Access<'_, '_, Self>) -> Result<Self::File> {
//!         Ok(())
//!     }
//!
//!     fn read(
//!         access: &Access<'_, '_, Self>,
//!         _file: &Self::File,
//!         position: &mut i64,
//!         buffer: &mut IovIterDest<'_>,
//!     ) -> Result<usize> {
//!         buffer.simple_read_from_buffer(position, &access.bar.read32(STATUS).to_le_bytes())
//!     }
//! }
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
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device,
    error::{
        from_err_ptr,
        to_result, //
    },
    id_pool::IdPool,
    iov::IovIterDest,
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

/// The file operations of a driver.
///
/// All are called inside the door of the object: it is registered, its parent is bound, and what is
/// bound can be used. They may sleep, in process context, if [`object::Operations::wake`] wakes
/// them.
pub trait Operations: object::Operations {
    /// Data of an open file.
    ///
    /// It is dropped when the file is released or when the registration ends, whichever is first;
    /// the drop must not unregister the object.
    type File: Send + Sync + 'static;

    /// Opens a file.
    fn open(access: &Access<'_, '_, Self>) -> Result<Self::File>;

    /// Reads at `position`, and advances it. The number of bytes read; zero at the end.
    fn read(
        access: &Access<'_, '_, Self>,
        file: &Self::File,
        position: &mut i64,
        buffer: &mut IovIterDest<'_>,
    ) -> Result<usize>;
}

/// The functions of a driver's character device, with the types erased.
///
/// They lie in the driver's module, and are called inside the door or by the owner of the teardown.
#[derive(Clone, Copy)]
pub struct Functions {
    /// # Safety
    ///
    /// The header must be one of an object of this type, and the caller inside its door.
    open: unsafe fn(&Header) -> Result<FileData>,

    /// # Safety
    ///
    /// As `open`, and the data must come from it.
    read: unsafe fn(&Header, &FileData, &mut i64, &mut IovIterDest<'_>) -> Result<usize>,
}

impl Functions {
    /// The functions of `T`.
    pub const fn of<T: Operations>() -> Self {
        Self {
            open: open::<T>,
            read: read::<T>,
        }
    }
}

/// # Safety
///
/// As [`Functions::open`] says.
unsafe fn open<T: Operations>(header: &Header) -> Result<FileData> {
    // SAFETY: By the safety requirements.
    let access = unsafe { Object::<T>::from_header(header).inside() };

    Ok(FileData::new(KBox::new(T::open(&access)?, GFP_KERNEL)?))
}

/// # Safety
///
/// As [`Functions::read`] says.
unsafe fn read<T: Operations>(
    header: &Header,
    data: &FileData,
    position: &mut i64,
    buffer: &mut IovIterDest<'_>,
) -> Result<usize> {
    // SAFETY: By the safety requirements.
    let access = unsafe { Object::<T>::from_header(header).inside() };
    // SAFETY: By the safety requirements, `data` was made by `open::<T>`.
    let file = unsafe { data.get::<T::File>() };

    T::read(&access, file, position, buffer)
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
/// - `data` is there while this is in the [`OpenFiles`] of the object. It is taken under their
///   lock, when no file operation is using it: either in `release`, or by the owner of the teardown
///   with nobody inside the door.
#[pin_data]
pub(crate) struct OpenFile {
    #[pin]
    links: ListLinks,
    #[pin]
    tracker: AtomicTracker,
    device: ARef<device::Device>,
    data: UnsafeCell<Option<FileData>>,
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

    /// Drops the driver's data.
    ///
    /// # Safety
    ///
    /// The caller must hold the lock of the [`OpenFiles`] that it has just taken this from, and no
    /// file operation may be using the data.
    unsafe fn drop_data(&self) {
        // SAFETY: By the safety requirements and the type invariants, nobody else uses it.
        drop(unsafe { (*self.data.get()).take() });
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

/// Drops the driver's data of all open files.
///
/// Must be called by the owner of the teardown only, when nobody is inside the door.
pub(crate) fn drop_file_data(header: &Header) {
    let mut files = header.files.lock();
    while let Some(file) = files.list.pop_front() {
        // SAFETY: Taken from the list under its lock, and nobody is inside the door.
        unsafe { file.drop_data() };
    }
}

/// The file operations of every character device of the library.
const FILE_OPERATIONS: bindings::file_operations = bindings::file_operations {
    owner: this_module::<Holdfast>().as_ptr(),
    open: Some(fops_open),
    release: Some(fops_release),
    read_iter: Some(fops_read_iter),
    llseek: Some(bindings::default_llseek),
    ..pin_init::zeroed()
};

/// # Safety
///
/// Called by the VFS, for a character device of the library.
unsafe extern "C" fn fops_open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: By the safety requirements, the device is the embedded one of an object, and the
    // `cdev` that is being opened holds it.
    let device = unsafe { shims::holdfast_inode_to_device(inode) };
    // SAFETY: As above.
    let header = unsafe { Header::of_device(device) };

    match open_file(header) {
        Ok(open_file) => {
            // SAFETY: By the safety requirements, `file` is being opened.
            unsafe { (*file).private_data = open_file.into_foreign() };
            0
        }
        Err(error) => error.to_errno(),
    }
}

fn open_file(header: &Header) -> Result<Arc<OpenFile>> {
    let _inside = header.enter().ok_or(ENODEV)?;
    let functions = header.functions().chardev.as_ref().ok_or(ENODEV)?;

    // SAFETY: These are the functions for this object, and the caller is inside.
    let data = unsafe { (functions.open)(header) }?;

    // INVARIANT: The data is there, and this is put on the list, which nobody empties while
    // somebody is inside.
    let file = ListArc::pin_init::<Error>(
        try_pin_init!(OpenFile {
            links <- ListLinks::new(),
            tracker <- AtomicTracker::new(),
            device: header.as_device().into(),
            data: UnsafeCell::new(Some(data)),
        }? Error),
        GFP_KERNEL,
    )?;
    let reference = file.clone_arc();
    header.files.lock().list.push_back(file);

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

    let mut files = open_file.header().files.lock();
    // SAFETY: An `OpenFile` is only ever in the list of its own object.
    if unsafe { files.list.remove(&open_file) }.is_some() {
        // The registration has not ended: its end drops the data of the files in the list, for
        // which it needs the lock. So the driver is there.
        //
        // SAFETY: Taken from the list under its lock; all operations of this file are over.
        unsafe { open_file.drop_data() };
    }
    drop(files);

    0
}

/// # Safety
///
/// Called by the VFS for a file that [`fops_open`] opened.
unsafe extern "C" fn fops_read_iter(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: By the safety requirements, `fops_open` has put an `Arc<OpenFile>` there, which lives
    // until `fops_release`.
    let open_file: ArcBorrow<'_, OpenFile> =
        unsafe { Arc::<OpenFile>::borrow((*(*kiocb).ki_filp).private_data) };
    // SAFETY: The VFS gives an iterator to read into.
    let buffer = unsafe { IovIterDest::from_raw(iter) };
    // SAFETY: The VFS gives a valid kiocb, which nobody else uses meanwhile.
    let position = unsafe { &mut (*kiocb).ki_pos };

    match read_file(&open_file, position, buffer) {
        Ok(read) => read as isize,
        Err(error) => error.to_errno() as isize,
    }
}

fn read_file(
    open_file: &OpenFile,
    position: &mut i64,
    buffer: &mut IovIterDest<'_>,
) -> Result<usize> {
    let header = open_file.header();
    let _inside = header.enter().ok_or(ENODEV)?;
    let functions = header.functions().chardev.as_ref().ok_or(ENODEV)?;

    // SAFETY: By the type invariants, the data is not taken while somebody is inside.
    let data = unsafe { (*open_file.data.get()).as_ref() }.ok_or(ENODEV)?;

    // SAFETY: These are the functions for this object, the caller is inside, and `data` was made by
    // `open` of the same functions.
    unsafe { (functions.read)(header, data, position, buffer) }
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

/// The library's region of character device numbers.
///
/// # Invariants
///
/// `base` is the start of a region of [`MINORS`] numbers.
pub(crate) struct NumberSpace {
    base: bindings::dev_t,
}

impl NumberSpace {
    /// Takes the region. Called once, when the library is loaded.
    pub(crate) fn new() -> Result<Self> {
        let mut base = 0;
        // SAFETY: `base` is valid for writes, and the name is static.
        to_result(unsafe {
            bindings::alloc_chrdev_region(&mut base, 0, MINORS, c"holdfast".as_char_ptr())
        })?;
        // INVARIANT: Taken just now.
        let this = Self { base };

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
