// SPDX-License-Identifier: GPL-2.0

//! The faults that the library makes impossible, in C, to show that they are real and
//! that the harness sees them. Each module of tests/faulty says what is wrong with it;
//! its scenario passes only if the kernel says the same, and nothing else.
//!
//! All reports come before the scenario that they belong to has ended: what makes them
//! is a system call that is waited for.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use anyhow::{anyhow, ensure, Context, Result};

use crate::kernel::{self, Log, Setting};
use crate::pci::{self, Device};
use crate::scenario::{Expected, Machine, Scenario, Skip};
use crate::wait;

const fn scenario(
    name: &'static str,
    description: &'static str,
    expected: &'static [Expected],
    run: fn() -> Result<()>,
) -> Scenario {
    Scenario {
        machine: Machine::Faulty,
        flavour: Some("debug"),
        expected,
        ..Scenario::new(name, description, run)
    }
}

/// A faulty module with a platform device of its own, to which it gives its own name.
#[derive(Clone, Copy)]
struct Faulty {
    module: &'static str,
}

impl Faulty {
    /// Loads the module, which binds its driver to its device.
    fn load(module: &'static str) -> Result<Self> {
        insmod(module)?;
        let faulty = Self { module };
        ensure!(faulty.is_bound(), "{module} is not bound to its device");
        Ok(faulty)
    }

    fn path(&self, attribute: &str) -> PathBuf {
        ["/sys/devices/platform", self.module, attribute]
            .iter()
            .collect()
    }

    fn is_bound(&self) -> bool {
        self.path("driver").exists()
    }

    fn open(&self) -> Result<File> {
        let node = format!("/dev/{}", self.module);
        File::open(&node).with_context(|| format!("opening {node}"))
    }

    fn write(&self, attribute: &str, text: &str) -> Result<()> {
        kernel::write(self.path(attribute), text)
    }

    fn unbind(&self) -> Result<()> {
        kernel::write(
            format!("/sys/bus/platform/drivers/{0}/unbind", self.module),
            self.module,
        )
    }

    fn bind(&self) -> Result<()> {
        kernel::write(
            format!("/sys/bus/platform/drivers/{0}/bind", self.module),
            self.module,
        )
    }

    /// Waits until tasks have come to the module's gate, or past a mark, so many times.
    fn wait_until_reached(&self, count: u32) -> Result<()> {
        wait::until(&format!("{count} tasks got there"), || {
            Ok(kernel::read(self.path("reached"))?.parse::<u32>()? >= count)
        })
    }

    fn open_the_gate(&self) -> Result<()> {
        self.write("open", "1")
    }

    /// Unloads the module, which must still be possible.
    fn unload(self) -> Result<()> {
        rmmod(self.module)
    }
}

fn insmod(module: &str) -> Result<()> {
    if !kernel::module_is_available(module) {
        return Err(Skip(format!("{module}.ko is not in this guest")).into());
    }
    kernel::insmod(module).with_context(|| format!("insmod {module}"))
}

fn rmmod(module: &str) -> Result<()> {
    kernel::rmmod(module).with_context(|| format!("rmmod {module}"))
}

/// Starts a task that the kernel's reports call by this name.
fn spawn<T: Send + 'static>(
    name: &str,
    action: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    Ok(thread::Builder::new().name(name.into()).spawn(action)?)
}

fn join<T>(task: JoinHandle<T>) -> Result<T> {
    task.join().map_err(|_| anyhow!("a task panicked"))
}

pub const UNBIND_COMPLETION: Scenario = Scenario {
    ..scenario(
        "faulty-unbind-completion",
        "unbind waits in a completion for the close of a file: the kernel reports a hung task",
        &[Expected {
            pattern: concat!(
                r"INFO: task unbind:\d+ blocked for more than \d+ seconds",
                r"(?s:.)* wait_for_completion\+(?s:.)* faulty_remove\+\S+ \[unbind_completion\]",
            ),
            reason: "the unbind is stuck, uninterruptibly, for as long as the file is open",
        }],
        unbind_completion,
    )
};

