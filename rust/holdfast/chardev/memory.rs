// SPDX-License-Identifier: GPL-2.0

//! What a character device maps into user space.
//!
//! A mapping is filled by page faults. Each enters the door of the object, asks the driver which
//! memory is meant, puts it into the page table, and only then leaves. So when nobody is inside the
//! closed door any more, everything that will ever be mapped is in page tables, where the end of
//! the registration finds and unmaps it. A later touch is a fault that finds the door closed, and
//! gets SIGBUS.
//!
//! All files of an object are mapped through one inode that belongs to the object, whatever number
//! of device nodes and open files there is, so that one call unmaps it all.

use crate::shims;

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    alloc::flags::__GFP_ZERO,
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    page::{
        Page,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

/// Pages that kernel and user space share.
///
/// They are zero at first. User space may change them at any time once they are mapped, so they are
/// only copied from and to, and what was read must be checked as what any system call brings.
///
/// They may be dropped while they are mapped: a page is freed when its last mapping is gone.
///
/// # Examples
///
/// ```
/// use holdfast::chardev::Pages;
/// use kernel::page::PAGE_SIZE;
///
/// let pages = Pages::new(2)?;
/// assert_eq!(pages.size(), 2 * PAGE_SIZE);
///
/// // Words, which user space never sees half written:
/// pages.store(0, 42)?;
/// assert_eq!(pages.load(0)?, 42);
/// assert_eq!(pages.store(1, 42), Err(EINVAL));
///
/// // Bytes, also across the border of two pages:
/// let mut bytes = [0; 3];
/// pages.write(PAGE_SIZE - 1, &[1, 2, 3])?;
/// pages.read(PAGE_SIZE - 1, &mut bytes)?;
/// assert_eq!(bytes, [1, 2, 3]);
/// assert_eq!(pages.write(2 * PAGE_SIZE - 1, &[1, 2]), Err(EINVAL));
///
/// // For `fault`:
/// assert!(pages.page(1).is_ok());
/// assert!(pages.page(2).is_err());
/// # Ok::<(), Error>(())
/// ```
pub struct Pages {
    pages: KVVec<Page>,
}

impl Pages {
    /// Allocates `count` pages. May sleep.
    pub fn new(count: usize) -> Result<Self> {
        let mut pages = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            pages.push(Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?, GFP_KERNEL)?;
        }
        Ok(Self { pages })
    }

    /// The size in bytes.
    pub fn size(&self) -> usize {
        self.pages.len() * PAGE_SIZE
    }

    /// A page, for [`Operations::fault`](super::Operations::fault).
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there are not that many.
    pub fn page(&self, index: usize) -> Result<Memory<'_>> {
        let page = self.pages.get(index).ok_or(EINVAL)?;
        // SAFETY: Nobody has references into these pages, and `self` has them for the lifetime.
        Ok(unsafe { Memory::from_page(page) })
    }

    /// Copies `from` into the pages.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if that is beyond their end.
    pub fn write(&self, offset: usize, mut from: &[u8]) -> Result {
        self.pieces(offset, from.len(), |page, offset, length| {
            let (piece, rest) = from.split_at(length);
            from = rest;
            // SAFETY: `pieces` gives what is in bounds of the page and no longer than the rest.
            unsafe { shims::holdfast_page_write(page, offset, piece.as_ptr().cast(), piece.len()) };
            length
        })
        .map(drop)
    }

    /// Copies from the pages into all of `to`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if that is beyond their end.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result {
        let mut done = 0;
        self.pieces(offset, to.len(), |page, offset, length| {
            let piece = &mut to[done..done + length];
            done += length;
            // SAFETY: `pieces` gives what is in bounds of the page.
            unsafe {
                shims::holdfast_page_read(page, offset, piece.as_mut_ptr().cast(), piece.len())
            };
            length
        })
        .map(drop)
    }

    /// Copies `length` bytes to where a read wants them; the number of bytes copied.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if that is beyond their end, [`EFAULT`] if nothing could be copied.
    /// # Examples
    ///
    /// ```
    /// # use holdfast::chardev::{self, *};
    /// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
    /// # use kernel::fs::file::flags::*;
    /// # use kernel::{iov::{IovIterDest, IovIterSource}, page::PAGE_SIZE};
    /// # testing::object! {
    /// #     struct Buffer: ();
    /// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
    /// #     fn bind(_argument: ()) -> Pages {
    /// #         Pages::new(1)
    /// #     }
    /// # }
    /// #
    /// # #[vtable]
    /// # impl chardev::Operations for Buffer {
    /// #     type File = ();
    /// #
    /// #     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
    /// #         Ok(())
    /// #     }
    /// #
    /// fn read(
    ///     access: &Access<'_, '_, Self>,
    ///     _file: &Handle<'_, Self>,
    ///     position: &mut i64,
    ///     buffer: &mut IovIterDest<'_>,
    /// ) -> Result<usize> {
    ///     let offset = usize::try_from(*position)?;
    ///     let length = buffer.len().min(access.size().saturating_sub(offset));
    ///     let read = access.copy_to(offset, length, buffer)?;
    ///     *position += read as i64;
    ///     Ok(read)
    /// }
    /// # }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Buffer>::new(())?.register(&parent, ())?;
    /// registration.access(|access| access.write(0, b"Hold"))??;
    ///
    /// let file = File::open(&registration, O_RDONLY)?;
    /// let mut bytes = [0; 4];
    /// assert_eq!(file.read(&mut bytes)?, 4);
    /// assert_eq!(&bytes, b"Hold");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn copy_to(
        &self,
        offset: usize,
        length: usize,
        buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        let copied = self.pieces(offset, length, |page, offset, length| {
            // SAFETY: `pieces` gives what is in bounds of the page, and the iterator is valid.
            unsafe { bindings::copy_page_to_iter(page, offset, length, buffer.as_raw()) }
        })?;
        if copied == 0 && length != 0 && !buffer.is_empty() {
            return Err(EFAULT);
        }
        Ok(copied)
    }

    /// Copies `length` bytes from where a write has them; the number of bytes copied.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if that is beyond their end, [`EFAULT`] if nothing could be copied.
    /// # Examples
    ///
    /// ```
    /// # use holdfast::chardev::{self, *};
    /// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
    /// # use kernel::fs::file::flags::*;
    /// # use kernel::{iov::{IovIterDest, IovIterSource}, page::PAGE_SIZE};
    /// # testing::object! {
    /// #     struct Sink: ();
    /// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
    /// #     fn bind(_argument: ()) -> Pages {
    /// #         Pages::new(1)
    /// #     }
    /// # }
    /// #
    /// # #[vtable]
    /// # impl chardev::Operations for Sink {
    /// #     type File = ();
    /// #
    /// #     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
    /// #         Ok(())
    /// #     }
    /// #
    /// fn write(
    ///     access: &Access<'_, '_, Self>,
    ///     _file: &Handle<'_, Self>,
    ///     position: &mut i64,
    ///     buffer: &mut IovIterSource<'_>,
    /// ) -> Result<usize> {
    ///     let offset = usize::try_from(*position)?;
    ///     let length = buffer.len().min(access.size().saturating_sub(offset));
    ///     let written = access.copy_from(offset, length, buffer)?;
    ///     *position += written as i64;
    ///     Ok(written)
    /// }
    /// # }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Sink>::new(())?.register(&parent, ())?;
    ///
    /// let file = File::open(&registration, O_WRONLY)?;
    /// assert_eq!(file.write(b"fast")?, 4);
    /// let mut bytes = [0; 4];
    /// registration.access(|access| access.read(0, &mut bytes))??;
    /// assert_eq!(&bytes, b"fast");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn copy_from(
        &self,
        offset: usize,
        length: usize,
        buffer: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        let copied = self.pieces(offset, length, |page, offset, length| {
            // SAFETY: `pieces` gives what is in bounds of the page, and the iterator is valid.
            unsafe { bindings::copy_page_from_iter(page, offset, length, buffer.as_raw()) }
        })?;
        if copied == 0 && length != 0 && !buffer.is_empty() {
            return Err(EFAULT);
        }
        Ok(copied)
    }

    /// Stores a word that user space never sees half written.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `offset` is not a multiple of four, or beyond the end.
    pub fn store(&self, offset: usize, value: u32) -> Result {
        let (page, offset) = self.word(offset)?;
        // SAFETY: `word` gives an aligned word of a page.
        unsafe { shims::holdfast_page_store(page, offset, value) };
        Ok(())
    }

    /// Loads a word.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `offset` is not a multiple of four, or beyond the end.
    pub fn load(&self, offset: usize) -> Result<u32> {
        let (page, offset) = self.word(offset)?;
        // SAFETY: `word` gives an aligned word of a page.
        Ok(unsafe { shims::holdfast_page_load(page, offset) })
    }

    /// The page of an aligned word, and where it is there.
    fn word(&self, offset: usize) -> Result<(*mut bindings::page, usize)> {
        let page = self.pages.get(offset >> PAGE_SHIFT).ok_or(EINVAL)?;
        if offset % size_of::<u32>() != 0 {
            return Err(EINVAL);
        }
        Ok((page.as_ptr(), offset % PAGE_SIZE))
    }

    /// Calls `copy` for the piece in each page of a range with page, offset and length, until one
    /// copies less than asked; the number of bytes copied.
    fn pieces(
        &self,
        offset: usize,
        length: usize,
        mut copy: impl FnMut(*mut bindings::page, usize, usize) -> usize,
    ) -> Result<usize> {
        let end = offset.checked_add(length).ok_or(EINVAL)?;
        if end > self.size() {
            return Err(EINVAL);
        }

        let mut position = offset;
        while position < end {
            let page = &self.pages[position >> PAGE_SHIFT];
            let begin = position % PAGE_SIZE;
            let wanted = (PAGE_SIZE - begin).min(end - position);

            let copied = copy(page.as_ptr(), begin, wanted);
            position += copied;
            if copied < wanted {
                break;
            }
        }
        Ok(position - offset)
    }
}

