// SPDX-License-Identifier: GPL-2.0

//! Two works of an object have two numbers, so that each is what it is called.
//!
//! Promise 3: access is fenced at the boundary of an operation.
//@ build-fail

use holdfast::{
    callbacks::Callbacks,
    class::Class,
    object::{
        self,
        Access,
        Object, //
    },
    work, //
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
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<0>().with_work::<0>(); //~ E0080

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(())
    }
}

impl work::Operations<0> for Example {
    fn run(_access: &Access<'_, '_, Self>) {}
}

/// Queues one of them.
pub fn queue(object: &Object<Example>) -> Result<bool> {
    object.work::<0>().queue()
}
