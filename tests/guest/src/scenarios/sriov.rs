// SPDX-License-Identifier: GPL-2.0

//! PF and VFs with a driver each: what a VF's driver has of its PF, and who goes first.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;

use anyhow::{bail, ensure, Context, Result};
use rustix::io::Errno;

use crate::kernel;
use crate::pci::{self, Device, Overridden};
use crate::sample::{self, OpenFile, Sample, MODULE};
use crate::scenario::{Expected, Scenario};
use crate::vf::{self, VfSample, VF_DRIVER, VF_MODULE};
use crate::wait;

/// The PCI core's own, as in `unbind.rs`.
const RESCAN_LOCK: &[Expected] = super::unbind::RESCAN_LOCK;

pub const VF_DRIVER_READS: Scenario = Scenario::new(
    "vf-driver",
    "VFs are bound, read what their PF's driver has for them, and go when they are disabled",
    vf_driver,
);

fn vf_driver() -> Result<()> {
    let sample = VfSample::load()?;
    let pf = sample.pf();
    pf.set_vf_count(2)?;
    let files = sample.files(2)?;
    let mut numbers = Vec::new();
    for file in &files {
        let status = file.vf_status()?;
        ensure!(
            status.granted == 2,
            "a VF is told of {} VFs",
            status.granted
        );
        ensure!(
            (1..=2).contains(&status.greeting),
            "the greeting was number {}",
            status.greeting
        );
        numbers.push(status.number);
    }
    numbers.sort_unstable();
    ensure!(numbers == [0, 1], "the VFs have the numbers {numbers:?}");

    // A VF that is bound by itself is another binding, of the same PF.
    let vf = &pci::all(pci::IGB_VF)?[0];
    vf.unbind(VF_DRIVER)?;
    let dead = files.iter().filter(|file| file.expect_dead().is_ok());
    ensure!(dead.count() == 1, "not exactly one file is dead");
    vf.bind(VF_DRIVER)?;
    let again = sample.file_of(vf)?;
    let status = again.vf_status()?;
    ensure!(
        status.greeting == 3,
        "the greeting was number {}, not 3",
        status.greeting
    );

    // Twice: the second finds nothing to do.
    for _ in 0..2 {
        pf.set_vf_count(0)?;
        pci::expect_vfs(pf, 0)?;
    }
    for file in files.iter().chain([&again]) {
        file.expect_gone()?;
    }
    drop((files, again));
    sample.unload()
}

pub const UNBIND_PF: Scenario = Scenario {
    expected: RESCAN_LOCK,
    ..Scenario::new(
        "vf-unbind-pf",
        "unbinding the PF while VFs' files are read unbinds the VFs first",
        unbind_pf,
    )
};

fn unbind_pf() -> Result<()> {
    let sample = VfSample::load()?;
    let pf = sample.pf().clone();
    for _ in 0..3 {
        pf.set_vf_count(2)?;
        under_readers(&sample, "unbind of the PF", {
            let pf = pf.clone();
            move || pf.unbind(sample::DRIVER)
        })?;
        pci::expect_vfs(&pf, 0)?;
        pf.bind(sample::DRIVER)?;
    }
    sample.unload()
}

pub const REMOVE_PF: Scenario = Scenario::new(
    "vf-remove-pf",
    "removing the PF while VFs' files are read unbinds the VFs first",
    remove_pf,
);

fn remove_pf() -> Result<()> {
    let sample = VfSample::load()?;
    let pf = sample.pf().clone();
    pf.set_vf_count(2)?;
    under_readers(&sample, "removal of the PF", {
        let pf = pf.clone();
        move || pf.remove()
    })?;
    ensure!(!pf.exists(), "the PF is still there");
    ensure!(pci::all(pci::IGB_VF)?.is_empty(), "VFs are still there");
    pci::rescan()?;
    pf.set_vf_count(2)?;
    let files = sample.files(2)?;
    files[0].vf_status()?;
    drop(files);
    sample.unload()
}