/// A page or frame of memory that user space may be given.
///
/// # Invariants
///
/// For `'a`, and beyond it for as long as the registration whose operation returns it has not
/// ended, the frame belongs to the driver, and user space may read and write it at any time. A page
/// is reference-counted, and of order 0.
/// # Examples
///
/// ```
/// use holdfast::chardev::{
///     Memory,
///     Pages, //
/// };
///
/// /// The page of the file that is number `page`: a header, and then the data in a ring.
/// fn page<'a>(header: &'a Pages, ring: &'a Pages, page: usize) -> Result<Memory<'a>> {
///     match page {
///         0 => header.page(0),
///         _ => ring.page(page - 1),
///     }
/// }
///
/// let (header, ring) = (Pages::new(1)?, Pages::new(4)?);
/// assert!(page(&header, &ring, 4).is_ok());
/// assert!(page(&header, &ring, 5).is_err());
/// # Ok::<(), Error>(())
/// ```
pub struct Memory<'a> {
    frame: Frame,
    _owner: PhantomData<&'a ()>,
}

enum Frame {
    Page(NonNull<bindings::page>),
    Device(usize, Caching),
}

impl<'a> Memory<'a> {
    /// A page of the driver's own.
    ///
    /// [`Pages`] gives these safely.
    ///
    /// # Safety
    ///
    /// Until the page is freed, user space may read and write it at any time: there must not be
    /// references into it, and all copying must bear it.
    /// # Examples
    ///
    /// ```
    /// # use holdfast::chardev::{self, *};
    /// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
    /// # use kernel::fs::file::flags::*;
    /// # use kernel::page::PAGE_SIZE;
    /// # use kernel::{alloc::flags::__GFP_ZERO, page::Page};
    /// # testing::object! {
    /// #     struct Single: ();
    /// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
    /// #     fn bind(_argument: ()) -> Page {
    /// #         Ok(Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?)
    /// #     }
    /// # }
    /// #
    /// # #[vtable]
    /// # impl chardev::Operations for Single {
    /// #     type File = ();
    /// #
    /// #     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
    /// #         Ok(())
    /// #     }
    /// #
    /// # fn mmap(
    /// #     _access: &Access<'_, '_, Self>,
    /// #     _file: &Handle<'_, Self>,
    /// #     area: &Area,
    /// # ) -> Result<Backing> {
    /// #     if !area.is_within(PAGE_SIZE) {
    /// #         return Err(EINVAL);
    /// #     }
    /// #     Ok(Backing::pages())
    /// # }
    /// #
    /// fn fault<'access>(
    ///     access: &'access Access<'_, '_, Self>,
    ///     _file: &'access Handle<'_, Self>,
    ///     _page: usize,
    /// ) -> Result<Memory<'access>> {
    ///     // SAFETY: The page is zeroed, and nobody has references into it or copies to it.
    ///     Ok(unsafe { Memory::from_page(access.bound()) })
    /// }
    /// # }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Single>::new(())?.register(&parent, ())?;
    /// let file = File::open(&registration, O_RDWR)?;
    /// let mapped = file.map(PAGE_SIZE)?;
    /// assert_eq!(mapped.read::<u32>(0)?, 0);
    /// mapped.write(0, &7u32)?;
    /// assert_eq!(mapped.read::<u32>(0)?, 7);
    /// # Ok::<(), Error>(())
    /// ```
    pub unsafe fn from_page(page: &'a Page) -> Self {
        // INVARIANT: By the safety requirements, and those of `Page`. A mapping has a reference of
        // its own, so it does not matter when the driver drops the page.
        Self {
            // SAFETY: A `Page` points to a page.
            frame: Frame::Page(unsafe { NonNull::new_unchecked(page.as_ptr()) }),
            _owner: PhantomData,
        }
    }

