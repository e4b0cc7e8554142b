// SPDX-License-Identifier: GPL-2.0

//! What can be done with an object: going inside, and taking copies out.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::{
    Example,
    ExampleBound, //
};
use holdfast::object::{
    Access,
    Object,
    Outcome, //
};
use kernel::{
    io::Io,
    pci,
    prelude::*,
    sync::aref::ARef, //
};

/// Reads inside, and takes the value out.
pub fn read(object: &Object<Example>) -> Result<u32> {
    object.access(|access| access.bar.read32(0))
}

/// Stores a copy in a variable outside.
pub fn store(object: &Object<Example>, kept: &mut Option<u16>) -> Result {
    object.access(|access| *kept = Some(access.pdev.vendor_id().as_raw()))
}

/// Counts a reference to the parent, which keeps its memory.
pub fn parent(object: &Object<Example>) -> Result<ARef<pci::Device>> {
    object.access(|access| access.parent().into())
}

/// Counts a reference to the object.
pub fn counted(object: &Object<Example>) -> Result<ARef<Object<Example>>> {
    object.access(|access| access.object().into())
}

fn use_bound(bound: &ExampleBound<'_>) -> u32 {
    bound.bar.read32(0)
}

/// Hands what is bound to a function that works for every binding.
pub fn lend(object: &Object<Example>) -> Result<u32> {
    object.access(|access: &Access<'_, '_, Example>| use_bound(access))
}

/// Goes inside two objects.
pub fn both(first: &Object<Example>, second: &Object<Example>) -> Result<u32> {
    first.access(|first| second.access(|second| first.bar.read32(0) ^ second.bar.read32(0)))?
}

/// Reads data that lives as long as the memory.
pub fn data(object: &Object<Example>) -> u32 {
    **object
}

/// Ends the registration, from anywhere.
pub fn end(object: &Object<Example>) -> Result<bool> {
    Ok(object.unregister()? == Outcome::Done)
}
