// SPDX-License-Identifier: GPL-2.0

//! Story 4 through real attributes: regions of the sample `region_registry`, created and deleted by
//! several tasks at once.
//!
//! The scenarios `faulty-delete-*` do the same to what is written after the old pattern of CXL.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;

use crate::kernel;
use crate::rounds::{self, Race};
use crate::sample::{self, LIBRARY};
use crate::scenario::{Scenario, Skip};
use crate::wait;

pub const MODULE: &str = "holdfast_region_registry";
const DRIVER: &str = "/sys/bus/auxiliary/drivers/holdfast_region_registry.holdfast_region_registry";
const DEVICE: &str = "holdfast_region_registry.decoder.0";
const DECODER: &str = "/sys/class/holdfast_decoder/holdfast-root0";
const REGIONS: &str = "/sys/class/holdfast_region";
const ENDPOINTS: &str = "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15";

fn load() -> Result<()> {
    for module in [LIBRARY, MODULE] {
        if !kernel::module_is_available(module) {
            return Err(Skip(format!("{module}.ko is not in this guest")).into());
        }
    }
    kernel::insmod(LIBRARY).with_context(|| format!("insmod {LIBRARY}"))?;
    kernel::insmod(MODULE).with_context(|| format!("insmod {MODULE}"))
}

fn unload() -> Result<()> {
    sample::unload_module(MODULE)?;
    ensure!(!Path::new(DECODER).exists(), "{DECODER} still exists");
    sample::unload_library()
}

/// The error of the system call behind an error of ours.
fn errno(error: &anyhow::Error) -> Option<Errno> {
    error
        .downcast_ref::<std::io::Error>()
        .and_then(Errno::from_io_error)
}

fn decoder(attribute: &str, text: &str) -> Result<()> {
    kernel::write(Path::new(DECODER).join(attribute), text)
}

fn create() -> Result<String> {
    let name = kernel::read(Path::new(DECODER).join("create_ram_region"))?;
    decoder("create_ram_region", &name)?;
    Ok(name)
}

fn set(region: &str, attribute: &str, text: &str) -> Result<()> {
    kernel::write(Path::new(REGIONS).join(region).join(attribute), text)
}

fn expect_free() -> Result<()> {
    let free = kernel::read(Path::new(DECODER).join("free_endpoints"))?;
    ensure!(free == ENDPOINTS, "free endpoints: {free}");
    let regions = kernel::read(Path::new(DECODER).join("regions"))?;
    ensure!(regions.is_empty(), "regions: {regions}");
    Ok(())
}

pub const LIFECYCLE: Scenario = Scenario::new(
    "registry-lifecycle",
    "regions are created, configured and deleted by name; a name that was deleted is gone",
    lifecycle,
);

fn lifecycle() -> Result<()> {
    load()?;
    expect_free()?;
    let first = create()?;
    let second = create()?;
    ensure!(
        (&*first, &*second) == ("region0", "region1"),
        "{first} {second}"
    );
    set(&first, "interleave_ways", "2")?;
    set(&first, "attach", "5")?;
    set(&first, "attach", "3")?;
    let busy = set(&second, "attach", "3");
    ensure!(
        busy.as_ref()
            .is_err_and(|error| errno(error) == Some(Errno::BUSY)),
        "an endpoint was attached twice: {busy:?}"
    );
    let ways = set(&first, "interleave_ways", "4");
    ensure!(ways.is_err(), "the ways of a region with targets were set");
    let targets = kernel::read(Path::new(REGIONS).join(&first).join("targets"))?;
    ensure!(targets == "5\n3", "targets: {targets}");
    let regions = kernel::read(Path::new(DECODER).join("regions"))?;
    ensure!(regions == "region0\nregion1", "regions: {regions}");

    decoder("delete_region", &first)?;
    let again = decoder("delete_region", &first);
    ensure!(
        again
            .as_ref()
            .is_err_and(|error| errno(error) == Some(Errno::NODEV)),
        "deleted again: {again:?}"
    );
    ensure!(create()? == first, "the name is not free");
    decoder("delete_region", &first)?;
    decoder("delete_region", &second)?;
    expect_free()?;
    create()?;
    unload()
}

pub const RACES: Scenario = Scenario::new(
    "registry-races",
    "creates, deletes and readers at once, also killed ones, and an rmmod in their midst",
    races,
);

/// Asks `what` again and again until `stop`; how often it was done, and how often not.
struct Count {
    done: AtomicUsize,
    refused: AtomicUsize,
}