    /// A frame of a device's memory, such as a part of a BAR.
    ///
    /// For abstractions of resources that know what they own, to make a safe function of: the end
    /// of the registration unmaps it before what is bound is dropped, so a resource in
    /// [`object::Operations::Bound`](crate::object::Operations::Bound) is held for long enough. It
    /// can only be mapped by a mapping that was set up with [`Backing::device`] and the same
    /// `caching`: in another one it is SIGBUS.
    ///
    /// # Safety
    ///
    /// - The frame at the physical address `address` must belong to a resource that the driver has
    ///   claimed until the registration ends.
    /// - User space may read and write all of the frame at any time, and cannot by that make the
    ///   device access memory that is not user space's.
    /// - Every other mapping of it must be cached as `caching` says.
    /// # Examples
    ///
    /// What the abstraction of a resource could have, for a driver to return from `fault`:
    ///
    /// ```
    /// # use holdfast::chardev::{Caching, Memory};
    /// # use kernel::{bindings::phys_addr_t, page::{PAGE_SHIFT, PAGE_SIZE}, prelude::*};
    /// /// Registers for user space, in frames of their own.
    /// ///
    /// /// # Invariants
    /// ///
    /// /// It owns the `pages` frames from the physical address `start` on, which nobody else maps.
    /// /// The device does nothing with them that could harm others.
    /// struct UserRegisters {
    ///     start: phys_addr_t,
    ///     pages: usize,
    /// }
    ///
    /// impl UserRegisters {
    ///     fn page(&self, page: usize) -> Result<Memory<'_>> {
    ///         if page >= self.pages {
    ///             return Err(EINVAL);
    ///         }
    ///         let address = self.start + ((page << PAGE_SHIFT) as phys_addr_t);
    ///         // SAFETY: By the type invariants, and as this is in the object's `Bound`.
    ///         Ok(unsafe { Memory::from_device(address, Caching::Uncached) })
    ///     }
    /// }
    ///
    /// # let registers = UserRegisters { start: 4 * PAGE_SIZE as phys_addr_t, pages: 2 };
    /// assert!(registers.page(1).is_ok());
    /// assert!(registers.page(2).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// `mmap` has to say the same:
    ///
    /// ```
    /// # use holdfast::chardev::{self, *};
    /// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
    /// # use kernel::fs::file::flags::*;
    /// # use kernel::page::PAGE_SIZE;
    /// # testing::object! {
    /// #     struct Mistaken: ();
    /// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
    /// #     fn bind(_argument: ()) -> () {
    /// #         Ok(())
    /// #     }
    /// # }
    /// #
    /// # #[vtable]
    /// # impl chardev::Operations for Mistaken {
    /// #     type File = ();
    /// #
    /// #     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
    /// #         Ok(())
    /// #     }
    /// #
    /// fn mmap(
    ///     _access: &Access<'_, '_, Self>,
    ///     _file: &Handle<'_, Self>,
    ///     _area: &Area,
    /// ) -> Result<Backing> {
    ///     Ok(Backing::device(Caching::Uncached))
    /// }
    ///
    /// fn fault<'access>(
    ///     _access: &'access Access<'_, '_, Self>,
    ///     _file: &'access Handle<'_, Self>,
    ///     _page: usize,
    /// ) -> Result<Memory<'access>> {
    ///     // SAFETY: It is never mapped.
    ///     Ok(unsafe { Memory::from_device(0, Caching::Cached) })
    /// }
    /// # }
    ///
    /// # let parent = testing::Parent::new()?;
    /// let registration = Unregistered::<Mistaken>::new(())?.register(&parent, ())?;
    /// let file = File::open(&registration, O_RDWR)?;
    /// assert_eq!(file.map(PAGE_SIZE)?.read::<u32>(0), Err(EFAULT));
    /// # Ok::<(), Error>(())
    /// ```
    pub unsafe fn from_device(address: bindings::phys_addr_t, caching: Caching) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            frame: Frame::Device((address >> PAGE_SHIFT) as usize, caching),
            _owner: PhantomData,
        }
    }
}

