// SPDX-License-Identifier: GPL-2.0

//! Every allocation of every constructor fails once, in turn.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};

use crate::kernel;
use crate::mailbox::{self, Mailbox};
use crate::sample::{self, Sample};
use crate::scenario::{Expected, Scenario};
use crate::sys::{Access, Mapping};

/// Which of the allocations of this thread, from now on, fails; 0 for none.
const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

const FAILSLAB: &str = "/sys/kernel/debug/failslab";

/// Far more than any operation here has. One that never comes to its end is a failure.
const MOST: usize = 5000;

pub const BIND: Scenario = Scenario {
    limit: Duration::from_secs(400),
    flavour: Some("debug"),
    expected: &[
        Expected {
            pattern: r"kobject_add_internal failed for holdfast.*error: -12",
            reason: "the driver core says so when an allocation of its own fails",
        },
        Expected {
            pattern: r"kmemleak: Cannot allocate a scan area",
            reason: "so does kmemleak",
        },
    ],
    ..Scenario::new(
        "allocations-of-bind",
        "each allocation of a bind fails in turn; the driver is bound, or nothing is left of it",
        bind,
    )
};

fn bind() -> Result<()> {
    let sample = Sample::load()?;
    sample.unbind()?;

    let failed = each_allocation(
        || {
            // Opened before, as only the bind itself is to fail.
            let bind = OpenOptions::new()
                .write(true)
                .open(format!("/sys/bus/pci/drivers/{}/bind", sample::DRIVER))?;
            let address = sample.pf.address.clone();
            Ok(move || (&bind).write_all(address.as_bytes()).is_ok())
        },
        |bound| match bound {
            true => {
                sample.expect_bound()?;
                sample.unbind().map(drop)
            }
            false => {
                ensure!(
                    sample.pf.driver().is_none(),
                    "the bind failed, and the igb is bound"
                );
                sample::expect_no_class_device()
            }
        },
    )?;
    println!("{failed} allocations of a bind failed, one at a time");

    // Nothing is worn out.
    sample.bind()?;
    sample.unload()
}

pub const FILE: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "allocations-of-files",
        "each allocation of an open, a mapping and a write fails in turn",
        file,
    )
};

fn file() -> Result<()> {
    let mailbox = Mailbox::load()?;

    let failed = each_allocation(|| Ok(|| File::open(mailbox::NODE).is_ok()), |_| Ok(()))?;
    println!("{failed} allocations of an open failed, one at a time");

    let failed = each_allocation(
        || {
            let file = mailbox::open_nonblocking()?;
            Ok(move || Mapping::new(&file, 1, Access::Read).is_ok())
        },
        |_| Ok(()),
    )?;
    println!("{failed} allocations of a mapping failed, one at a time");

    let failed = each_allocation(
        || {
            let file = mailbox::open_nonblocking()?;
            Ok(move || mailbox::write(&file, b"x").is_ok())
        },
        |_| Ok(()),
    )?;
    println!("{failed} allocations of a write failed, one at a time");

    mailbox.end()?;
    sample::unload_library()
}

/// Calls what `prepare` returns again and again, with the first, the second, ... allocation of it
/// failing, until it has none left to fail, and `check` after each call. How many have failed.
fn each_allocation<O: FnOnce() -> bool>(
    prepare: impl Fn() -> Result<O>,
    check: impl Fn(bool) -> Result<()>,
) -> Result<usize> {
    // Also those that may sleep, and without a word about each.
    for (name, value) in [("ignore-gfp-wait", "N"), ("verbose", "0")] {
        kernel::write(format!("{FAILSLAB}/{name}"), value)
            .context("does this kernel have FAILSLAB?")?;
    }
    // Opened before, and kept: to open it again needs an allocation.
    let fail_nth = OpenOptions::new().read(true).write(true).open(FAIL_NTH)?;
    for nth in 1..MOST {
        let operation = prepare()?;
        fail_nth.write_all_at(nth.to_string().as_bytes(), 0)?;
        let succeeded = operation();
        let mut left = [0; 20];
        let length = fail_nth.read_at(&mut left, 0)?;
        fail_nth.write_all_at(b"0", 0)?;
        let left: usize = std::str::from_utf8(&left[..length])?.trim_end().parse()?;
        check(succeeded).with_context(|| format!("after allocation {nth} had failed"))?;
        if left != 0 {
            ensure!(succeeded, "failed without a failing allocation");
            ensure!(nth > 1, "there was no allocation that could fail");
            return Ok(nth - 1);
        }
    }
    bail!("still allocating after {MOST} allocations")
}
