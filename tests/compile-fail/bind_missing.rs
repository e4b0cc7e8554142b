// SPDX-License-Identifier: GPL-2.0

//! An object cannot be registered without what it does.
//!
//! Promise 2: alloc, then register, as types.

use holdfast::{
    class::Class,
    object, //
};
use kernel::{
    device::Bound,
    pci, //
};

/// An object.
pub struct Example;

impl object::Operations for Example {
    //~^ E0046
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");
}