/// How user space's accesses to a device's memory are cached.
/// # Examples
///
/// ```
/// use holdfast::chardev::{
///     Backing,
///     Caching, //
/// };
///
/// /// How the BARs of a graphics card are mapped: registers, a frame buffer, and coherent memory.
/// fn backing(bar: u32) -> Result<Backing> {
///     let caching = match bar {
///         0 => Caching::Uncached,
///         1 => Caching::WriteCombining,
///         2 => Caching::Cached,
///         _ => return Err(EINVAL),
///     };
///     Ok(Backing::device(caching))
/// }
///
/// assert!(backing(1).is_ok());
/// assert_eq!(backing(3).err(), Some(EINVAL));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Not at all: registers.
    Uncached,
    /// Writes may be combined: frame buffers and the like.
    WriteCombining,
    /// As memory.
    Cached,
}

impl Caching {
    const fn kind(self) -> Kind {
        match self {
            Self::Uncached => Kind::Uncached,
            Self::WriteCombining => Kind::WriteCombining,
            Self::Cached => Kind::Cached,
        }
    }
}

/// What is behind a mapping; `enum holdfast_caching` in C says the same.
#[derive(Clone, Copy)]
enum Kind {
    Pages = 0,
    Uncached = 1,
    WriteCombining = 2,
    Cached = 3,
}

