// SPDX-License-Identifier: GPL-2.0

//! A line is one that a device has said that it has.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::{
    callbacks::Callbacks,
    class::Class,
    irq::{
        self,
        IrqReturn,
        Line, //
    },
    object::{
        self,
        Access,
        Object, //
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
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_interrupt::<0>();

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(())
    }
}

impl irq::Operations for Example {
    fn line<'a>(_access: &Access<'a, '_, Self>) -> Result<Line<'a>> {
        Ok(Line {
            irq: 9,                             //~ E0451
            shared: true,                       //~ E0451
            _device: core::marker::PhantomData, //~ E0451
        })
    }

    fn handle(_access: &Access<'_, '_, Self>) -> IrqReturn {
        IrqReturn::None
    }
}