pub const RMMOD_PF: Scenario = Scenario::new(
    "vf-rmmod-pf",
    "unloading the PF's driver while VFs' files are read unbinds the VFs first",
    rmmod_pf,
);

fn rmmod_pf() -> Result<()> {
    let sample = VfSample::load()?;
    let pf = sample.pf().clone();
    pf.set_vf_count(2)?;
    under_readers(&sample, "rmmod of the PF's driver", || {
        kernel::rmmod(MODULE).with_context(|| format!("rmmod {MODULE}"))
    })?;
    pci::expect_vfs(&pf, 0)?;
    // The VFs' driver is still there, and meets the next PF's.
    kernel::insmod(MODULE).with_context(|| format!("insmod {MODULE}"))?;
    pf.set_vf_count(1)?;
    let files = sample.files(1)?;
    ensure!(files[0].vf_status()?.greeting == 1, "an old PF was greeted");
    // Whoever unloads the VFs' driver leaves the VFs.
    kernel::rmmod(VF_MODULE).with_context(|| format!("rmmod {VF_MODULE}"))?;
    pci::expect_vfs(&pf, 1)?;
    files[0].expect_gone()?;
    drop(files);
    pf.set_vf_count(0)?;
    sample.unload()
}

pub const RMMOD_ORDERS: Scenario = Scenario {
    // Delayed releases take 8 s of each rmmod.
    ..Scenario::new(
        "vf-rmmod-orders",
        "with VFs on, and their files read, both drivers are unloaded in either order",
        rmmod_orders,
    )
};

fn rmmod_orders() -> Result<()> {
    let sample = VfSample::load()?;
    let pf = sample.pf().clone();
    let unload = |module| kernel::rmmod(module).with_context(|| format!("rmmod {module}"));
    let load = |module| kernel::insmod(module).with_context(|| format!("insmod {module}"));

    pf.set_vf_count(2)?;
    under_readers(&sample, "rmmod of the PF's driver", move || unload(MODULE))?;
    pci::expect_vfs(&pf, 0)?;
    unload(VF_MODULE)?;

    load(MODULE)?;
    load(VF_MODULE)?;
    pf.set_vf_count(2)?;
    under_readers(&sample, "rmmod of the VFs' driver", move || {
        unload(VF_MODULE)
    })?;
    // They are there, without a driver, and go with that of the PF.
    pci::expect_vfs(&pf, 2)?;
    for vf in pci::all(pci::IGB_VF)? {
        ensure!(vf.driver().is_none(), "{} has a driver", vf.address);
    }
    wait::within("rmmod of the PF's driver, next", move || unload(MODULE))?;
    pci::expect_vfs(&pf, 0)?;
    sample::unload_library()
}

/// How many MSI-X vectors a VF of the sample has by itself.
const VECTORS_EACH: u32 = 3;

pub const MSIX_COUNT: Scenario = Scenario::new(
    "vf-msix-count",
    "VFs without a driver are given MSI-X vectors, never more than there are, until they go",
    msix_count,
);

