// SPDX-License-Identifier: GPL-2.0

//! Runs Holdfast's scenarios, as root inside the guest.
//!
//! Each scenario runs in a process of its own, so that one that fails leaves no
//! file open, and one that hangs can be told from one that is slow. Results are KTAP.
//! What the kernel prints meanwhile is not judged here but by the host, which
//! cannot be taken down by it; markers in the kernel log tell it which scenario
//! a report belongs to.

mod cxl;
mod demo;
mod kernel;
mod mailbox;
mod monitor;
mod pci;
mod race;
mod rounds;
mod runner;
mod sample;
mod scenario;
mod scenarios;
mod sys;
mod vf;
mod wait;

use std::process::ExitCode;

use anyhow::{bail, Result};
use lexopt::prelude::*;

const HELP: &str = "\
usage: holdfast-guest list             describe all scenarios as JSON
       holdfast-guest run [NAME...]    run these, or all, and print KTAP
       holdfast-guest child NAME       run one here, without any harness around it
       holdfast-guest part NAME       do what another process does in a scenario
       holdfast-guest cells            describe all cells of the matrix as JSON
       holdfast-guest race ARGUMENT... race some of them; see race.rs
       holdfast-guest demo             do what the demo tells about
";

fn main() -> ExitCode {
    match command() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("holdfast-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Result<ExitCode> {
    let mut parser = lexopt::Parser::from_env();
    let mut words = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            Value(word) => words.push(word.string()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let names = words.get(1..).unwrap_or_default();
    match words.first().map(String::as_str) {
        Some("list") => {
            println!("{}", runner::list());
            Ok(ExitCode::SUCCESS)
        }
        Some("run") => runner::run(names),
        Some("child") if names.len() == 1 => Ok(runner::child(scenario::find(&names[0])?)),
        Some("part") if names.len() == 1 => mailbox::part(&names[0]),
        Some("cells") => {
            println!("{}", race::list());
            Ok(ExitCode::SUCCESS)
        }
        Some("race") => race::run(names),
        Some("demo") => demo::run().map(|()| ExitCode::SUCCESS),
        _ => bail!("nothing to do\n{HELP}"),
    }
}
