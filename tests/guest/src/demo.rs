// SPDX-License-Identifier: GPL-2.0

//! What the demo does in the guest. Each step is reported as one line of JSON; the
//! host tells the story around it, and fails if a step is missing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use serde_json::{json, Value};

use crate::cxl::{self, Region};
use crate::kernel;
use crate::mailbox::Part;
use crate::pci::{self, Device};
use crate::sample::{self, Sample, MODULE};
use crate::scenarios::{faulty, region};
use crate::wait;

fn tell(step: &str, mut facts: Value) {
    facts["step"] = step.into();
    println!("{facts}");
}

/// Sections of the kernel's log, by which the host knows who caused a report.
fn section<T>(name: &str, story: impl FnOnce() -> Result<T>) -> Result<T> {
    kernel::log(&format!("holdfast: scenario {name} begins"))?;
    let result = story();
    kernel::log(&format!("holdfast: scenario {name} ends"))?;
    result
}

pub fn run() -> Result<()> {
    section("sample", the_sample)?;
    section("stock-c", stock_c)?;
    section("holdfast", holdfast)?;
    section("region", region)
}

fn the_sample() -> Result<()> {
    let sample = Sample::load()?;
    let node = sample.node()?;
    tell(
        "loaded",
        json!({"address": sample.pf.address, "driver": sample.pf.driver(), "node": node}),
    );
    let file = sample.open()?;
    let register = file.status()?.register;
    tell(
        "read",
        json!({"text": file.read()?.trim_end(), "register": register}),
    );
    sample.pf.set_vf_count(2)?;
    pci::expect_vfs(&sample.pf, 2)?;
    let vfs: Vec<_> = pci::all(pci::IGB_VF)?
        .into_iter()
        .map(|vf| vf.address)
        .collect();
    tell(
        "vfs-on",
        json!({"text": file.read()?.trim_end(), "vfs": vfs}),
    );
    sample.pf.set_vf_count(0)?;
    pci::expect_vfs(&sample.pf, 0)?;
    tell("vfs-off", json!({"text": file.read()?.trim_end()}));
    drop(file);
    sample.unload()
}

fn stock_c() -> Result<()> {
    let pf = Device::find(pci::IGB)?;
    kernel::insmod(faulty::MODULE).with_context(|| format!("insmod {}", faulty::MODULE))?;
    let file = File::open(faulty::NODE).with_context(|| format!("opening {}", faulty::NODE))?;
    let mut text = [0; 64];
    let count = file.read_at(&mut text, 0)?;
    let before = String::from_utf8_lossy(&text[..count])
        .trim_end()
        .to_owned();
    let begin = Instant::now();
    pf.unbind(faulty::MODULE)?;
    let elapsed = begin.elapsed();
    let after = match file.read_at(&mut text, 0) {
        Ok(count) => String::from_utf8_lossy(&text[..count])
            .trim_end()
            .to_owned(),
        Err(error) => error.to_string(),
    };
    drop(file);
    tell(
        "stock-c",
        json!({"before": before, "after": after, "milliseconds": elapsed.as_millis() as u64}),
    );
    kernel::rmmod(faulty::MODULE).with_context(|| format!("rmmod {}", faulty::MODULE))
}

fn holdfast() -> Result<()> {
    let sample = Sample::load()?;
    let file = sample.open()?;
    let before = file.read()?.trim_end().to_owned();
    let pf = sample.pf.clone();
    let unbind = move || pf.unbind(sample::DRIVER);
    let ((), elapsed) = wait::quietly_within("unbind", unbind)?;
    sample::expect_no_class_device()?;
    file.expect_gone()?;
    drop(file);
    tell(
        "unbound",
        json!({"before": before, "milliseconds": elapsed.as_millis() as u64}),
    );

    sample.bind()?;
    let file = sample.open()?;
    file.status()?;
    sample.pf.set_vf_count(2)?;
    pci::expect_vfs(&sample.pf, 2)?;
    let pf = sample.pf.clone();
    let unbind = move || pf.unbind(sample::DRIVER);
    let ((), elapsed) = wait::quietly_within("unbind", unbind)?;
    pci::expect_vfs(&sample.pf, 0)?;
    file.expect_gone()?;
    tell(
        "no-vf-left",
        json!({"milliseconds": elapsed.as_millis() as u64}),
    );

    let remove_module = || kernel::rmmod(MODULE).with_context(|| format!("rmmod {MODULE}"));
    let ((), elapsed) = wait::quietly_within("rmmod", remove_module)?;
    file.expect_gone()?;
    ensure!(
        !kernel::module_is_loaded(MODULE),
        "{MODULE} is still loaded"
    );
    tell(
        "unloaded",
        json!({"milliseconds": elapsed.as_millis() as u64}),
    );
    drop(file);
    sample::unload_library()?;
    tell("library-unloaded", json!({}));
    Ok(())
}

fn region() -> Result<()> {
    const LENGTH: usize = 1 << 20;

    cxl::load()?;
    let ways = cxl::targets()?.len().min(2);
    let region = Region::create(ways)?;
    region.bind()?;
    let node = cxl::node()?;
    tell(
        "region",
        json!({"name": region.name, "node": node, "ways": ways, "size": region.size()}),
    );

    let file = cxl::open()?;
    file.write_all_at(&region::patterns(LENGTH, 0x5a), 0)?;
    let mut part = Part::start("region-touch")?;
    let sum = region::checksum(&region::mapped(&file, LENGTH)?);
    tell("region-written", json!({"checksum": format!("{sum:#x}")}));

    let deleted = region.clone();
    let ((), elapsed) = wait::quietly_within("delete_region", move || deleted.delete())?;
    region::expect_dead(&file)?;
    drop(file);
    part.go();
    let signal = part.signal()?;
    tell(
        "region-deleted",
        json!({"milliseconds": elapsed.as_millis() as u64, "signal": signal}),
    );

    cxl::delete_regions()?;
    let again = Region::create(ways)?;
    again.bind()?;
    let file = cxl::open()?;
    let found = region::checksum(&region::read_at(&file, LENGTH, 0)?);
    ensure!(found == sum, "checksum {found:#x}, not {sum:#x}");
    drop(file);
    tell("region-again", json!({"name": again.name}));
    cxl::delete_regions()?;
    cxl::unload()
}
