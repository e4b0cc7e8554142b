// SPDX-License-Identifier: GPL-2.0

//! The system calls that only unsafe code can make: mappings, ioctls, and the 32-bit entry.

#![allow(unsafe_code)]

use std::arch::asm;
use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::ioctl::{self, opcode, Getter, NoArg};
use rustix::mm::{mmap, mmap_anonymous, munmap, MapFlags, ProtFlags};

const PAGE: usize = 4096;

/// What the mailbox's ioctl and its page tell: bytes waiting, written and read.
pub type Figures = [u32; 3];

const GET_FIGURES: ioctl::Opcode = opcode::read::<Figures>(b'h', 1);
const UNPLUG: ioctl::Opcode = opcode::none(b'h', 2);
const UNKNOWN: ioctl::Opcode = opcode::none(b'h', 3);

/// How to map.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    /// To write to a private copy.
    WritePrivately,
}

/// A mapping.
pub struct Mapping {
    address: *mut c_void,
    length: usize,
}

impl Mapping {
    /// Maps the first pages of a file.
    pub fn new(file: &File, pages: usize, access: Access) -> Result<Self, Errno> {
        let length = pages * PAGE;
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write | Access::WritePrivately => ProtFlags::READ | ProtFlags::WRITE,
        };
        let flags = match access {
            Access::Read | Access::Write => MapFlags::SHARED,
            Access::WritePrivately => MapFlags::PRIVATE,
        };
        // SAFETY: The kernel chooses a place where nothing else is.
        let address = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                protection,
                flags,
                file.as_fd(),
                0,
            )
        }?;
        Ok(Self { address, length })
    }

    /// Loads a word. If nothing is mapped any more this process gets SIGBUS.
    pub fn load(&self, index: usize) -> u32 {
        assert!((index + 1) * size_of::<u32>() <= self.length);
        // SAFETY: In bounds and aligned; volatile, as the kernel may change it at any time.
        unsafe { self.address.cast::<u32>().add(index).read_volatile() }
    }

    /// Stores a word. If nothing is mapped any more this process gets SIGBUS.
    pub fn store(&self, index: usize, value: u32) {
        assert!((index + 1) * size_of::<u32>() <= self.length);
        // SAFETY: As in `load`; the mapping is one to write to, or this process gets SIGSEGV.
        unsafe { self.address.cast::<u32>().add(index).write_volatile(value) };
    }

    pub fn figures(&self) -> Figures {
        [self.load(0), self.load(1), self.load(2)]
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: This is what `new` has mapped, and nobody has references into it.
        let _ = unsafe { munmap(self.address, self.length) };
    }
}

/// The mailbox's ioctl.
pub fn figures(file: &File) -> Result<Figures, Errno> {
    // SAFETY: The command writes so many bytes.
    unsafe { ioctl::ioctl(file, Getter::<GET_FIGURES, Figures>::new()) }
}

/// The ioctl with which the mailbox asks for its own end.
pub fn unplug(file: &File) -> Result<(), Errno> {
    // SAFETY: There is no argument.
    unsafe { ioctl::ioctl(file, NoArg::<UNPLUG>::new()) }
}

/// What a region's ioctl tells: its first address, its size, the ways and the granularity of its
/// interleaving, how many targets it has, and whether it is persistent.
pub type Facts = [u64; 6];

const GET_FACTS: ioctl::Opcode = opcode::read::<Facts>(b'h', 4);
const UNREGISTER: ioctl::Opcode = opcode::none(b'h', 5);

/// The region's ioctl.
pub fn facts(file: &File) -> Result<Facts, Errno> {
    // SAFETY: The command writes so many bytes.
    unsafe { ioctl::ioctl(file, Getter::<GET_FACTS, Facts>::new()) }
}

/// The ioctl with which a region's file asks for its own end.
pub fn unregister(file: &File) -> Result<(), Errno> {
    // SAFETY: There is no argument.
    unsafe { ioctl::ioctl(file, NoArg::<UNREGISTER>::new()) }
}

/// An ioctl that nobody knows.
pub fn unknown_ioctl(file: &File) -> Result<(), Errno> {
    // SAFETY: There is no argument.
    unsafe { ioctl::ioctl(file, NoArg::<UNKNOWN>::new()) }
}

/// The mailbox's ioctl, as a 32-bit task calls it.
///
/// The kernel must have CONFIG_IA32_EMULATION; without it this process gets SIGSEGV.
pub fn figures_as_32_bit(file: &File) -> Result<Figures, Errno> {
    const IOCTL_32: i32 = 54;

    // A pointer that has 32 bits.
    //
    // SAFETY: The kernel chooses a place where nothing else is.
    let buffer = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            PAGE,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::from_bits_retain(0x40), // MAP_32BIT
        )
    }?;

    let result: i32;
    // SAFETY: The command writes so many bytes to its argument. The compiler keeps rbx for itself,
    // so it is given back; the kernel may change r8 to r11.
    unsafe {
        asm!(
            "xchg rbx, {descriptor}",
            "int 0x80",
            "xchg rbx, {descriptor}",
            descriptor = inout(reg) i64::from(file.as_raw_fd()) => _,
            inout("eax") IOCTL_32 => result,
            in("rcx") u64::from(GET_FIGURES),
            in("rdx") buffer,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }

    // SAFETY: Mapped above, and aligned; nobody has references into it.
    let figures = unsafe {
        let figures = buffer.cast::<Figures>().read_volatile();
        munmap(buffer, PAGE)?;
        figures
    };
    match result {
        0 => Ok(figures),
        error => Err(Errno::from_raw_os_error(-error)),
    }
}

/// Has the kernel send SIGIO to this process when something happens to the file.
pub fn want_signals(file: &File) -> Result<(), Errno> {
    const F_SETOWN: i32 = 8;

    extern "C" {
        fn fcntl(descriptor: i32, command: i32, ...) -> i32;
    }

    // SAFETY: This command takes an integer.
    if unsafe { fcntl(file.as_raw_fd(), F_SETOWN, std::process::id() as i32) } != 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    let flags = rustix::fs::fcntl_getfl(file)?;
    rustix::fs::fcntl_setfl(file, flags | rustix::fs::OFlags::ASYNC)
}
