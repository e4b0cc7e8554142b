// SPDX-License-Identifier: GPL-2.0

//! An open file is lent to an operation on it, and cannot be kept: the file may be closed next.
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

static KEPT: SetOnce<Handle<'static, Example>> = SetOnce::new();

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
    type File = ();

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(())
    }

    fn poll(_access: &Access<'_, '_, Self>, file: &Handle<'_, Self>) -> Events {
        KEPT.populate(*file); //~ E0507 //~ E0521
        Events::NONE
    }
}
