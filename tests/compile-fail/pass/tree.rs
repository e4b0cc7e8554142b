// SPDX-License-Identifier: GPL-2.0

//! Objects below objects, and managed values below a device.
//!
//! Promise 7: a child keeps its parent's memory, and ends before its parent does.

use example::{
    Child,
    Example,
    ExampleBound, //
};
use holdfast::{
    managed::{
        Handle,
        Managed, //
    },
    object::{
        Object,
        Registration,
        Unregistered, //
    }, //
};
use kernel::{
    device::{
        Bound,
        Core,
        Device, //
    },
    io::Io,
    pci,
    prelude::*, //
};

/// Registers a child below an object, inside the object's door.
pub fn register(parent: &Object<Example>) -> Result<Registration<Child>> {
    let child = Unregistered::<Child>::new(())?;
    parent.access(|parent| child.register(parent.registered(), ()))?
}

/// Reads through what is bound to the parent.
pub fn read(child: &Object<Child>) -> Result<u32> {
    child.access(|child| child.parent().with(|parent| parent.bar.read32(0)))
}

/// Reads through what the child keeps of its parent.
pub fn read_kept(child: &Object<Child>) -> Result<u32> {
    child.access_atomic(|child| child.with(|parent| parent.bar.read32(0)))
}

/// The device below which the parent is registered, found from the child.
pub fn vendor(child: &Object<Child>) -> Result<u32> {
    fn of(pdev: &pci::Device<Bound>) -> u32 {
        u32::from(pdev.vendor_id().as_raw())
    }
    child.access(|child| of(child.parent().with(|parent| parent.parent())))
}

/// Lends what is bound to a function.
pub fn lend(object: &Object<Example>, with: fn(&ExampleBound<'_>)) -> Result {
    object.access(|access| with(access.bound()))
}

/// Asks for an end from where one cannot wait for it.
pub fn end(object: &Object<Example>) -> Result {
    object.access(|access| access.object().unregister_deferred())
}

/// Makes a managed value, and uses it in both ways.
pub fn manage(device: &Device<Core<'_>>) -> Result<(Managed<KVec<u8>>, Handle<KVec<u8>>, usize)> {
    let managed = Managed::<KVec<u8>>::new(device, Ok::<_, Error>(KVec::new()))?;
    let handle = managed.handle();
    let length = handle.access(|value| value.len())? + managed.with(device, |value| value.len())?;
    Ok((managed, handle, length))
}

/// Releases it early.
pub fn release(managed: Managed<KVec<u8>>) -> Result {
    managed.release()?;
    Ok(())
}
