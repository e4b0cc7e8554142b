// SPDX-License-Identifier: GPL-2.0

//! Runs scenarios one after another, and reports in KTAP.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use serde_json::{json, Value};

use crate::kernel::{self, LeakCheck};
use crate::pci;
use crate::sample;
use crate::scenario::{self, Machine, Scenario, Skip};
use crate::scenarios;

/// kselftest's exit status for "not here".
const SKIPPED: i32 = 4;

/// What a scenario is given for each round that the host asks for, beyond its limit.
const PER_ROUND: Duration = Duration::from_secs(3);

/// Everything the host must know before it starts a machine.
pub fn list() -> Value {
    scenarios::ALL
        .iter()
        .map(|scenario| {
            let expected: Vec<_> = scenario
                .expected
                .iter()
                .map(|report| json!({"pattern": report.pattern, "reason": report.reason}))
                .collect();
            let (machine, command_line) = match scenario.machine {
                Machine::Shared => ("shared", ""),
                Machine::Faulty => ("faulty", ""),
                Machine::Own(command_line) => ("own", command_line),
            };
            json!({
                "name": scenario.name,
                "description": scenario.description,
                "seconds": scenario.limit.as_secs(),
                "machine": machine,
                "command_line": command_line,
                "flavour": scenario.flavour,
                "kernel": if scenario.patched { "patched" } else { "stock" },
                "expected": expected,
            })
        })
        .collect()
}

