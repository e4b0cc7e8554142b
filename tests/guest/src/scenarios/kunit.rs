// SPDX-License-Identifier: GPL-2.0

//! The library's KUnit suites on x86-64, and the examples of its documentation. The
//! kernel runs them when the modules are loaded and prints KTAP to its log; the host
//! takes it from there.

use std::ffi::CString;
use std::fs;
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::cxl;
use crate::kernel;
use crate::sample::{self, CXL_EXAMPLES, EXAMPLES, LIBRARY};
use crate::scenario::{Machine, Scenario, Skip};

/// Suites of the library, and those of the examples.
const EXPECTED: [&str; 5] = [
    "holdfast_object",
    "holdfast_registry",
    EXAMPLES,
    cxl::CRATE,
    CXL_EXAMPLES,
];

pub const SUITES: Scenario = Scenario {
    // As many rounds of the races as anybody asks for.
    limit: Duration::from_secs(1500),
    machine: Machine::Own("kunit.autorun=1"),
    ..Scenario::new(
        "kunit",
        "the library's KUnit suites run when it is loaded",
        suites,
    )
};

/// What the kernel is booted with.
const HUNG_TASK_SECONDS: u32 = 60;
/// Fewer than the slowest race has.
const ROUNDS_A_SECOND: u32 = 4;

fn suites() -> Result<()> {
    for module in [LIBRARY, EXAMPLES, cxl::CRATE, CXL_EXAMPLES] {
        if !kernel::module_is_available(module) {
            return Err(Skip(format!("{module}.ko is not in this guest")).into());
        }
    }
    if let Some(rounds) = kernel::race_rounds()? {
        // A test runs in a task of its own, and insmod waits for that without being interruptible.
        let seconds = HUNG_TASK_SECONDS + rounds / ROUNDS_A_SECOND;
        kernel::write(
            "/proc/sys/kernel/hung_task_timeout_secs",
            &seconds.to_string(),
        )?;
    }
    // insmod does not look for a module's parameters on the kernel's command line.
    let line = kernel::read("/proc/cmdline")?;
    let parameters: Vec<_> = line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("holdfast."))
        .collect();
    kernel::insmod_with(LIBRARY, &CString::new(parameters.join(" "))?)
        .with_context(|| format!("insmod {LIBRARY}"))?;
    cxl::load_core_module()?;
    for module in [EXAMPLES, cxl::CRATE, CXL_EXAMPLES] {
        kernel::insmod(module).with_context(|| format!("insmod {module}"))?;
    }
    let mut ran = Vec::new();
    for suite in fs::read_dir("/sys/kernel/debug/kunit")? {
        let suite = suite?;
        let results = fs::read_to_string(suite.path().join("results")).unwrap_or_default();
        if results.contains("ok ") {
            ran.push(suite.file_name().to_string_lossy().into_owned());
        }
    }
    println!("suites: {}", ran.join(" "));
    for suite in EXPECTED {
        if !ran.iter().any(|name| name == suite) {
            bail!("the KUnit suite {suite} has not run");
        }
    }
    for module in [CXL_EXAMPLES, cxl::CRATE, EXAMPLES] {
        kernel::rmmod(module).with_context(|| format!("rmmod {module}"))?;
    }
    sample::unload_library()
}
