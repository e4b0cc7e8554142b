// SPDX-License-Identifier: GPL-2.0

//! What was registered cannot become unregistered again, and be registered anew.
//!
//! Promise 4: unregistration happens once.

use example::Example;
use holdfast::object::Registration;
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// Registers an object after its end.
pub fn register_again(
    registration: Registration<Example>,
    pdev: &pci::Device<Bound>,
) -> Result<Registration<Example>> {
    registration.unregister()?;
    registration.register(pdev, ()) //~ E0599
}
