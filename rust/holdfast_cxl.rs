// SPDX-License-Identifier: GPL-2.0

//! Holdfast for drivers on the CXL bus.
//!
//! A module of its own, so that the library does not need those of CXL. See [`cxl`].

use kernel::prelude::*;

#[path = "holdfast/cxl.rs"]
pub mod cxl;

#[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
#[path = "holdfast/tests/cxl.rs"]
mod tests;

/// The abstraction as a module.
struct HoldfastCxl;

impl kernel::Module for HoldfastCxl {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

module! {
    type: HoldfastCxl,
    name: "holdfast_cxl",
    authors: ["The Holdfast authors"],
    description: "Safe lifetimes for Rust drivers on the CXL bus",
    license: "GPL",
    imports_ns: ["CXL"],
}