fn unbind_completion() -> Result<()> {
    let faulty = Faulty::load("unbind_completion")?;
    // Far more than any healthy task sleeps here, and soon enough for a test.
    let timeout = Setting::change("/proc/sys/kernel/hung_task_timeout_secs", "4")?;
    let mut log = Log::from_now()?;
    let file = faulty.open()?;
    let unbind = spawn("unbind", move || faulty.unbind())?;
    // The whole of it: the stack of a task that runs again says nothing.
    let reported = log
        .wait_for("INFO: task unbind:")
        .and_then(|()| log.wait_for("</TASK>"));
    let stuck = !unbind.is_finished();
    // Before anything can fail: as long as this is open nothing can end the task.
    drop(file);
    join(unbind)??;
    drop(timeout);
    reported?;
    ensure!(stuck, "the unbind had returned before the file was closed");
    faulty.unload()
}

pub const DELETE_AGAINST_DELETE: Scenario = scenario(
    "faulty-delete-against-delete",
    "two deletes find the same region: devres warns about the second",
    &[UNREGISTERED_TWICE],
    delete_against_delete,
);

const UNREGISTERED_TWICE: Expected = Expected {
    pattern: concat!(
        r"WARNING: drivers/base/devres\.c:\d+ at devm_release_action\+",
        r"(?s:.)* delete_store\+\S+ \[double_unregister\]",
    ),
    reason: "the region that it found has been unregistered by somebody else",
};

fn delete_against_delete() -> Result<()> {
    let faulty = Faulty::load("double_unregister")?;
    let delete = move || faulty.write("delete", "region0");
    let first = spawn("first", delete)?;
    let second = spawn("second", delete)?;
    faulty.wait_until_reached(2)?;
    faulty.open_the_gate()?;
    join(first)??;
    join(second)??;
    faulty.unload()
}

pub const DELETE_AGAINST_UNBIND: Scenario = scenario(
    "faulty-delete-against-unbind",
    "a delete finds a region that the unbind then ends: devres warns about the delete",
    &[UNREGISTERED_TWICE],
    delete_against_unbind,
);

fn delete_against_unbind() -> Result<()> {
    let faulty = Faulty::load("double_unregister")?;
    let delete = spawn("delete", move || faulty.write("delete", "region0"))?;
    faulty.wait_until_reached(1)?;
    faulty.unbind()?;
    faulty.open_the_gate()?;
    join(delete)??;
    faulty.unload()
}

pub const DELETE_ACROSS_REBIND: Scenario = scenario(
    "faulty-delete-across-rebind",
    "a delete finds a region of the old binding when there is a new one: devres warns about it",
    &[UNREGISTERED_TWICE],
    delete_across_rebind,
);

fn delete_across_rebind() -> Result<()> {
    let faulty = Faulty::load("double_unregister")?;
    let delete = spawn("delete", move || faulty.write("delete", "region0"))?;
    faulty.wait_until_reached(1)?;
    faulty.unbind()?;
    faulty.bind()?;
    faulty.open_the_gate()?;
    // It says that it has deleted region0, and there still is one: the new binding's.
    join(delete)??;
    ensure!(faulty.path("region0").exists(), "the new region is gone");
    faulty.unload()
}

pub const DELETE_DURING_CONSTRUCTION: Scenario = scenario(
    "faulty-delete-during-construction",
    "a region is deleted while its constructor still writes to it: KASAN reports it",
    &[Expected {
        pattern: r"BUG: KASAN: slab-use-after-free in create_store\+\S+ \[construction\]",
        reason: "the constructor writes the parameters of a region that is deleted",
    }],
    delete_during_construction,
);

fn delete_during_construction() -> Result<()> {
    let faulty = Faulty::load("construction")?;
    let create = spawn("create", move || faulty.write("create", "1"))?;
    faulty.wait_until_reached(1)?;
    faulty.write("delete", "region0")?;
    faulty.open_the_gate()?;
    join(create)??;
    faulty.unload()
}

pub const CALL_IN_FLIGHT: Scenario = scenario(
    "faulty-call-in-flight",
    "a read is inside while the driver is unbound: KASAN reports what it goes on with",
    &[Expected {
        pattern: r"BUG: KASAN: slab-use-after-free in sensor_read\+\S+ \[call_in_flight\]",
        reason: "the read uses memory that devm_kzalloc has freed under it",
    }],
    call_in_flight,
);

