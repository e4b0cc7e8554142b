// SPDX-License-Identifier: GPL-2.0

//! The data of an open file is lent to an operation on it: it is dropped when the file is closed, and
//! when the registration ends.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::LocalModule;
use holdfast::{
    chardev::{
        self,
        Events,
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
    pci,
    prelude::*,
    sync::SetOnce, //
};

static KEPT: SetOnce<&'static u32> = SetOnce::new();

/// An object.
pub struct Example;

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(())
    }
}

#[vtable]
impl chardev::Operations for Example {
    type File = u32;

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(1)
    }

    fn poll(_access: &Access<'_, '_, Self>, file: &Handle<'_, Self>) -> Events {
        KEPT.populate(file); //~ E0521
        Events::NONE
    }
}
