// SPDX-License-Identifier: GPL-2.0

//! File operations belong to an object, whose door they enter.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::LocalModule;
use holdfast::{
    chardev::{
        self,
        Flags,
        Handle, //
    },
    object::Access, //
};
use kernel::{
    iov::IovIterDest,
    prelude::*, //
};

/// No object.
pub struct Example;

#[vtable]
impl chardev::Operations for Example {
    //~^ E0277
    type File = ();

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        //~^ E0277
        Ok(())
    }

    fn read(
        //~^ E0277
        _access: &Access<'_, '_, Self>, //~ E0277
        _file: &Handle<'_, Self>,
        _position: &mut i64,
        _buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        Ok(0)
    }
}
