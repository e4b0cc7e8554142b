// SPDX-License-Identifier: GPL-2.0

//! Waiting: always for a condition, always with a deadline that fails loudly.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

/// How often a condition is looked at. Not a synchronisation: a result never depends on it.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
pub fn until(
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

/// Runs `action` and returns how long it took; fails if it is not back within `limit`.
///
/// It runs in another thread, since what does not come back cannot be measured.
pub fn within<T: Send + 'static>(
    what: &str,
    limit: Duration,
    action: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<(T, Duration)> {
    let (result, elapsed) = quietly_within(what, limit, action)?;
    println!("{what}: {} ms", elapsed.as_millis());
    Ok((result, elapsed))
}

/// The same, without a line about it.
pub fn quietly_within<T: Send + 'static>(
    what: &str,
    limit: Duration,
    action: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<(T, Duration)> {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let begin = Instant::now();
        let result = action();
        // The receiver is gone if the deadline has passed; then nobody wants to know.
        let _ = done.send((result, begin.elapsed()));
    });
    match finished.recv_timeout(limit) {
        Ok((result, elapsed)) => Ok((result?, elapsed)),
        Err(RecvTimeoutError::Timeout) => {
            bail!("{what} did not return within {} s", limit.as_secs_f32())
        }
        Err(RecvTimeoutError::Disconnected) => bail!("{what} panicked"),
    }
}
