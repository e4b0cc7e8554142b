// SPDX-License-Identifier: GPL-2.0

//! What stock 7.3.4's own CXL core gets wrong. No module of this project is loaded: what is reported
//! here is not the library's fault, and a report that looks like these is not either.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{anyhow, ensure, Context, Result};

use crate::cxl::{self, Region};
use crate::kernel::{self, Log, Setting};
use crate::sample::LIBRARY;
use crate::scenario::{Expected, Machine, Scenario};
use crate::wait;

/// More than a task needs that was killed.
const LEFT: Duration = Duration::from_secs(10);

const fn scenario(
    name: &'static str,
    description: &'static str,
    expected: &'static [Expected],
    run: fn() -> Result<()>,
) -> Scenario {
    Scenario {
        machine: Machine::Own(""),
        flavour: Some("debug"),
        expected,
        ..Scenario::new(name, description, run)
    }
}

const LOCKDEP: Expected = Expected {
    pattern: concat!(
        r"possible circular locking dependency(?s:.)*kn->active(?s:.)*",
        r" interleave_ways_store\+",
    ),
    reason: "the region's lock is held while attributes are removed whose show takes it",
};
const HUNG: Expected = Expected {
    pattern: concat!(
        r"INFO: task ways:\d+ blocked for more than \d+ seconds",
        r"(?s:.)* kernfs_drain\+(?s:.)* interleave_ways_store\+",
    ),
    reason: "a write to interleave_ways waits for a read of target0, and that for the write",
};

/// Two tasks in the core that wait for each other, with the lock of all regions held.
struct Deadlock {
    /// Reads `target0`; a signal ends it.
    reader: Child,
    /// Writes `interleave_ways`; nothing ends it but the end of the reader.
    writer: JoinHandle<()>,
}

impl Deadlock {
    /// Returns when the kernel has said that the writer is stuck.
    fn of(region: &Region) -> Result<Self> {
        // Far more than any healthy task sleeps here, and soon enough for a test.
        let timeout = Setting::change("/proc/sys/kernel/hung_task_timeout_secs", "4")?;
        let mut log = Log::from_now()?;
        let stop = Arc::new(AtomicBool::new(false));
        let path = region.path();
        // Only builtins: the shell itself is what is stuck. The file is not there at times.
        let script = format!(
            "while :; do read line <{}/target0; done 2>/dev/null",
            path.display()
        );
        let mut reader = Command::new("sh").args(["-c", &script]).spawn()?;
        let writer = thread::Builder::new().name("ways".into()).spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::Acquire) {
                    for ways in ["1", "2"] {
                        // Refused only if it was interrupted.
                        let _ = kernel::write(path.join("interleave_ways"), ways);
                    }
                }
            }
        })?;
        let reported = log
            .wait_for("INFO: task ways:")
            .and_then(|()| log.wait_for("</TASK>"));
        stop.store(true, Ordering::Release);
        drop(timeout);
        if let Err(error) = reported {
            reader.kill()?;
            reader.wait()?;
            return Err(error);
        }
        Ok(Self { reader, writer })
    }

    /// Ends it: a signal takes the reader out of its show.
    fn end(mut self) -> Result<()> {
        ensure!(!self.writer.is_finished(), "the writer is not stuck");
        self.reader.kill()?;
        self.reader.wait()?;
        self.writer
            .join()
            .map_err(|_| anyhow!("the writer panicked"))
    }
}

fn begin() -> Result<()> {
    ensure!(!kernel::module_is_loaded(LIBRARY), "{LIBRARY} is loaded");
    cxl::load_core(2)
}

fn device(name: &str) -> PathBuf {
    Path::new("/sys/bus/cxl/devices").join(name)
}

pub const ATTRIBUTES: Scenario = scenario(
    "cxl-core-attributes",
    "stock core: interleave_ways against a read of target0 is a deadlock, which lockdep reports",
    &[LOCKDEP, HUNG],
    attributes,
);

fn attributes() -> Result<()> {
    begin()?;
    let region = Region::create_idle(1)?;
    Deadlock::of(&region)?.end()?;
    region.delete()
}

pub const KILLED_DELETE: Scenario = scenario(
    "cxl-core-killed-delete",
    "stock core: a delete_region that is killed leaves half a region behind, for good",
    &[LOCKDEP, HUNG],
    killed_delete,
);

fn killed_delete() -> Result<()> {
    begin()?;
    let decoder = cxl::targets()?.remove(0).decoder;
    let region = Region::create(1)?;
    let other = Region::create_idle(1)?;
    // It holds the lock that a delete needs.
    let deadlock = Deadlock::of(&other)?;
    let script = format!(
        "echo {} >{}",
        region.name,
        cxl::delete_attribute()?.display()
    );
    let mut delete = Command::new("sh")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .spawn()?;
    let state = format!("/proc/{}/stat", delete.id());
    wait::until("the delete waits for the lock", || {
        let stat = fs::read_to_string(&state).context("the delete has ended")?;
        Ok(!region.path().exists() && stat.contains(") D "))
    })?;
    delete.kill()?;
    // A core that has been mended waits for the lock nevertheless.
    let left = wait::until_within("the delete has ended", LEFT, || {
        Ok(delete.try_wait()?.is_some())
    });
    println!("killed: {}", left.map_or("it waits", |()| "it has ended"));
    deadlock.end()?;
    delete.wait()?;

    // The name is gone, and nobody can delete it again; the decoders have the region nevertheless,
    // and do not give the capacity back.
    ensure!(region.delete().is_err(), "{} is still there", region.name);
    let path = device(&decoder);
    let found = kernel::read(path.join("region"))?;
    ensure!(
        found == region.name,
        "this core has detached the targets: {decoder} has \"{found}\""
    );
    ensure!(
        kernel::write(path.join("dpa_size"), "0").is_err(),
        "{decoder} has given its capacity back"
    );
    println!("{decoder} has {found}, which does not exist any more");
    Ok(())
}