fn races() -> Result<()> {
    let rounds = match kernel::has_option("CONFIG_DEBUG_KOBJECT_RELEASE") {
        // rmmod waits for the delayed releases of four levels of objects, one after the other.
        true => 1,
        false => kernel::race_rounds()?.unwrap_or(5),
    };
    let (mut created, mut deleted, mut lost, mut read) = (0, 0, 0, 0);
    for round in 0..rounds {
        load()?;
        let stop = AtomicBool::new(false);
        let new = || Count {
            done: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        };
        let (creates, deletes, reads) = (new(), new(), new());
        let until_stopped = |count: &Count, allowed: &[Errno], what: &dyn Fn() -> Result<()>| {
            while !stop.load(Ordering::Acquire) {
                match what() {
                    Ok(()) => count.done.fetch_add(1, Ordering::Relaxed),
                    Err(error) if errno(&error).is_some_and(|error| allowed.contains(&error)) => {
                        count.refused.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(error) => return Err(error),
                };
            }
            Ok(())
        };
        // The files of a region, and at last those of the decoder, go while they are used.
        const GONE: &[Errno] = &[Errno::NOENT, Errno::NODEV];
        const OR_BUSY: &[Errno] = &[Errno::NOENT, Errno::NODEV, Errno::BUSY];
        thread::scope(|scope| -> Result<()> {
            let tasks = [
                scope.spawn(|| until_stopped(&creates, OR_BUSY, &|| create().map(drop))),
                scope.spawn(|| {
                    until_stopped(&creates, OR_BUSY, &|| {
                        let region = create()?;
                        set(&region, "attach", "7")
                    })
                }),
                scope.spawn(|| {
                    until_stopped(&deletes, GONE, &|| decoder("delete_region", "region0"))
                }),
                scope.spawn(|| {
                    until_stopped(&deletes, GONE, &|| {
                        decoder("delete_region", "region1")?;
                        decoder("delete_region", "region0")
                    })
                }),
                scope.spawn(|| {
                    until_stopped(&reads, GONE, &|| {
                        kernel::read(format!("{REGIONS}/region0/interleave_ways"))?;
                        kernel::read(format!("{DECODER}/regions")).map(drop)
                    })
                }),
                scope.spawn(|| until_stopped(&deletes, GONE, &delete_and_be_killed)),
            ];
            let enough = wait::until("all of them have been at it", || {
                Ok([&creates, &deletes, &reads]
                    .iter()
                    .all(|count| count.done.load(Ordering::Relaxed) >= 20))
            });
            // In the midst of it; the file that a task is in does not keep the module.
            let unloaded = enough.and_then(|()| {
                wait::quietly_within("rmmod of the sample", || {
                    kernel::rmmod(MODULE).context("rmmod of the sample")
                })
            });
            stop.store(true, Ordering::Release);
            for task in tasks {
                task.join().expect("a task panicked")?;
            }
            unloaded.map(drop)
        })
        .with_context(|| format!("round {round}"))?;
        ensure!(!Path::new(DECODER).exists(), "{DECODER} still exists");
        created += creates.done.load(Ordering::Relaxed);
        lost += creates.refused.load(Ordering::Relaxed);
        deleted += deletes.done.load(Ordering::Relaxed);
        read += reads.done.load(Ordering::Relaxed);
        sample::unload_library()?;
    }
    println!("{rounds} rounds: {created} created ({lost} refused), {deleted} deleted, {read} read");

    // Whatever became of them, nothing of them is left.
    load()?;
    expect_free()?;
    ensure!(create()? == "region0", "a name is not free");
    unload()
}

/// A delete in a process that is killed meanwhile: it is done in full, or not at all.
fn delete_and_be_killed() -> Result<()> {
    let mut child = Command::new("sh")
        .args([
            "-c",
            &format!("exec 2>&-; while echo region0 >{DECODER}/delete_region; do :; done"),
        ])
        .stdout(Stdio::null())
        .spawn()?;
    // At a moment that nobody has chosen.
    let _ = kernel::read(format!("{REGIONS}/region0/targets"));
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn unbind() -> Result<()> {
    kernel::write(Path::new(DRIVER).join("unbind"), DEVICE)
}

fn bind() -> Result<()> {
    kernel::write(Path::new(DRIVER).join("bind"), DEVICE)
}

/// Makes a region with two targets.
fn create_with_targets() -> Result<String> {
    let region = create()?;
    set(&region, "interleave_ways", "2")?;
    set(&region, "attach", "7")?;
    set(&region, "attach", "3")?;
    Ok(region)
}

/// The file of an attribute of the decoder that is there now: what is written to it later never
/// comes to another one.
fn open(attribute: &str) -> Result<File> {
    let path = Path::new(DECODER).join(attribute);
    File::options()
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))
}

