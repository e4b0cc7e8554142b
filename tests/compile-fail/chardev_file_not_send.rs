// SPDX-License-Identifier: GPL-2.0

//! The data of an open file is dropped by whoever closes it or ends the registration.
//!
//! Promise 4: unregistration happens once, from anywhere.

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
    types::NotThreadSafe, //
};

/// An object.
pub struct Example;

/// Something that must be dropped where it was made.
pub struct Local(#[allow(dead_code)] NotThreadSafe);

// SAFETY: A shared reference to it can do nothing.
unsafe impl Sync for Local {}

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");

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
    type File = Local; //~ E0277

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(Local(NotThreadSafe))
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