/// Runs one scenario in this process.
pub fn child(scenario: &Scenario) -> ExitCode {
    match (scenario.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Skip>() => {
            println!("{error}");
            ExitCode::from(SKIPPED as u8)
        }
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

enum Verdict {
    Passed,
    Skipped(String),
    Failed(String),
    /// It is still running, so the machine cannot be trusted any more.
    Hung,
}

/// Runs the scenarios called `names`, or all that can share a machine with a stock kernel.
pub fn run(names: &[String]) -> Result<ExitCode> {
    let chosen: Vec<&Scenario> = if names.is_empty() {
        let shares =
            |scenario: &&Scenario| scenario.machine == Machine::Shared && !scenario.patched;
        scenarios::ALL.iter().filter(shares).collect()
    } else {
        names
            .iter()
            .map(|name| scenario::find(name))
            .collect::<Result<_>>()?
    };
    // The leaks that the machine has to answer for come last, as a test of their own.
    let leaks = match chosen
        .iter()
        .all(|scenario| scenario.machine == Machine::Shared)
    {
        true => LeakCheck::begin()?,
        false => None,
    };
    let mut output = std::io::stdout().lock();
    writeln!(output, "KTAP version 1")?;
    writeln!(output, "1..{}", chosen.len() + usize::from(leaks.is_some()))?;

    let mut failed = false;
    let mut hung = None;
    for (index, scenario) in chosen.iter().enumerate() {
        let number = index + 1;
        let name = scenario.name;
        if let Some(before) = hung {
            writeln!(output, "# the machine was lost to {before}")?;
            writeln!(output, "not ok {number} {name}")?;
            continue;
        }
        writeln!(output, "# {name}: begins")?;
        output.flush()?;
        let begin = Instant::now();
        kernel::log(&format!("holdfast: scenario {name} begins"))?;
        let verdict = one(scenario, &mut output);
        kernel::log(&format!("holdfast: scenario {name} ends"))?;
        writeln!(output, "# {name}: {} ms", begin.elapsed().as_millis())?;
        match verdict {
            Ok(Verdict::Passed) => writeln!(output, "ok {number} {name}")?,
            Ok(Verdict::Skipped(why)) => writeln!(output, "ok {number} {name} # SKIP {why}")?,
            Ok(Verdict::Failed(why)) => {
                writeln!(output, "# {name}: {}", why.replace('\n', "\n#   "))?;
                writeln!(output, "not ok {number} {name}")?;
                failed = true;
            }
            Ok(Verdict::Hung) => {
                writeln!(
                    output,
                    "# {name}: not done after {} s",
                    limit(scenario)?.as_secs()
                )?;
                writeln!(output, "not ok {number} {name}")?;
                failed = true;
                hung = Some(name);
            }
            Err(error) => {
                writeln!(output, "# {name}: {error:#}")?;
                writeln!(output, "not ok {number} {name}")?;
                failed = true;
            }
        }
        output.flush()?;
    }
    if let Some(leaks) = leaks {
        let number = chosen.len() + 1;
        let lost = match hung {
            Some(before) => vec![format!("the machine was lost to {before}")],
            None => {
                kernel::log("holdfast: scenario no-leaks begins")?;
                let lost = leaks.end();
                kernel::log("holdfast: scenario no-leaks ends")?;
                lost?
            }
        };
        for line in lost.iter().flat_map(|report| report.lines()) {
            writeln!(output, "# no-leaks: {line}")?;
        }
        let verdict = if lost.is_empty() { "ok" } else { "not ok" };
        writeln!(output, "{verdict} {number} no-leaks")?;
        failed |= !lost.is_empty();
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Runs one scenario in a child process, and holds the kernel to its state of before.
fn one(scenario: &Scenario, output: &mut impl Write) -> Result<Verdict> {
    let taint = kernel::taint()?;
    let lockdep = kernel::lockdep_is_on();
    let verdict = supervise(scenario, output)?;
    if matches!(verdict, Verdict::Hung) {
        kernel::show_blocked_tasks();
        return Ok(verdict);
    }
    if matches!(scenario.machine, Machine::Own(_)) && !scenario.expected.is_empty() {
        // Nothing runs after it, and what the kernel reported can have broken what would be needed.
        if matches!(verdict, Verdict::Passed) {
            check_state(scenario, taint, lockdep)?;
        }
        return Ok(verdict);
    }
    // Also after a failure, so that the next one begins where it expects to.
    let cleaned = sample::clean_up(scenario.pins_library);
    if !matches!(verdict, Verdict::Passed) {
        return Ok(verdict);
    }
    cleaned?;
    check_state(scenario, taint, lockdep)?;
    Ok(verdict)
}

fn check_state(scenario: &Scenario, taint: u64, lockdep: Option<bool>) -> Result<()> {
    let mut allowed = kernel::TAINT_OOT_MODULE | kernel::TAINT_UNSIGNED_MODULE;
    let expects = |word: &str| {
        scenario
            .expected
            .iter()
            .any(|report| report.pattern.contains(word))
    };
    if expects("KASAN") {
        allowed |= kernel::TAINT_BAD_PAGE | kernel::TAINT_WARN;
    }
    if expects("WARNING") {
        allowed |= kernel::TAINT_WARN;
    }
    if matches!(scenario.machine, Machine::Own(line) if line.contains("kunit.autorun=1")) {
        allowed |= kernel::TAINT_TEST;
    }
    let new = kernel::new_taint(taint, kernel::taint()?, allowed);
    if new != 0 {
        bail!("it tainted the kernel: {}", kernel::taint_names(new));
    }
    // Both turn it off.
    let off = expects("KASAN") || expects("circular locking");
    if lockdep == Some(true) && kernel::lockdep_is_on() == Some(false) && !off {
        bail!("lockdep was on before and is off now");
    }
    if let Ok(pf) = pci::Device::find(pci::IGB) {
        pci::expect_vfs(&pf, 0)?;
    }
    Ok(())
}

fn limit(scenario: &Scenario) -> Result<Duration> {
    Ok(scenario.limit + PER_ROUND * kernel::race_rounds()?.unwrap_or(0))
}

/// Runs the child, passes on what it prints, and stops waiting at its time limit.
fn supervise(scenario: &Scenario, output: &mut impl Write) -> Result<Verdict> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["child", scenario.name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (sender, lines) = mpsc::channel();
    let streams: [Option<Box<dyn std::io::Read + Send>>; 2] = [
        child.stdout.take().map(|stream| Box::new(stream) as _),
        child.stderr.take().map(|stream| Box::new(stream) as _),
    ];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);

    let limit = limit(scenario)?;
    let deadline = Instant::now() + limit;
    let mut last = String::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                writeln!(output, "# {}: {line}", scenario.name)?;
                last = line;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // If this ends it at once it was slow, not stuck in the kernel; it failed anyhow.
                child.kill()?;
                return Ok(if exits(&mut child)? {
                    Verdict::Failed(format!("not done after {} s", limit.as_secs()))
                } else {
                    Verdict::Hung
                });
            }
        }
    }
    // Both streams are closed, so it exits now, unless the kernel keeps it.
    if !exits(&mut child)? {
        return Ok(Verdict::Hung);
    }
    let status = child.wait()?;
    Ok(match status.code() {
        Some(0) => Verdict::Passed,
        Some(SKIPPED) => Verdict::Skipped(last),
        Some(_) => Verdict::Failed("failed, for the reason above".into()),
        None => Verdict::Failed(format!("ended by {status}")),
    })
}

fn exits(child: &mut std::process::Child) -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(false)
}
