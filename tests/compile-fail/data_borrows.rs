// SPDX-License-Identifier: GPL-2.0

//! The memory of an object outlives the frame in which it is made, so its data does not borrow.
//!
//! Promise 1: memory is owned by the embedded device's reference count.

use holdfast::{
    class::Class,
    object::{
        self,
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
    type Data = &'static u32;
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

/// Lends a variable to an object.
pub fn lend() -> Result<Unregistered<Example>> {
    let local = 1;
    Unregistered::new(Ok::<&u32, Error>(&local)) //~ E0597
}
