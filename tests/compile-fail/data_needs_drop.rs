// SPDX-License-Identifier: GPL-2.0

//! The memory of an object may outlive its driver, so it holds nothing that the driver would have
//! to drop.
//!
//! Promise 1: memory is owned by the embedded device's reference count.
//@ build-fail

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
    type Data = KBox<u32>;
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

/// Makes an object that owns something.
pub fn make(data: KBox<u32>) -> Result<Unregistered<Example>> {
    Unregistered::new(Ok::<_, Error>(data)) //~? E0080
}
