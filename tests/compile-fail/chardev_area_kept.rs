// SPDX-License-Identifier: GPL-2.0

//! What user space asks to be mapped is lent to `mmap`, as everything is that an operation gets.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::LocalModule;
use holdfast::{
    chardev::{
        self,
        Area,
        Backing,
        Flags,
        Handle,
        Memory, //
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

static KEPT: SetOnce<&'static Area> = SetOnce::new();

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

    fn mmap(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        area: &Area,
    ) -> Result<Backing> {
        KEPT.populate(area); //~ E0521
        Ok(Backing::pages())
    }

    fn fault<'access>(
        _access: &'access Access<'_, '_, Self>,
        _file: &'access Handle<'_, Self>,
        _page: usize,
    ) -> Result<Memory<'access>> {
        Err(EFAULT)
    }
}
