// SPDX-License-Identifier: GPL-2.0

//! Explores the library's protocol with a few tasks, on the host.
//!
//! `protocol` is the kernel's own source file. Here it gets atomics, waiting and per-CPU slots of
//! [loom](loom), which tries every order of the operations, and every value that each load may
//! return. It finds data races, deadlocks and lost wake-ups by itself; the scenarios add what the
//! protocol promises.
//!
//! `make model` runs the scenarios, and then runs them again on copies of the protocol that are
//! broken in one place each (`mutations.toml`), which must fail.

#![cfg(test)]

#[path = "../../../rust/holdfast/protocol.rs"]
mod protocol;

mod explore;
mod library;
mod platform;
mod scenarios;
