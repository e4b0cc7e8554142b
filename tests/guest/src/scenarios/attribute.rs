// SPDX-License-Identifier: GPL-2.0

//! Attributes of the object, which end with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{ensure, Context, Result};

use crate::pci;
use crate::sample::{self, OpenFile, Sample, MODULE};
use crate::scenario::Scenario;

pub const READABLE: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "attribute-readable",
        "an attribute tells what the driver knows, and only root may write it",
        readable,
    )
};

fn readable() -> Result<()> {
    let sample = Sample::load()?;
    let path = sample.attribute()?;
    let mode = fs::metadata(&path)?.permissions().mode() & 0o7777;
    ensure!(mode == 0o644, "{} has mode {mode:o}", path.display());

    let file = sample.open_attribute()?;
    expect(&file, "0\n")?;
    let pf = sample.pf.clone();
    for count in [2, 0] {
        pf.set_vf_count(count)?;
        pci::expect_vfs(&pf, count)?;
        expect(&file, &format!("{count}\n"))?;
    }
    drop(file);
    sample.unload()
}

fn expect(file: &OpenFile, wanted: &str) -> Result<()> {
    let text = file.read().context("reading the attribute")?;
    ensure!(
        text == wanted,
        "the attribute reads {text:?}, not {wanted:?}"
    );
    Ok(())
}

pub const UNDER_OPEN_FILE: Scenario = Scenario::new(
    "attribute-under-open-file",
    "an attribute that is open holds up neither unbind nor rmmod, and answers ENODEV",
    under_open_file,
);

fn under_open_file() -> Result<()> {
    let sample = Sample::load()?;
    let path = sample.attribute()?;
    let file = sample.open_attribute()?;
    // One that has been read, and one whose first read comes too late.
    expect(&file, "0\n")?;
    let unread = sample.open_attribute()?;
    sample.unbind()?;
    file.expect_gone()?;
    unread.expect_gone()?;
    ensure!(!path.exists(), "{} is still there", path.display());

    sample.bind()?;
    let new = sample.open_attribute()?;
    expect(&new, "0\n")?;
    file.expect_dead()?;

    // The files stay open while both modules go.
    sample::unload_module(MODULE)?;
    new.expect_gone()?;
    sample::unload_library()?;
    for file in [&file, &unread, &new] {
        file.expect_dead()?;
    }
    Ok(())
}
