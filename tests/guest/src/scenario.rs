// SPDX-License-Identifier: GPL-2.0

//! What a scenario is.

use std::fmt;
use std::time::Duration;

use anyhow::{anyhow, Result};

use crate::scenarios;

/// A report of the kernel that a scenario announces. It must appear.
pub struct Expected {
    /// A regular expression, in Python's syntax, over the whole report.
    pub pattern: &'static str,
    /// Why it is right that it appears.
    pub reason: &'static str,
}

/// The machine that a scenario runs in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// One for all scenarios that leave no trace.
    Shared,
    /// One for all scenarios that make the kernel report a fault. None of them takes
    /// the machine down, but what it is worth afterwards is for the next of them only.
    Faulty,
    /// One of its own, because the kernel is not itself any more afterwards, with
    /// this appended to the kernel's command line.
    Own(&'static str),
}

pub struct Scenario {
    pub name: &'static str,
    pub description: &'static str,
    pub limit: Duration,
    pub machine: Machine,
    /// The only kernel flavour for which it makes sense, if there is but one: delayed releases
    /// find nothing where no memory is given back but at the very end.
    pub flavour: Option<&'static str>,
    /// Whether it needs a kernel with the series for the PCI core.
    pub patched: bool,
    /// Whether the library cannot be unloaded after it, because it leaks what holds that.
    pub pins_library: bool,
    pub expected: &'static [Expected],
    pub run: fn() -> Result<()>,
}

impl Scenario {
    /// A scenario with what most of them have: time enough on a slow and busy machine, and no
    /// reports.
    pub const fn new(
        name: &'static str,
        description: &'static str,
        run: fn() -> Result<()>,
    ) -> Self {
        Self {
            name,
            description,
            limit: Duration::from_secs(300),
            machine: Machine::Shared,
            flavour: None,
            patched: false,
            pins_library: false,
            expected: &[],
            run,
        }
    }
}

/// The reason why a scenario cannot run here; an error that is no failure.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

pub fn find(name: &str) -> Result<&'static Scenario> {
    scenarios::ALL
        .iter()
        .find(|scenario| scenario.name == name)
        .ok_or_else(|| anyhow!("no scenario is called {name}"))
}
