// SPDX-License-Identifier: GPL-2.0

//! Only a PCI driver is the driver of a physical function.
//!
//! Promise 9: drivers contain no `unsafe`, so the macro checks what they say.

/// Not a driver.
pub struct NotADriver;

holdfast::module_sriov_driver! { //~ E0277 //~ E0080
    type: NotADriver,
    name: "not_a_driver",
    authors: ["The Holdfast authors"],
    description: "Not a driver",
    license: "GPL",
}