fn msix_count() -> Result<()> {
    let sample = VfSample::load()?;
    let pf = sample.pf();
    let number = |file| -> Result<u32> { Ok(kernel::read(pf.path().join(file))?.parse()?) };
    let total = number("sriov_vf_total_msix")?;
    let possible = number("sriov_totalvfs")?;
    ensure!(
        total == possible * VECTORS_EACH,
        "sriov_vf_total_msix is {total}, with {possible} VFs possible"
    );

    pf.set_vf_count(2)?;
    let vfs = pci::all(pci::IGB_VF)?;
    let set = |vf: usize, text: &str| set(&msix_count_of(&vfs[vf]), text);
    let vectors = |vf: usize| -> Result<u32> { Ok(sample.file_of(&vfs[vf])?.vf_status()?.vectors) };
    let expect = |what: &str, found: Result<(), Errno>, wanted: Result<(), Errno>| {
        ensure!(found == wanted, "{what}: {found:?}, not {wanted:?}");
        Ok(())
    };
    for vf in 0..2 {
        ensure!(vectors(vf)? == VECTORS_EACH, "not as many as by itself");
        expect("under a driver", set(vf, "5"), Err(Errno::BUSY))?;
        ensure!(vectors(vf)? == VECTORS_EACH, "refused, and changed");
    }

    vfs[0].unbind(VF_DRIVER)?;
    expect("without a driver", set(0, "5"), Ok(()))?;
    vfs[0].bind(VF_DRIVER)?;
    ensure!(vectors(0)? == 5, "the next driver is told {}", vectors(0)?);
    ensure!(vectors(1)? == VECTORS_EACH, "the other VF has other ones");
    expect("under a driver again", set(0, "6"), Err(Errno::BUSY))?;

    // Each VF can have all that the other one has not.
    for vf in &vfs {
        if vf.driver().is_some() {
            vf.unbind(VF_DRIVER)?;
        }
    }
    let left = total - VECTORS_EACH;
    let more = (left + 1).to_string();
    expect("too many", set(0, &more), Err(Errno::NOSPC))?;
    expect("far too many", set(0, "2147483647"), Err(Errno::NOSPC))?;
    expect("less than none", set(0, "-1"), Err(Errno::INVAL))?;
    expect("all that are left", set(0, &left.to_string()), Ok(()))?;
    expect("one more", set(1, "4"), Err(Errno::NOSPC))?;
    expect("what it has", set(1, "3"), Ok(()))?;
    vfs[0].bind(VF_DRIVER)?;
    ensure!(vectors(0)? == left, "{} of {left} vectors", vectors(0)?);
    vfs[0].unbind(VF_DRIVER)?;
    expect("as many as by itself", set(0, "0"), Ok(()))?;
    expect("all that are left now", set(1, &left.to_string()), Ok(()))?;
    for vf in &vfs {
        vf.bind(VF_DRIVER)?;
    }
    let each = (vectors(0)?, vectors(1)?);
    ensure!(each == (VECTORS_EACH, left), "the VFs have {each:?}");

    pf.set_vf_count(0)?;
    for vf in 0..2 {
        expect("of a VF that is gone", set(vf, "1"), Err(Errno::NOENT))?;
    }
    ensure!(number("sriov_vf_total_msix")? == total, "the total changed");
    pf.set_vf_count(2)?;
    for vf in 0..2 {
        let count = vectors(vf)?;
        ensure!(
            count == VECTORS_EACH,
            "a new VF has {count} vectors of an old one"
        );
    }

    let pf = pf.clone();
    sample.unload()?;
    let without = kernel::read(pf.path().join("sriov_vf_total_msix"))?;
    ensure!(without == "0", "{without} vectors without a driver");
    Ok(())
}

fn msix_count_of(vf: &Device) -> PathBuf {
    vf.path().join("sriov_vf_msix_count")
}

/// On a stock kernel this is one of the core's own deadlocks.
pub const MSIX_COUNT_AGAINST_REMOVAL: Scenario = Scenario {
    flavour: Some("debug"),
    patched: true,
    ..Scenario::new(
        "vf-msix-count-race-removal",
        "writing sriov_vf_msix_count of VFs that are being disabled or removed gets an answer",
        msix_count_against_removal,
    )
};

