// SPDX-License-Identifier: GPL-2.0

//! Work is declared by its number together with what it does.
//!
//! Promise 3: access is fenced at the boundary of an operation.

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
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<1>(); //~ E0277

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

/// Queues work that does nothing.
pub fn queue(object: &Object<Example>) -> Result<bool> {
    object.work::<1>().queue() //~ E0277
}
