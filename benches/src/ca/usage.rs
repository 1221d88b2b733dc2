//! What the kernel says of this process.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// Processor time of the calling thread so far.
pub(crate) fn thread_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("thread times need Linux")?;
    let nanos = text.split_whitespace().next().context("schedstat has fields")?.parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// Bytes of memory in use by this process.
pub(crate) fn resident_bytes() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/status").context("memory needs Linux")?;
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).context("status has VmRSS")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).context("VmRSS has a value")?.parse()?;
    Ok(kilobytes * 1024.0)
}
