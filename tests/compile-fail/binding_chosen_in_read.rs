// SPDX-License-Identifier: GPL-2.0

//! A file operation is called for every binding; it cannot be written for one that never ends.
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
    prelude::*,
    sync::SetOnce, //
};

/// An object.
pub struct Example;

static KEPT: SetOnce<&'static pci::Device<Bound>> = SetOnce::new();

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
    type File = ();

    fn open(access: &Access<'_, 'static, Self>, _flags: Flags) -> Result<Self::File> {
        //~^ E0308
        KEPT.populate(**access);
        Ok(())
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