/// How a mapping is to be set up, which [`Operations::mmap`](super::Operations::mmap) says.
/// # Examples
///
/// Figures that user space can look at, and a [frame buffer](Memory::from_device) that it can write
/// to:
///
/// ```
/// # use holdfast::chardev::{self, *};
/// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
/// # use kernel::fs::file::flags::*;
/// # use kernel::page::PAGE_SIZE;
/// # testing::object! {
/// #     struct Figures: ();
/// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
/// #     fn bind(_argument: ()) -> Pages {
/// #         Pages::new(1)
/// #     }
/// # }
/// #
/// # #[vtable]
/// # impl chardev::Operations for Figures {
/// #     type File = ();
/// #
/// #     fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
/// #         Ok(())
/// #     }
/// #
/// fn mmap(
///     _access: &Access<'_, '_, Self>,
///     _file: &Handle<'_, Self>,
///     _area: &Area,
/// ) -> Result<Backing> {
///     Ok(Backing::pages().read_only())
/// }
/// #
/// # fn fault<'access>(
/// #     access: &'access Access<'_, '_, Self>,
/// #     _file: &'access Handle<'_, Self>,
/// #     page: usize,
/// # ) -> Result<Memory<'access>> {
/// #     access.page(page)
/// # }
/// # }
///
/// let frame_buffer = Backing::device(Caching::WriteCombining);
/// # let _ = frame_buffer;
///
/// # let parent = testing::Parent::new()?;
/// let registration = Unregistered::<Figures>::new(())?.register(&parent, ())?;
/// registration.access(|access| access.store(0, 42))??;
///
/// let file = File::open(&registration, O_RDWR)?;
/// assert_eq!(file.map_read_only(PAGE_SIZE)?.read::<u32>(0)?, 42);
/// assert_eq!(file.map(PAGE_SIZE).err(), Some(EACCES));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy)]
#[must_use = "it is what mmap returns"]
pub struct Backing {
    kind: Kind,
    read_only: bool,
}