fn msix_count_against_removal() -> Result<()> {
    // Without the VFs' driver, under which the write would be refused at once.
    let sample = Sample::load()?;
    let written = Arc::new(AtomicUsize::new(0));
    for round in 0..ROUNDS {
        let pf = sample.pf.clone();
        pf.set_vf_count(2)?;
        let vfs = pci::all(pci::IGB_VF)?;
        ensure!(vfs.len() == 2, "{} VFs are there", vfs.len());
        let before = written.load(Ordering::Relaxed);
        let (ended, answers) = mpsc::channel();
        for vf in &vfs {
            let path = msix_count_of(vf);
            let file = OpenOptions::new().write(true).open(&path);
            let file = file.with_context(|| format!("opening {}", path.display()))?;
            let (ended, written) = (ended.clone(), written.clone());
            // Nobody waits for its end: it may never come.
            thread::spawn(move || {
                let last = write_until_refused(&file, &written);
                let _ = ended.send(last);
            });
        }
        wait::until("both files are written to", || {
            Ok(written.load(Ordering::Relaxed) >= before + 8)
        })?;
        wait::within("VFs go", move || {
            // Alone, and with their PF. They cannot be removed one by one.
            match round % 2 {
                0 => pf.set_vf_count(0),
                _ => pf.remove(),
            }
        })?;
        for _ in 0..2 {
            let last = answers
                .recv_timeout(wait::LIMIT)
                .context("a write to the file of a VF that is gone has no answer")?;
            // The PF may have lost its driver before the VF was gone.
            ensure!(
                last == Errno::NODEV || (round % 2 == 1 && last == Errno::OPNOTSUPP),
                "the last write gives: {last}"
            );
        }
        if !sample.pf.exists() {
            pci::rescan()?;
        }
        pci::expect_vfs(&sample.pf, 0)?;
    }
    println!(
        "{ROUNDS} rounds, {} writes to sriov_vf_msix_count",
        written.load(Ordering::Relaxed)
    );
    sample.unload()
}

