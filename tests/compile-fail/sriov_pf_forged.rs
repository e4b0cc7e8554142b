// SPDX-License-Identifier: GPL-2.0

//! What a VF's driver has of its PF comes from the library.
//!
//! Promise 9: drivers contain no `unsafe`, so what is not checked cannot be made.

use core::marker::PhantomData;
use example::PfDriver;
use holdfast::pci::sriov::PhysicalFunction;

/// Takes any address for it.
pub fn forge(address: usize) -> PhysicalFunction<'static, PfDriver> {
    PhysicalFunction {
        shared: address as *const _, //~ E0451
        _binding: PhantomData,       //~ E0451
        _driver: PhantomData,        //~ E0451
    }
}