fn call_in_flight() -> Result<()> {
    let faulty = Faulty::load("call_in_flight")?;
    let mut file = faulty.open()?;
    let read = spawn("read", move || file.read(&mut [0; 16]))?;
    faulty.wait_until_reached(1)?;
    faulty.unbind()?;
    ensure!(!read.is_finished(), "the read is not inside any more");
    faulty.open_the_gate()?;
    println!("read across the unbind: {:?}", join(read)?);
    faulty.unload()
}

pub const DEVRES_ORDER: Scenario = scenario(
    "faulty-devres-order",
    "remove frees what managed work still uses: KASAN reports the work",
    &[Expected {
        pattern: r"BUG: KASAN: slab-use-after-free in sampler_work\+\S+ \[devres_order\]",
        reason: "devres stops the work only after remove() has freed its buffer",
    }],
    devres_order,
);

fn devres_order() -> Result<()> {
    let faulty = Faulty::load("devres_order")?;
    faulty.write("interrupt", "1")?;
    // The work is running,
    faulty.wait_until_reached(1)?;
    let unbind = spawn("unbind", move || faulty.unbind())?;
    // and the buffer is freed.
    faulty.wait_until_reached(2)?;
    faulty.open_the_gate()?;
    join(unbind)??;
    faulty.unload()
}

pub const DEVM_RELEASE: Scenario = scenario(
    "faulty-devm-release",
    "a release callback of the driver's runs after devres: KASAN reports what it touches",
    &[
        Expected {
            pattern: r"BUG: KASAN: slab-use-after-free in transport_release\+\S+ \[devm_release\]",
            reason: "the driver's release callback reads memory that devm_kzalloc has freed",
        },
        Expected {
            pattern: concat!(
                r"BUG: KASAN: slab-use-after-free in (?!transport_release)",
                r"(?s:.)* transport_close\+\S+ \[devm_release\]",
            ),
            reason: "the reference that close() puts lies in that memory, too",
        },
    ],
    devm_release,
);

fn devm_release() -> Result<()> {
    let faulty = Faulty::load("devm_release")?;
    let file = faulty.open()?;
    faulty.unbind()?;
    drop(file);
    faulty.unload()
}

pub const DEVM_RELEASE_DELAYED: Scenario = Scenario {
    flavour: Some("debug-kobject-release"),
    ..scenario(
        "faulty-devm-release-delayed",
        "the same without any file, where the kernel takes its time to release a kobject",
        &[Expected {
            pattern: concat!(
                r"ODEBUG: free active .* object type: timer_list hint: kobject_delayed_cleanup",
                r"(?s:.)*WARNING: lib/debugobjects\.c(?s:.)* devres_release_all\+",
            ),
            reason: "devres frees memory in which a kobject waits for its release",
        }],
        devm_release_delayed,
    )
};

fn devm_release_delayed() -> Result<()> {
    let faulty = Faulty::load("devm_release")?;
    faulty.unbind()?;
    faulty.unload()
}

pub const MODULE: &str = "devm_chardev";
pub const NODE: &str = "/dev/devm-chardev0";

pub const DEVM_CHARDEV: Scenario = scenario(
    "faulty-devm-chardev",
    "devm_kzalloc around a struct device: KASAN reports the use after free",
    &[
        Expected {
            pattern: r"BUG: KASAN: slab-use-after-free in faulty_read\+\S+ \[devm_chardev\]",
            reason: "read() after the unbind, of memory that devm_kzalloc has freed",
        },
        Expected {
            pattern: r"BUG: KASAN: slab-use-after-free in (?!faulty_read)(?s:.)*__fput",
            reason: "close() after the unbind drops the reference that lies in freed memory",
        },
    ],
    devm_chardev,
);

fn devm_chardev() -> Result<()> {
    let pf = Device::find(pci::IGB)?;
    insmod(MODULE)?;
    let file = File::open(NODE).with_context(|| format!("opening {NODE}"))?;
    let mut text = [0; 64];
    let count = file.read_at(&mut text, 0)?;
    ensure!(
        text[..count].starts_with(b"status 0x"),
        "{NODE} says nothing"
    );
    pf.unbind(MODULE)?;
    // Whatever it answers; the host looks for KASAN's report of it, and of the close.
    let answer = file.read_at(&mut text, 0);
    println!("read after the unbind: {answer:?}");
    drop(file);
    rmmod(MODULE)
}
