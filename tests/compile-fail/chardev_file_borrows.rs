// SPDX-License-Identifier: GPL-2.0

//! A file stays open for longer than the device is bound, so its data cannot borrow from the
//! binding.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::LocalModule;
use holdfast::{
    chardev::{
        self,
        Flags,
        Handle, //
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
    prelude::*, //
};

/// An object.
pub struct Example;

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = &'bound pci::Device<Bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");

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
    type File = &'static pci::Device<Bound>;

    fn open(access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(access.parent()) //~ ERROR
    }

    fn read(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        _position: &mut i64,
        _buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        Ok(0)
    }
}
