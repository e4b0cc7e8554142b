// SPDX-License-Identifier: GPL-2.0

//! What can be mapped says what a fault finds.
//!
//! Promise 3: access is fenced at the boundary of an operation.
//@ build-fail

use example::LocalModule;
use holdfast::{
    chardev::{
        self,
        Area,
        Backing,
        Flags,
        Handle, //
    },
    class::Class,
    object::{
        self,
        Access,
        Object,
        Unregistered, //
    }, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// An object.
pub struct Example;

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new()); //~ E0080

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

    fn mmap(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        _area: &Area,
    ) -> Result<Backing> {
        Ok(Backing::pages())
    }
}

/// Makes an object.
pub fn make() -> Result<Unregistered<Example>> {
    Unregistered::new(Ok::<_, Error>(()))
}
