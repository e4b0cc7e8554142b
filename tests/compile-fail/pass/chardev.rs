// SPDX-License-Identifier: GPL-2.0

//! What file operations may do: wait, keep data of a file, refer to their object, map pages.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::LocalModule;
use holdfast::{
    chardev::{
        self,
        Area,
        Backing,
        Events,
        Flags,
        Handle,
        Memory,
        Pages, //
    },
    class::Class,
    object::{
        self,
        Access,
        Object, //
    }, //
};
use kernel::{
    device::Bound,
    iov::IovIterDest,
    pci,
    prelude::*,
    sync::aref::ARef, //
};

/// An object.
pub struct Example;

/// The data of an open file.
pub struct File {
    /// It owns memory,
    pub buffer: KVec<u8>,
    /// pages that user space may map,
    pub pages: Pages,
    /// and refers to the object.
    pub object: ARef<Object<Example>>,
}

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = &'bound pci::Device<Bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(pdev)
    }
}

#[vtable]
impl chardev::Operations for Example {
    type File = File;

    fn open(access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(File {
            buffer: KVec::with_capacity(access.resource_len(0)?.min(16) as usize, GFP_KERNEL)?,
            pages: Pages::new(1)?,
            object: access.object().into(),
        })
    }

    fn read(
        access: &Access<'_, '_, Self>,
        file: &Handle<'_, Self>,
        position: &mut i64,
        buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        if !access.object().is_registered() {
            return Ok(0);
        }
        buffer.simple_read_from_buffer(position, &file.buffer)
    }

    fn ioctl(
        access: &Access<'_, '_, Self>,
        file: &Handle<'_, Self>,
        _command: u32,
        _argument: usize,
    ) -> Result<isize> {
        file.wait_for(access, || {
            file.pages.load(0).ok().filter(|value| *value != 0)
        })?;
        Ok(0)
    }

    fn poll(_access: &Access<'_, '_, Self>, file: &Handle<'_, Self>) -> Events {
        Events::READABLE.only_if(file.flags().is_readable())
    }

    fn mmap(
        _access: &Access<'_, '_, Self>,
        file: &Handle<'_, Self>,
        area: &Area,
    ) -> Result<Backing> {
        if !area.is_within(file.pages.size()) {
            return Err(EINVAL);
        }
        Ok(Backing::pages().read_only())
    }

    fn fault<'access>(
        _access: &'access Access<'_, '_, Self>,
        file: &'access Handle<'_, Self>,
        page: usize,
    ) -> Result<Memory<'access>> {
        file.pages.page(page)
    }
}
