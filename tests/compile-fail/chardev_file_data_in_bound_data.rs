// SPDX-License-Identifier: GPL-2.0

//! A file is closed before the registration ends, so what is bound does not borrow from its data.
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
    new_mutex,
    pci,
    prelude::*,
    sync::Mutex, //
};

/// What an object does.
#[pin_data]
pub struct ExampleBound<'bound> {
    #[pin]
    slot: Mutex<Option<&'bound u32>>,
}

/// An object.
pub struct Example;

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ExampleBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        try_pin_init!(ExampleBound { slot <- new_mutex!(None) }? Error)
    }
}

#[vtable]
impl chardev::Operations for Example {
    type File = u32;

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(1)
    }

    fn poll(access: &Access<'_, '_, Self>, file: &Handle<'_, Self>) -> Events {
        *access.slot.lock() = Some(&**file); //~ ERROR
        Events::NONE
    }
}