impl Backing {
    /// For pages, such as those of [`Pages`].
    pub const fn pages() -> Self {
        Self {
            kind: Kind::Pages,
            read_only: false,
        }
    }

    /// For memory of a device.
    pub const fn device(caching: Caching) -> Self {
        Self {
            kind: caching.kind(),
            read_only: false,
        }
    }

    /// The same, but user space can only read it: a mapping to be written to is refused with
    /// [`EACCES`], now and by `mprotect`.
    pub const fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Sets `vma` up, to be filled by the fault handler of `operations`.
    ///
    /// # Safety
    ///
    /// For use in an `mmap` operation, with its argument.
    pub(super) unsafe fn set_up(
        self,
        vma: *mut bindings::vm_area_struct,
        operations: &'static bindings::vm_operations_struct,
    ) -> Result {
        // SAFETY: By the safety requirements.
        to_result(unsafe {
            shims::holdfast_vma_set_up(vma, operations, self.read_only, self.kind as c_uint)
        })
    }
}

/// What user space asks to be mapped.
/// # Examples
///
/// ```
/// # use holdfast::chardev::{self, *};
/// # use holdfast::{object::{Access, Unregistered}, testing::{self, File}};
/// # use kernel::fs::file::flags::*;
/// # use kernel::page::PAGE_SIZE;
/// # testing::object! {
/// #     struct Window: ();
/// #     const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());
/// #     fn bind(_argument: ()) -> Pages {
/// #         Pages::new(1)
/// #     }
/// # }
/// #
/// # #[vtable]
/// # impl chardev::Operations for Window {
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
///     // Only as a whole.
///     if area.first_page() != 0 || area.pages() != 1 {
///         return Err(EINVAL);
///     }
///     assert!(area.is_within(PAGE_SIZE));
///     Ok(Backing::pages())
/// }
/// #
/// # fn fault<'access>(
/// #     access: &'access Access<'_, '_, Self>,
/// #     _file: &'access Handle<'_, Self>,
/// #     page: usize,
/// # ) -> Result<Memory<'access>> {
/// #     access.page(page)
/// # }
/// # }
///
/// # let parent = testing::Parent::new()?;
/// let registration = Unregistered::<Window>::new(())?.register(&parent, ())?;
/// let file = File::open(&registration, O_RDWR)?;
/// assert!(file.map(PAGE_SIZE).is_ok());
/// assert_eq!(file.map(2 * PAGE_SIZE).err(), Some(EINVAL));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Area {
    first: usize,
    count: usize,
}

impl Area {
    /// # Safety
    ///
    /// For use in an `mmap` operation, with its argument.
    pub(super) unsafe fn of(vma: *mut bindings::vm_area_struct) -> Self {
        // SAFETY: By the safety requirements, nobody else knows it.
        let (first, start, end) = unsafe {
            let bounds = (*vma).__bindgen_anon_1.__bindgen_anon_1;
            ((*vma).vm_pgoff, bounds.vm_start, bounds.vm_end)
        };
        Self {
            first,
            count: (end - start) >> PAGE_SHIFT,
        }
    }

    /// Its first page, counted from the start of the file.
    pub fn first_page(&self) -> usize {
        self.first
    }

