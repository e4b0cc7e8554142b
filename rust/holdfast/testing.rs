// SPDX-License-Identifier: GPL-2.0

//! What the examples and the suites use in place of user space and of hardware.
//!
//! Not for drivers: it is there in kernels with the tests only.

use crate::{
    chardev::Events,
    object::{
        device_pointer,
        Object,
        Operations, //
    },
    shims, //
};

#[cfg(CONFIG_IRQ_SIM)]
use crate::irq::Line;

use core::{
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    faux,
    prelude::*,
    str::CString,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// Defines a type of objects for an example that is about something else.
///
/// ```
/// holdfast::testing::object! {
///     struct Example: u32; // Its data.
///     // Constants of `object::Operations`, but for the class, and what `bind` does.
///     fn bind(argument: usize) -> usize {
///         Ok(argument + 1)
///     }
/// }
/// # Ok::<(), Error>(())
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! testing_object {
    (
        struct $name:ident: $data:ty;
        $(const $constant:ident: $type:ty = $value:expr;)*
        fn bind($argument:ident: $argument_type:ty) -> $bound:ty $bind:block
    ) => {
        struct $name;

        impl $crate::object::Operations for $name {
            type Parent = ::kernel::device::Device<::kernel::device::Bound>;
            type Structure = $crate::object::ClassDevice;
            type Data = $data;
            type Bound<'bound> = $bound;
            type Argument = $argument_type;

            const CLASS: $crate::class::Class = $crate::class::Class::new(
                ::kernel::c_str!(concat!("example_", stringify!($name))),
                ::kernel::c_str!(concat!("example-", stringify!($name))),
            );
            $(const $constant: $type = $value;)*

            fn bind<'bound>(
                _object: &'bound $crate::object::Object<Self>,
                _parent: &'bound ::kernel::device::Device<::kernel::device::Bound>,
                $argument: $argument_type,
            ) -> impl ::kernel::prelude::PinInit<$bound, ::kernel::error::Error> + 'bound $bind
        }
    };
}

pub use testing_object as object;

/// A device that is bound until this is dropped.
pub struct Parent(faux::Registration);

impl Parent {
    /// Makes one, with a name of its own.
    pub fn new() -> Result<Self> {
        static PARENTS: Atomic<usize> = Atomic::new(0);

        let number = PARENTS.fetch_add(1, Relaxed);
        let name = CString::try_from_fmt(fmt!("holdfast-example-parent{number}"))?;
        Ok(Self(faux::Registration::new(&name, None)?))
    }
}

impl Deref for Parent {
    type Target = Device<Bound>;

    fn deref(&self) -> &Device<Bound> {
        self.0.as_ref().as_ref()
    }
}

/// An open file of an object's character device, which stands for one that user space has.
///
/// The VFS opens it, and its operations are called as system calls do, but with memory of the
/// kernel. For use by the task of a KUnit test only.
///
/// # Invariants
///
/// It points to an open file of a character device of the library, and owns a reference to it.
pub struct File(NonNull<bindings::file>);

impl File {
    /// Opens the character device of `object` with these flags, see [`kernel::fs::file::flags`].
    pub fn open<T: Operations>(object: &Object<T>, flags: u32) -> Result<Self> {
        // SAFETY: A reference to an object is one to its device.
        unsafe { Self::open_device(device_pointer(object.as_ref()), flags) }
    }

    /// # Safety
    ///
    /// `device` must be valid.
    unsafe fn open_device(device: *mut bindings::device, flags: u32) -> Result<Self> {
        // SAFETY: By the safety requirements.
        let file = unsafe { shims::holdfast_kunit_open((*device).devt, flags as c_int) };
        let file = from_err_ptr(file)?;
        // INVARIANT: Opened just now.
        Ok(Self(NonNull::new(file).ok_or(ENOMEM)?))
    }

    fn operations(&self) -> &bindings::file_operations {
        // SAFETY: By the type invariants.
        unsafe { &*(*self.0.as_ptr()).f_op }
    }

    fn position(&self) -> *mut bindings::loff_t {
        // SAFETY: By the type invariants.
        unsafe { &raw mut (*self.0.as_ptr()).f_pos }
    }

