// SPDX-License-Identifier: GPL-2.0

//! From an unregistered object to a registration, and to references that outlive it.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::{
    Object,
    Registration,
    Unregistered, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*,
    sync::aref::ARef, //
};

/// Registers an object once.
pub fn register(pdev: &pci::Device<Bound>) -> Result<(Registration<Example>, u32)> {
    let unregistered = Unregistered::<Example>::new(1)?;
    let data = **unregistered;
    Ok((unregistered.register(pdev, ())?, data))
}

/// Asks for the end from where one cannot wait for it.
pub fn end_later(object: &Object<Example>) {
    object.unregister_deferred();
}

/// Keeps a reference for longer than the registration.
pub fn outlive(registration: Registration<Example>) -> ARef<Object<Example>> {
    let object = registration.reference();
    drop(registration);
    object
}

/// Forgets a registration, which ends with the binding of its parent all the same.
pub fn forget(registration: Registration<Example>) {
    core::mem::forget(registration);
}

fn give_to_another_thread<T: Send + Sync + 'static>(_: T) {}

/// Registrations and references belong to no task.
pub fn send(registration: Registration<Example>, unregistered: Unregistered<Example>) {
    give_to_another_thread(registration.reference());
    give_to_another_thread(registration);
    give_to_another_thread(unregistered);
}