    /// How many pages it has.
    pub fn pages(&self) -> usize {
        self.count
    }

    /// Whether all of it is within the first `size` bytes of the file.
    pub fn is_within(&self, size: usize) -> bool {
        self.first
            .checked_add(self.count)
            .is_some_and(|end| end <= size >> PAGE_SHIFT)
    }
}

/// A page fault.
///
/// # Invariants
///
/// It is being handled, in a mapping that [`Backing::set_up`] has set up.
pub(super) struct Fault(*mut bindings::vm_fault);

impl Fault {
    /// # Safety
    ///
    /// For use in the fault handler of a mapping of the library, with its argument.
    pub(super) unsafe fn from_raw(vmf: *mut bindings::vm_fault) -> Self {
        // INVARIANT: By the safety requirements.
        Self(vmf)
    }

    /// The file that is mapped.
    pub(super) fn file(&self) -> *mut bindings::file {
        // SAFETY: By the type invariants.
        unsafe { (*(*self.0).__bindgen_anon_1.vma).vm_file }
    }

    /// Which page of the file it is in.
    pub(super) fn page(&self) -> usize {
        // SAFETY: By the type invariants.
        unsafe { (*self.0).__bindgen_anon_1.pgoff }
    }

    /// Maps `memory` there.
    ///
    /// Must be called inside the door.
    #[inline(never)]
    pub(super) fn insert(&self, memory: Memory<'_>) -> bindings::vm_fault_t {
        let (page, frame, kind) = match memory.frame {
            Frame::Page(page) => (page.as_ptr(), 0, Kind::Pages),
            Frame::Device(frame, caching) => (core::ptr::null_mut(), frame, caching.kind()),
        };
        // SAFETY: By the type invariants, and those of `Memory`: a page is reference-counted, and a
        // frame stays the driver's until the end of the registration, which unmaps it.
        unsafe { shims::holdfast_fault_insert(self.0, page, frame, kind as c_uint) }
    }
}

/// The inode through which all files of an object are mapped.
///
/// # Invariants
///
/// It points to an inode, and owns a reference to it.
pub(crate) struct Mapping(NonNull<bindings::inode>);

// SAFETY: An inode can be used, and its reference be put, by any task.
unsafe impl Send for Mapping {}
// SAFETY: As above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn new() -> Result<Self> {
        // SAFETY: The file system is mounted for as long as the library is loaded.
        let inode = from_err_ptr(unsafe { shims::holdfast_inode_new() })?;
        // INVARIANT: Made just now, with one reference.
        Ok(Self(NonNull::new(inode).ok_or(ENOMEM)?))
    }

    /// Has `file` be mapped through this.
    ///
    /// # Safety
    ///
    /// `file` must be being opened, and must be released before this is dropped.
    pub(super) unsafe fn attach(&self, file: *mut bindings::file) {
        // SAFETY: By the safety requirements and the type invariants.
        unsafe { shims::holdfast_file_set_inode(file, self.0.as_ptr()) };
    }

    /// Unmaps everything that is mapped through this.
    pub(super) fn unmap_all(&self) {
        // SAFETY: By the type invariants.
        unsafe { shims::holdfast_inode_unmap(self.0.as_ptr()) };
    }
}

impl Clone for Mapping {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariants.
        unsafe { bindings::ihold(self.0.as_ptr()) };
        // INVARIANT: Its reference was taken just now.
        Self(self.0)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, there is a reference to be put.
        unsafe { bindings::iput(self.0.as_ptr()) };
    }
}

/// The file system that those inodes are in.
///
/// # Invariants
///
/// It is mounted.
pub(super) struct FileSystem(());

impl FileSystem {
    /// Mounts it. Called once, when the library is loaded.
    pub(super) fn new() -> Result<Self> {
        // SAFETY: Called once.
        to_result(unsafe { shims::holdfast_fs_mount() })?;
        // INVARIANT: Mounted just now.
        Ok(Self(()))
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. No inode is left: who has one has an object, and that
        // holds the library.
        unsafe { shims::holdfast_fs_unmount() };
    }
}