/// Writes to a file again and again; returns why it cannot any more.
fn write_until_refused(file: &File, written: &AtomicUsize) -> Errno {
    loop {
        match file.write_at(b"4", 0) {
            Ok(_) => {
                written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return Errno::from_io_error(&error).unwrap_or(Errno::IO),
        }
    }
}

/// Does `action` while each VF's file is read by a thread of its own, which must have read before,
/// and be told ENODEV after.
fn under_readers(
    sample: &VfSample,
    what: &str,
    action: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<()> {
    let files = sample.files(2)?;
    let reading = AtomicUsize::new(0);
    thread::scope(|scope| {
        let readers: Vec<_> = files
            .iter()
            .map(|file| {
                let reading = &reading;
                scope.spawn(move || read_until_gone(file, reading))
            })
            .collect();
        let started = wait::until("all readers have read", || {
            Ok(reading.load(Ordering::Relaxed) == files.len()
                || readers.iter().any(|reader| reader.is_finished()))
        });
        // In any case, since it is what ends the readers.
        let done = wait::within(what, action).map(drop).and(started);
        for reader in readers {
            match reader.join() {
                Ok(result) => result?,
                Err(_) => bail!("a reader panicked"),
            }
        }
        done
    })?;
    for file in &files {
        file.expect_dead()?;
    }
    vf::expect_no_class_device()
}

fn read_until_gone(file: &OpenFile, reading: &AtomicUsize) -> Result<()> {
    let mut first = true;
    loop {
        match file.read() {
            Ok(text) => {
                ensure!(text.starts_with("vf "), "a read gave {text:?}");
                if first {
                    reading.fetch_add(1, Ordering::Relaxed);
                    first = false;
                }
            }
            Err(Errno::NODEV) => return Ok(()),
            Err(error) => bail!("a read failed: {error}"),
        }
    }
}

pub const OWN_ATTRIBUTE: Scenario = Scenario::new(
    "vfs-own-attribute",
    "the driver's own attribute enables and disables VFs, and refuses what cannot be",
    own_attribute,
);

fn own_attribute() -> Result<()> {
    let sample = Sample::load()?;
    let path = sample.attribute()?;
    let set = |text: &str| set(&path, text);
    for count in [2, 2, 0, 0, 7, 0] {
        set(&count.to_string()).map_err(|error| error_of(count, error))?;
        pci::expect_vfs(&sample.pf, count)?;
    }
    ensure!(set("9") == Err(Errno::RANGE), "9 VFs are not refused");
    ensure!(set("-1") == Err(Errno::INVAL), "-1 VFs are not refused");
    ensure!(set("two") == Err(Errno::INVAL), "\"two\" is not refused");
    set("1").map_err(|error| error_of(1, error))?;
    ensure!(set("2") == Err(Errno::BUSY), "2 after 1 is not refused");
    pci::expect_vfs(&sample.pf, 1)?;
    // What one file has enabled the other disables.
    sample.pf.set_vf_count(0)?;
    pci::expect_vfs(&sample.pf, 0)?;
    sample.unload()
}

fn error_of(count: usize, error: Errno) -> anyhow::Error {
    anyhow::anyhow!("writing {count} to the attribute gives: {error}")
}

/// Writes to an attribute; the error is the system call's.
fn set(path: &Path, text: &str) -> Result<(), Errno> {
    let written = OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// How often what is raced against comes round.
const ROUNDS: usize = 6;

pub const OWN_ATTRIBUTE_AGAINST_REMOVE: Scenario = Scenario::new(
    "vfs-own-attribute-race-remove",
    "VFs come and go by the driver's own attribute while the PF is removed and found again",
    own_attribute_against_remove,
);

fn own_attribute_against_remove() -> Result<()> {
    let sample = Sample::load()?;
    let pf = sample.pf.clone();
    against(&sample, move || {
        pf.remove()?;
        pci::rescan()
    })
}

pub const OWN_ATTRIBUTE_AGAINST_NUMVFS: Scenario = Scenario::new(
    "vfs-own-attribute-race-numvfs",
    "VFs come and go by the driver's own attribute and by sriov_numvfs at once",
    own_attribute_against_numvfs,
);

fn own_attribute_against_numvfs() -> Result<()> {
    let sample = Sample::load()?;
    let pf = sample.pf.clone();
    against(&sample, move || {
        // Either may find that the other was first.
        let _ = pf.set_vf_count(2);
        let _ = pf.set_vf_count(0);
        Ok(())
    })
}

/// Does `action` again and again while another thread writes to the driver's own attribute.
fn against(sample: &Sample, action: impl Fn() -> Result<()>) -> Result<()> {
    let ended = AtomicBool::new(false);
    let written = AtomicUsize::new(0);
    let acted = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                // The object comes and goes with the PF.
                let Ok(path) = sample.attribute() else {
                    continue;
                };
                for count in ["2", "0"] {
                    match set(&path, count) {
                        Ok(()) => {
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                        // The other side was first, or has taken the object away.
                        Err(Errno::BUSY | Errno::NODEV | Errno::NOENT) => {}
                        Err(error) => bail!("writing {count} to the attribute gives: {error}"),
                    }
                }
            }
            Ok(())
        });
        let acted = (0..ROUNDS).try_for_each(|round| {
            let before = written.load(Ordering::Relaxed);
            action().with_context(|| format!("round {round}"))?;
            // So that each side goes on under the other.
            wait::until("the attribute was written", || {
                Ok(written.load(Ordering::Relaxed) > before || writer.is_finished())
            })
        });
        ended.store(true, Ordering::Relaxed);
        match writer.join() {
            Ok(result) => result.and(acted),
            Err(_) => bail!("the writer panicked"),
        }
    });
    acted?;
    println!(
        "{ROUNDS} rounds, {} writes to the attribute",
        written.load(Ordering::Relaxed)
    );
    sample.pf.set_vf_count(0)?;
    pci::expect_vfs(&sample.pf, 0)?;
    sample.open()?.status()?;
    kernel::rmmod(MODULE).with_context(|| format!("rmmod {MODULE}"))?;
    sample::unload_library()
}

