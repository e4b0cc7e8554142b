// SPDX-License-Identifier: GPL-2.0

//! A driver goes that has forgotten all that it was given, or whose objects user space holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use rustix::io::Errno;

use crate::kernel::{self, Log};
use crate::pci::{self, Device};
use crate::sample::{self, OpenFile, FORGETFUL, LIBRARY};
use crate::scenario::{Machine, Scenario, Skip};
use crate::wait;

const CLASS: &str = "/sys/class/holdfast_forgetful";

/// What the driver registers below a device, and says when it is dropped.
const BOUND: [&str; 4] = [
    "what is bound of a part",
    "what is bound of a thing",
    "what is bound of an owner",
    "the value of managed",
];

/// What goes with the memory of these objects.
const DATA: [&str; 5] = [
    "the data of a part",
    "the data of a part that is not registered",
    "the data of a thing",
    "the data of an owner",
    "what is kept of a thing",
];

/// The data of files.
const FILES: [&str; 2] = ["a file of a thing", "a file of an owner"];

/// How many objects the driver makes below a device.
const OBJECTS: u32 = 4;

fn load(parameters: &std::ffi::CStr) -> Result<()> {
    for module in [LIBRARY, FORGETFUL] {
        if !kernel::module_is_available(module) {
            return Err(Skip(format!("{module}.ko is not in this guest")).into());
        }
    }
    kernel::insmod(LIBRARY).with_context(|| format!("insmod {LIBRARY}"))?;
    kernel::insmod_with(FORGETFUL, parameters).with_context(|| format!("insmod {FORGETFUL}"))
}

/// Unloads the driver, which must not hang, whatever is open.
fn unload() -> Result<()> {
    sample::unload_module(FORGETFUL)
}

/// How often the driver has said since then that each thing was dropped.
fn dropped(log: &mut Log) -> Result<BTreeMap<String, usize>> {
    let mut found = BTreeMap::new();
    for line in log.lines()? {
        let said = line.trim_end().strip_suffix(" is dropped");
        if let Some(what) = said.and_then(|said| said.split_once(&format!("{FORGETFUL}: "))) {
            *found.entry(what.1.to_owned()).or_default() += 1;
        }
    }
    Ok(found)
}

fn expect_dropped(log: &mut Log, expected: &[(&[&str], usize)]) -> Result<()> {
    let expected: BTreeMap<_, _> = expected
        .iter()
        .flat_map(|(names, times)| names.iter().map(|name| ((*name).to_owned(), *times)))
        .collect();
    let found = dropped(log)?;
    ensure!(
        found == expected,
        "these were dropped: {found:?}, not {expected:?}"
    );
    Ok(())
}

/// The files of the objects below a device, all open.
struct Files {
    nodes: Vec<OpenFile>,
    attributes: Vec<OpenFile>,
}

impl Files {
    /// Opens those whose device has `place` in its path.
    fn open(place: &str) -> Result<Self> {
        let (mut nodes, mut attributes) = (Vec::new(), Vec::new());
        for object in objects(place)? {
            let name = object.file_name().context("an object has a name")?;
            nodes.push(OpenFile::open(Path::new("/dev").join(name))?);
            attributes.push(OpenFile::open(object.join("ticks"))?);
        }
        ensure!(nodes.len() == 2, "{} objects below {place}", nodes.len());
        let files = Self { nodes, attributes };
        files.expect_alive()?;
        Ok(files)
    }

    fn all(&self) -> impl Iterator<Item = &OpenFile> {
        self.nodes.iter().chain(&self.attributes)
    }

    /// Fails unless work and timer of each object run.
    fn expect_alive(&self) -> Result<()> {
        for file in self.all() {
            let before = ticks(file)?;
            wait::until("the timer expires, and the work runs", || {
                Ok(ticks(file)? > before + 2)
            })?;
        }
        Ok(())
    }

    fn expect_gone(&self) -> Result<()> {
        self.all().try_for_each(OpenFile::expect_gone)
    }
}

fn ticks(file: &OpenFile) -> Result<u64> {
    let text = file.read().context("reading the ticks")?;
    text.trim_end()
        .parse()
        .with_context(|| format!("the ticks read {text:?}"))
}

/// The objects with a device node whose device has `place` in its path: the thing, and its owner.
fn objects(place: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(CLASS) else {
        return Ok(found);
    };
    for entry in entries {
        let path = entry?.path();
        if fs::read_link(&path)?.to_string_lossy().contains(place) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn expect_pinned() -> Result<()> {
    match kernel::rmmod(LIBRARY) {
        Err(Errno::WOULDBLOCK | Errno::BUSY) => Ok(()),
        other => bail!("rmmod of the library: {other:?}, not EWOULDBLOCK"),
    }
}

pub const FORGETS: Scenario = Scenario {
    // What was forgotten holds the library for ever.
    machine: Machine::Own(""),
    pins_library: true,
    ..Scenario::new(
        "forgetful-driver",
        "a driver that forgets all that it is given can be unbound and unloaded",
        forgets,
    )
};

fn forgets() -> Result<()> {
    let mut log = Log::from_now()?;
    load(c"")?;
    let pf = Device::find(pci::IGB)?;
    let ours = Files::open("/faux/")?;
    let first = Files::open(&pf.address)?;

    // The device of the driver is unbound: what is below it ends by its devres.
    let unbound = pf.clone();
    wait::within("unbind", move || unbound.unbind(FORGETFUL))?;
    first.expect_gone()?;
    ours.expect_alive()?;
    expect_dropped(&mut log, &[(&BOUND, 1), (&FILES, 1)])?;

    // And bound again.
    pf.bind(FORGETFUL)?;
    let second = Files::open(&pf.address)?;
    first.all().try_for_each(OpenFile::expect_dead)?;

    // The module goes: what is below the device that it has forgotten, which stays bound, ends by
    // that; the rest by the unbind.
    unload()?;
    for files in [&ours, &first, &second] {
        files.expect_gone()?;
    }
    ensure!(objects("")?.is_empty(), "{CLASS} has {:?}", objects("")?);
    expect_dropped(&mut log, &[(&BOUND, 2), (&FILES, 2)])?;

    // Closing them calls nothing of the driver.
    drop((ours, first, second));
    expect_dropped(&mut log, &[])?;

    // What is left holds the library, and nothing else does: each object, as a reference to it was
    // forgotten; the class of those that were never registered; the device that is still bound.
    let leaked = 3 * OBJECTS + 2;
    wait::until(&format!("the library has {leaked} users"), || {
        Ok(kernel::module_users(LIBRARY)? == leaked)
    })?;
    expect_pinned()
}

pub const KEEPS: Scenario = Scenario::new(
    "data-goes-with-module",
    "what open files hold the memory of is dropped while the module is there",
    keeps,
);

fn keeps() -> Result<()> {
    let mut log = Log::from_now()?;
    load(c"forget=0")?;
    let files = Files::open("/faux/")?;

    // The files hold the memory of the thing and of its owner, but not their data. That of the thing
    // can be dropped when the owner's and the part's have been, which refer to it; where releases
    // are delayed, rmmod waits for that of the part.
    unload()?;
    files.expect_gone()?;
    expect_dropped(&mut log, &[(&BOUND, 1), (&DATA, 1), (&FILES, 1)])?;
    expect_pinned()?;

    drop(files);
    expect_dropped(&mut log, &[])?;
    sample::unload_library()
}