/// Whether what was asked for was done, and not refused because there is no such thing.
fn was_done(answer: io::Result<usize>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

const fn row(name: &'static str, description: &'static str, run: fn() -> Result<()>) -> Scenario {
    Scenario {
        flavour: Some("debug"),
        ..Scenario::new(name, description, run)
    }
}

pub const DELETE: Scenario = row(
    "registry-delete",
    "a region with targets is created and deleted, again and again, by one task",
    delete,
);

fn delete() -> Result<()> {
    load()?;
    let rounds = rounds::how_many()?;
    for _ in 0..rounds {
        let region = create_with_targets()?;
        decoder("delete_region", &region)?;
    }
    expect_free()?;
    println!("{rounds} rounds");
    unload()
}

pub const DELETE_AGAINST_DELETE: Scenario = row(
    "registry-delete-against-delete",
    "two deletes of one region at the same instant: one does it, the other finds no such name",
    delete_against_delete,
);

fn delete_against_delete() -> Result<()> {
    load()?;
    let mut race = Race::new("won by the first task");
    for _ in 0..rounds::how_many()? {
        let region = create_with_targets()?;
        let files = [open("delete_region")?, open("delete_region")?];
        let delete = |file: &File| was_done(file.write_at(region.as_bytes(), 0));
        let (first, second) = race.run(|| delete(&files[0]), || delete(&files[1]))?;
        ensure!(first != second, "deleted: {first} and {second}");
        race.count(first);
        // What the winner has deleted is gone when both have returned.
        expect_free()?;
    }
    race.finish()?;
    unload()
}

pub const DELETE_AGAINST_UNBIND: Scenario = row(
    "registry-delete-against-unbind",
    "a delete and the unbind of the parent at the same instant: one of them ends the region",
    delete_against_unbind,
);

fn delete_against_unbind() -> Result<()> {
    load()?;
    let mut race = Race::new("won by the delete");
    for _ in 0..rounds::how_many()? {
        let region = create_with_targets()?;
        let file = open("delete_region")?;
        let (deleted, ()) = race.run(|| was_done(file.write_at(region.as_bytes(), 0)), unbind)?;
        race.count(deleted);
        let path = Path::new(REGIONS).join(&region);
        ensure!(!path.exists(), "{} is left", path.display());
        ensure!(!Path::new(DECODER).exists(), "{DECODER} is left");
        bind()?;
        expect_free()?;
    }
    race.finish()?;
    unload()
}

pub const DELETE_ACROSS_REBIND: Scenario = row(
    "registry-delete-across-rebind",
    "a delete through the old binding never ends the region of that name which the new one has",
    delete_across_rebind,
);

fn delete_across_rebind() -> Result<()> {
    load()?;
    let mut race = Race::new("deleted before the unbind");
    for _ in 0..rounds::how_many()? {
        let region = create_with_targets()?;
        let file = open("delete_region")?;
        let delete = || was_done(file.write_at(region.as_bytes(), 0));
        let (deleted, again) = race.run(delete, || {
            unbind()?;
            bind()?;
            create_with_targets()
        })?;
        race.count(deleted);
        ensure!(again == region, "{again} was created, not {region}");
        ensure!(
            !delete()?,
            "the old binding has deleted a region of the new one"
        );
        let targets = kernel::read(Path::new(REGIONS).join(&again).join("targets"))?;
        ensure!(targets == "7\n3", "targets: {targets}");
        decoder("delete_region", &again)?;
        expect_free()?;
    }
    race.finish()?;
    unload()
}

pub const DELETE_DURING_CONSTRUCTION: Scenario = row(
    "registry-delete-during-construction",
    "a region is deleted as soon as there is one: its constructor takes all of it back",
    delete_during_construction,
);

fn delete_during_construction() -> Result<()> {
    load()?;
    let mut race = Race::new("constructions lost");
    for _ in 0..rounds::how_many()? {
        let region = kernel::read(Path::new(DECODER).join("create_ram_region"))?;
        let (creator, deleter) = (open("create_ram_region")?, open("delete_region")?);
        let ((), created) = race.run(
            || {
                // Until there is one: it is there before its constructor has returned.
                while !was_done(deleter.write_at(region.as_bytes(), 0))? {}
                Ok(())
            },
            || was_done(creator.write_at(region.as_bytes(), 0)),
        )?;
        // The later the deleter begins, the more of them win.
        race.count(!created);
        expect_free()?;
    }
    race.finish()?;
    unload()
}