pub const RMMOD_AGAINST_NUMVFS: Scenario = Scenario::new(
    "rmmod-race-numvfs",
    "the driver is unloaded and loaded while sriov_numvfs is written to",
    rmmod_against_numvfs,
);

fn rmmod_against_numvfs() -> Result<()> {
    let sample = Sample::load()?;
    let pf = sample.pf.clone();
    let ended = AtomicBool::new(false);
    let written = AtomicUsize::new(0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                for count in [2, 0] {
                    // There may be no driver, about which the kernel says something each time.
                    if pf.driver().is_some() && pf.set_vf_count(count).is_ok() {
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let raced = (0..ROUNDS).try_for_each(|_| {
            let before = written.load(Ordering::Relaxed);
            wait::until("VFs were enabled", || {
                Ok(written.load(Ordering::Relaxed) > before)
            })?;
            kernel::rmmod(MODULE).with_context(|| format!("rmmod {MODULE}"))?;
            ensure!(
                pci::all(pci::IGB_VF)?.is_empty(),
                "VFs are left without a driver of their PF"
            );
            kernel::insmod(MODULE).with_context(|| format!("insmod {MODULE}"))
        });
        ended.store(true, Ordering::Relaxed);
        match writer.join() {
            Ok(()) => raced,
            Err(_) => bail!("the writer panicked"),
        }
    })?;
    println!(
        "{ROUNDS} rounds, {} writes to sriov_numvfs",
        written.load(Ordering::Relaxed)
    );
    pf.set_vf_count(0)?;
    sample.unload()
}

pub const NVME: Scenario = Scenario::new(
    "vf-driver-nvme",
    "the same two drivers take an NVMe controller and its VFs, by driver_override",
    nvme,
);

fn nvme() -> Result<()> {
    let sample = VfSample::load()?;
    let pf = Device::find(pci::NVME)?;
    let _overridden = Overridden(pf.clone());
    pf.bind_by_override(sample::DRIVER)?;
    let file = OpenFile::open(sample::node_of(sample::CLASS, &pf)?)?;
    let status = file.status()?;
    println!("the controller's version is {:#010x}", status.register);

    // The VFs have the ids of the PF, whose driver refuses them.
    pf.set_vf_count(2)?;
    ensure!(pf.vf_links()? == 2, "{} VFs are linked", pf.vf_links()?);
    ensure!(file.status()?.vfs == 2, "the driver does not know of 2 VFs");
    let vfs = nvme_vfs(&pf)?;
    ensure!(vfs.len() == 2, "{} VFs are there", vfs.len());
    ensure!(
        vfs[0].bind_by_override(sample::DRIVER).is_err(),
        "a VF is bound to the driver of PFs"
    );
    let mut files = Vec::new();
    for vf in &vfs {
        vf.bind_by_override(VF_DRIVER)?;
        files.push(sample.file_of(vf)?);
    }
    for file in &files {
        let granted = file.vf_status()?.granted;
        ensure!(granted == 2, "a VF is told of {granted} VFs");
    }
    // The other PF has nothing to do with it.
    ensure!(sample.pf().vf_count()? == 0, "the igb has VFs");

    wait::within("removal of the controller", {
        let pf = pf.clone();
        move || pf.remove()
    })?;
    for file in files.iter().chain([&file]) {
        file.expect_dead()?;
    }
    drop((files, file));
    pci::rescan()?;
    pf.bind_by_override(sample::DRIVER)?;
    pf.set_vf_count(1)?;
    // With the VF on.
    sample.unload()?;
    ensure!(pf.vf_count()? == 0, "the controller still has VFs");
    Ok(())
}

/// The VFs of the controller, whose ids are those of the PF.
fn nvme_vfs(pf: &Device) -> Result<Vec<Device>> {
    let mut vfs = pci::all(pci::NVME)?;
    vfs.retain(|vf| vf.address != pf.address);
    Ok(vfs)
}
