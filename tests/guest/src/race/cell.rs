// SPDX-License-Identifier: GPL-2.0

//! The cells of the matrix: two operations, and what the second one is done to.

use anyhow::{anyhow, Result};
use serde_json::{json, Value};

use super::operation::{
    meaningless, meet_for_an_instant, Operation, OF_ONE_PF, OF_PF, OF_PORT, OF_VF,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Pf,
    Port,
    Vf,
    SecondPf,
}

impl Target {
    pub fn name(self) -> &'static str {
        match self {
            Target::Pf => "pf",
            Target::Port => "port",
            Target::Vf => "vf",
            Target::SecondPf => "second-pf",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub a: Operation,
    pub b: Operation,
    pub target: Target,
}

/// All cells, also those that are not raced.
pub fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut pairs = |target, first: &[Operation], second: &[Operation], unordered: bool| {
        for (index, &a) in first.iter().enumerate() {
            let from = if unordered { index } else { 0 };
            for &b in &second[from..] {
                cells.push(Cell { a, b, target });
            }
        }
    };
    pairs(Target::Pf, OF_PF, OF_PF, true);
    pairs(Target::Port, OF_PF, OF_PORT, false);
    pairs(Target::Vf, OF_PF, OF_VF, false);
    pairs(Target::Vf, OF_VF, OF_VF, true);
    pairs(Target::Port, OF_VF, OF_PORT, false);
    // Whichever of two equal PFs is the second.
    pairs(Target::SecondPf, OF_ONE_PF, OF_ONE_PF, true);
    pairs(Target::SecondPf, OF_VF, OF_ONE_PF, false);
    cells
}

pub fn find(name: &str) -> Result<Cell> {
    all()
        .into_iter()
        .find(|cell| cell.name() == name)
        .ok_or_else(|| anyhow!("no cell is called {name}"))
}

impl Cell {
    pub fn name(&self) -> String {
        format!("{}+{}@{}", self.a.name(), self.b.name(), self.target.name())
    }

    /// The PF that the second operation is about.
    pub fn function_of_b(&self) -> usize {
        usize::from(self.target == Target::SecondPf)
    }

    pub fn meaningless(&self) -> Option<&'static str> {
        match self.target {
            // Nothing is in the way of binding one PF while the other has VFs.
            Target::SecondPf => None,
            _ => meaningless(self.a, self.b),
        }
    }

    pub fn uses_hotplug(&self) -> bool {
        self.a.is_hotplug() || self.b.is_hotplug()
    }

    pub fn cycles_vfs(&self) -> bool {
        self.a.cycles_vfs() || self.b.cycles_vfs()
    }

    pub fn describe(&self) -> Value {
        json!({
            "name": self.name(),
            "a": self.a.name(),
            "b": self.b.name(),
            "target": self.target.name(),
            "meaningless": self.meaningless(),
            "vfs": self.cycles_vfs(),
            "hotplug": self.uses_hotplug(),
            "instant": meet_for_an_instant(self.a, self.b),
        })
    }
}
