// SPDX-License-Identifier: GPL-2.0

//! A registry as a driver uses it.
//!
//! Promise 4: a registration ends once, whoever asks.

use example::{
    Child,
    Example, //
};
use holdfast::{
    object::{
        Object,
        Registered, //
    },
    registry::Registry, //
};
use kernel::{
    prelude::*,
    str::BStr,
    sync::aref::ARef, //
};

/// Creates below an object that is registered.
pub fn create(children: &Registry<Child>, parent: Registered<'_, Example>) -> Result {
    children.create(parent, (), ()).map(drop)
}

/// Finds an object of the registry's type.
pub fn find(children: &Registry<Child>, name: &BStr) -> Result<ARef<Object<Child>>> {
    children.get(name)
}

/// Deletes it, any number of times.
pub fn delete(children: &Registry<Child>, name: &BStr) -> Result {
    children.delete(name)?;
    children.delete(name)
}
