// SPDX-License-Identifier: GPL-2.0

//! The file operations of an object are those of its own type: those of another would take what is
//! bound for something else.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::{
    chardev,
    class::Class,
    object::{
        self,
        Object, //
    }, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// An object.
pub struct Other;

impl object::Operations for Other {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = usize;
    type Argument = ();

    const CLASS: Class = Class::new(c"other", c"other");
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> =
        Some(chardev::Functions::<Example>::new()); //~ E0308

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(0x1000)
    }
}
