// SPDX-License-Identifier: GPL-2.0

//! What is bound is dropped by whichever task ends the registration.
//!
//! Promise 4: unregistration happens once, from anywhere.

use core::marker::PhantomData;
use holdfast::{
    class::Class,
    object::{
        self,
        Object, //
    }, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*,
    sync::Mutex,
    types::NotThreadSafe, //
};

/// An object.
pub struct Example;

/// Something that must be dropped where it was made, and can be used everywhere.
pub struct Local(PhantomData<Mutex<()>>, NotThreadSafe);

// SAFETY: A shared reference to it can do nothing.
unsafe impl Sync for Local {}

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = Local; //~ E0277
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(Local(PhantomData, NotThreadSafe))
    }
}
