// SPDX-License-Identifier: GPL-2.0

//! Waiting: always for a condition, always with a deadline that fails loudly.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

/// How often a condition is looked at. Not a synchronisation: a result never depends on it.
const INTERVAL: Duration = Duration::from_millis(5);

/// The limit of every wait for what comes by itself, unless something hangs.
///
/// No result rests on how long it is. What must not delay an unbind, an open file for one, is
/// there until the unbind has returned, so that an unbind that waits for it exceeds any limit.
/// It is this long because an emulated machine on a busy host may stand still for many seconds,
/// and because with DEBUG_KOBJECT_RELEASE an rmmod alone waits for two releases, each of them
/// delayed by up to 4 s.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Waits until `condition` holds; fails if it does not within [`LIMIT`].
pub fn until(what: &str, condition: impl FnMut() -> Result<bool>) -> Result<()> {
    until_within(what, LIMIT, condition)
}

/// The same with a `limit` that says something.
pub fn until_within(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !condition()? {
        if Instant::now() >= deadline {
            bail!("after {} s still not: {what}", limit.as_secs_f32());
        }
        thread::sleep(INTERVAL);
    }
    Ok(())
}

/// Runs `action` and returns how long it took; fails if it is not back within [`LIMIT`].
///
/// It runs in another thread, since what does not come back cannot be measured.
pub fn within<T: Send + 'static>(
    what: &str,
    action: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<(T, Duration)> {
    let (result, elapsed) = quietly_within(what, action)?;
    println!("{what}: {} ms", elapsed.as_millis());
    Ok((result, elapsed))
}

/// The same, without a line about it.
pub fn quietly_within<T: Send + 'static>(
    what: &str,
    action: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<(T, Duration)> {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let begin = Instant::now();
        let result = action();
        // The receiver is gone if the deadline has passed; then nobody wants to know.
        let _ = done.send((result, begin.elapsed()));
    });
    match finished.recv_timeout(LIMIT) {
        Ok((result, elapsed)) => Ok((result?, elapsed)),
        Err(RecvTimeoutError::Timeout) => {
            bail!("{what} did not return within {} s", LIMIT.as_secs())
        }
        Err(RecvTimeoutError::Disconnected) => bail!("{what} panicked"),
    }
}
