// SPDX-License-Identifier: GPL-2.0

//! What file operations may do: wait, keep data of a file, refer to their object.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::{
    chardev,
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
    const CHARACTER_DEVICE: Option<chardev::Functions> = Some(chardev::Functions::of::<Self>());

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(pdev)
    }
}

impl chardev::Operations for Example {
    type File = File;

    fn open(access: &Access<'_, '_, Self>) -> Result<Self::File> {
        Ok(File {
            buffer: KVec::with_capacity(access.resource_len(0)?.min(16) as usize, GFP_KERNEL)?,
            object: access.object().into(),
        })
    }

    fn read(
        access: &Access<'_, '_, Self>,
        file: &Self::File,
        position: &mut i64,
        buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        if !access.object().is_registered() {
            return Ok(0);
        }
        buffer.simple_read_from_buffer(position, &file.buffer)
    }
}