    /// As `read(2)`.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariants; the buffer is valid for writes.
        let read = unsafe {
            bindings::kernel_read(
                self.0.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                self.position(),
            )
        };
        count(read)
    }

    /// As `write(2)`.
    pub fn write(&self, buffer: &[u8]) -> Result<usize> {
        // SAFETY: By the type invariants; the buffer is valid for reads.
        let written = unsafe {
            bindings::kernel_write(
                self.0.as_ptr(),
                buffer.as_ptr().cast(),
                buffer.len(),
                self.position(),
            )
        };
        count(written)
    }

    /// As `ioctl(2)`.
    pub fn ioctl(&self, command: u32, argument: usize) -> Result<usize> {
        let ioctl = self.operations().unlocked_ioctl.ok_or(ENOTTY)?;
        // SAFETY: By the type invariants.
        count(unsafe { ioctl(self.0.as_ptr(), command, argument) })
    }

    /// As `ioctl(2)` of a 32-bit task.
    pub fn compat_ioctl(&self, command: u32, argument: usize) -> Result<usize> {
        let ioctl = self.operations().compat_ioctl.ok_or(ENOTTY)?;
        // SAFETY: By the type invariants.
        count(unsafe { ioctl(self.0.as_ptr(), command, argument) })
    }

    /// As `lseek(2)`.
    pub fn seek(&self, offset: i64, whence: u32) -> Result<i64> {
        // SAFETY: By the type invariants.
        let position = unsafe { bindings::vfs_llseek(self.0.as_ptr(), offset, whence as c_int) };
        to_result(position.min(0) as c_int)?;
        Ok(position)
    }

    /// As `poll(2)` that does not wait.
    pub fn poll(&self) -> Events {
        let Some(poll) = self.operations().poll else {
            return Events::NONE;
        };
        // SAFETY: By the type invariants. A table is only for who waits.
        Events::from_raw(unsafe { poll(self.0.as_ptr(), core::ptr::null_mut()) })
    }

    /// As `mmap(2)` of `length` bytes from the start of the file, shared, to be read and written.
    pub fn map(&self, length: usize) -> Result<Mapped> {
        self.map_with(length, true)
    }

    /// As `mmap(2)` of `length` bytes from the start of the file, shared, to be read.
    pub fn map_read_only(&self, length: usize) -> Result<Mapped> {
        self.map_with(length, false)
    }

    fn map_with(&self, length: usize, writable: bool) -> Result<Mapped> {
        // SAFETY: By the type invariants; called by the task of a test, which is a thread of the
        // kernel.
        let address = unsafe { shims::holdfast_kunit_map(self.0.as_ptr(), length, writable) };
        let address = count(address)?;
        // INVARIANT: Mapped just now.
        Ok(Mapped { address, length })
    }
}

/// What a system call has returned.
fn count(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Error::from_errno(result as c_int))
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. A thread of the kernel has no other way to release it
        // before it goes on.
        unsafe { bindings::__fput_sync(self.0.as_ptr()) };
    }
}

/// Memory of the task of a KUnit test that is mapped from a [`File`].
///
/// # Invariants
///
/// It is mapped in the current task.
pub struct Mapped {
    address: usize,
    length: usize,
}

impl Mapped {
    fn at(&self, offset: usize) -> UserSlice {
        UserSlice::new(
            UserPtr::from_addr(self.address + offset),
            self.length - offset,
        )
    }

    /// Reads as user space does; [`EFAULT`] is its SIGBUS.
    pub fn read<V: FromBytes>(&self, offset: usize) -> Result<V> {
        self.at(offset).reader().read()
    }

    /// Writes as user space does; [`EFAULT`] is its SIGBUS.
    pub fn write<V: AsBytes>(&self, offset: usize, value: &V) -> Result {
        self.at(offset).writer().write(value)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::vm_munmap(self.address, self.length) };
    }
}

/// A line that is asserted by who has this, in place of a device.
///
/// # Invariants
///
/// `domain` is one of the kernel's simulator, and `irq` its line.
#[cfg(CONFIG_IRQ_SIM)]
pub struct Wire {
    domain: NonNull<bindings::irq_domain>,
    irq: c_uint,
}

// SAFETY: The simulator can be used by any task.
#[cfg(CONFIG_IRQ_SIM)]
unsafe impl Send for Wire {}
// SAFETY: As above; asserting a line is what devices do at any time.
#[cfg(CONFIG_IRQ_SIM)]
unsafe impl Sync for Wire {}

#[cfg(CONFIG_IRQ_SIM)]
impl Wire {
    /// Makes one.
    pub fn new() -> Result<Self> {
        let mut irq = 0;
        // SAFETY: `irq` is valid for writes.
        let domain = unsafe { shims::holdfast_sim_create(&mut irq) };
        // INVARIANT: Made just now.
        Ok(Self {
            domain: NonNull::new(domain).ok_or(ENOMEM)?,
            irq,
        })
    }

    /// Asserts the line. Nothing happens if nobody has requested it.
    pub fn assert(&self) {
        // SAFETY: By the type invariants.
        unsafe { shims::holdfast_sim_assert(self.irq) };
    }

    /// The line.
    pub fn line(&self) -> Line<'_> {
        // SAFETY: By the type invariants, there is one for as long as this is borrowed.
        unsafe { Line::new(self.irq) }
    }

    /// The number of the line.
    pub(crate) fn irq(&self) -> c_uint {
        self.irq
    }
}

#[cfg(CONFIG_IRQ_SIM)]
impl Drop for Wire {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; nobody has borrowed the line any more.
        unsafe { shims::holdfast_sim_destroy(self.domain.as_ptr(), self.irq) };
    }
}
