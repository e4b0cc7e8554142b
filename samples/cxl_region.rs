// SPDX-License-Identifier: GPL-2.0

//! A driver for CXL regions: the memory of a region as a file.
//!
//! Commit a region, and write its name to `/sys/bus/cxl/drivers/holdfast_cxl_region/bind`.
//! `/dev/holdfast-region0` can be read, written, seeked in and mapped then, and it is the memory of
//! the region: what is written in one way is read in the other. An ioctl and attributes tell how
//! the region is made up.
//!
//! The region can be unbound, reset and deleted, its memory device and decoders can go, and this
//! module can be unloaded, whatever user space holds open, reads or has mapped meanwhile.
//!
//! The comments that begin with "In C" say which line would have been the bug.

use holdfast::{
    attribute::{
        self,
        list,
        Attribute,
        Group,
        Output, //
    },
    chardev::{
        self,
        Area,
        Backing,
        Caching,
        Events,
        Flags,
        Handle, //
    },
    class::Class,
    object::{
        self,
        Access,
        Object,
        Registration,
        Unregistered, //
    }, //
};

use holdfast_cxl::cxl::{
    self,
    Memory,
    Parameters,
    Region, //
};

use kernel::{
    device::{
        Bound,
        Core, //
    },
    ioctl::{
        _IO,
        _IOR, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*,
    str::BStr,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// What [`GET_FACTS`] returns: the first physical address, the size, the ways and the granularity
/// of the interleaving, the number of targets, and 1 if the memory is persistent.
type Facts = [u64; 6];

/// The ioctl that returns the [`Facts`]: the same for 32-bit and 64-bit tasks.
const GET_FACTS: u32 = _IOR::<Facts>(b'h' as u32, 4);

/// The ioctl that ends the device, as if it had been unbound.
const UNREGISTER: u32 = _IO(b'h' as u32, 5);

/// The object that user space sees: `/dev/holdfast-region0`.
struct File;

struct FileBound<'bound> {
    /// How the region is made up. It does not change while it is bound.
    parameters: Parameters,
    // In C: `devm_memremap()`, which is unmapped at unbind while a read of an open file is still
    // copying from it; and `remap_pfn_range()` in `.mmap`, which nobody takes back, so that user
    // space goes on writing to whatever region gets the addresses next.
    memory: Memory<'bound>,
}

impl object::Operations for File {
    type Parent = Region<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = FileBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_cxl_region", c"holdfast-region");
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());
    const ATTRIBUTES: attribute::Groups<Self> = list![Group::new(list![
        Attribute::read_only(c"size", |access, output| {
            writeln!(output, "{:#x}", access.parameters.size())
        }),
        Attribute::read_only(c"mode", |access, output| {
            writeln!(output, "{}", access.parameters.mode.name())
        }),
        Attribute::read_only(c"interleave_ways", |access, output| {
            writeln!(output, "{}", access.parameters.interleave_ways)
        }),
        Attribute::read_only(c"interleave_granularity", |access, output| {
            writeln!(output, "{}", access.parameters.interleave_granularity)
        }),
        Attribute::read_only(c"targets", Self::show_targets),
        Attribute::write_only(c"unregister", Self::unregister),
    ])];

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        region: &'bound Region<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        // In C: `cxlr->params` as it stands there at this moment, without the lock that protects
        // it, which no module can take.
        Ok(FileBound {
            parameters: region.parameters()?,
            memory: region.map(c"holdfast_cxl_region")?,
        })
    }
}

impl File {
    fn show_targets(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        for position in 0..access.parameters.targets {
            // In C: `dev_name()` of a decoder that has just gone.
            output.push(access.parent().target(position)?.to_bytes());
            output.push(b"\n");
        }
        Ok(())
    }

    fn unregister(access: &Access<'_, '_, Self>, _text: &BStr) -> Result {
        // In C: `device_unregister()` of the device whose attribute this is: it waits for itself.
        access.object().unregister_deferred();
        Ok(())
    }

    fn facts(parameters: &Parameters) -> Facts {
        [
            parameters.start,
            parameters.size(),
            parameters.interleave_ways.into(),
            parameters.interleave_granularity.into(),
            parameters.targets.into(),
            u64::from(parameters.mode == cxl::Mode::Pmem),
        ]
    }
}

#[vtable]
impl chardev::Operations for File {
    type File = ();

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(())
    }

    fn read(
        access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        position: &mut i64,
        buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        let offset = usize::try_from(*position)?;
        if offset >= access.memory.size() {
            return Ok(0);
        }
        let read = access.memory.copy_to(offset, buffer)?;
        *position += read as i64;
        Ok(read)
    }

    fn write(
        access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        position: &mut i64,
        buffer: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        let offset = usize::try_from(*position)?;
        if offset >= access.memory.size() {
            return Err(ENOSPC);
        }
        let written = access.memory.copy_from(offset, buffer)?;
        *position += written as i64;
        Ok(written)
    }

    fn size(access: &Access<'_, '_, Self>, _file: &Handle<'_, Self>) -> Result<i64> {
        Ok(i64::try_from(access.memory.size())?)
    }

    fn poll(_access: &Access<'_, '_, Self>, _file: &Handle<'_, Self>) -> Events {
        // Memory is always ready. Who polls wants to know when it is gone, which the library tells.
        Events::READABLE | Events::WRITABLE
    }

    fn ioctl(
        access: &Access<'_, '_, Self>,
        file: &Handle<'_, Self>,
        command: u32,
        argument: usize,
    ) -> Result<isize> {
        match command {
            GET_FACTS => {
                UserSlice::new(UserPtr::from_addr(argument), size_of::<Facts>())
                    .writer()
                    .write(&Self::facts(&access.parameters))?;
                Ok(0)
            }
            UNREGISTER if file.flags().is_writable() => {
                access.object().unregister_deferred();
                Ok(0)
            }
            _ => Err(ENOTTY),
        }
    }

    fn mmap(
        access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        area: &Area,
    ) -> Result<Backing> {
        if !area.is_within(access.memory.size()) {
            return Err(EINVAL);
        }
        Ok(Backing::device(Caching::Cached))
    }

    fn fault<'access>(
        access: &'access Access<'_, '_, Self>,
        _file: &'access Handle<'_, Self>,
        page: usize,
    ) -> Result<chardev::Memory<'access>> {
        access.memory.page(page)
    }
}

/// The driver, bound to a region.
struct RegionDriver {
    // In C: `.remove`, which the core calls with its own locks held on one path and without them on
    // another, and which must neither wait for user space nor leave it anything.
    _registration: Registration<File>,
}

impl cxl::Driver for RegionDriver {
    type Data<'bound> = Self;

    fn probe<'bound>(
        region: &'bound Region<Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let registration = Unregistered::<File>::new(())?.register(region, ())?;
        dev_info!(region, "{} is ready\n", registration.name());

        Ok(Self {
            _registration: registration,
        })
    }
}

holdfast_cxl::module_cxl_region_driver! {
    type: RegionDriver,
    name: "holdfast_cxl_region",
    authors: ["The Holdfast authors"],
    description: "Sample: the memory of a CXL region",
    license: "GPL",
}
