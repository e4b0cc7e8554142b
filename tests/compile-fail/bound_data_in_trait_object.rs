// SPDX-License-Identifier: GPL-2.0

//! What is bound does not escape as a trait object, which hides its type but not its lifetime.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::prelude::*;

/// Keeps something that uses the bound device after the door was left.
pub fn keep(object: &Object<Example>, kept: &mut Option<KBox<dyn Fn() -> u16>>) -> Result {
    object.access(|access| {
        let pdev = access.pdev;
        let later = KBox::new(move || pdev.vendor_id().as_raw(), GFP_KERNEL)?;
        *kept = Some(later); //~ E0521
        Ok(())
    })?
}
