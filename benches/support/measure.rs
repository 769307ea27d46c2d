//! Runs a program to its end and says what it cost.

use std::{
    io::{self, Read},
    process::{Command, Stdio},
};

/// What one process cost, with the children that it waited for.
pub struct Cost {
    /// User and system time.
    pub cpu_seconds: f64,
    /// The most memory it held at once, in KiB.
    pub peak_rss_kib: u64,
    /// What it printed.
    pub output: Vec<u8>,
}

/// Runs `command` and measures it.
///
/// # Errors
/// When it cannot be started, or ends with another status than 0.
pub fn run(command: &mut Command) -> io::Result<Cost> {
    Ok(watched(command, |_| Ok(()))?.0)
}

/// Runs `command` and measures it, and asks `at_end` about the process, by its id, when it has printed all.
///
/// # Errors
/// Those of [`run`], and of `at_end`.
pub fn watched<T>(command: &mut Command, at_end: impl FnOnce(u32) -> io::Result<T>) -> io::Result<(Cost, T)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut output)?;
    }
    let seen = at_end(child.id())?;
    let (status, usage) = wait(child.id())?;
    if status != 0 {
        return Err(io::Error::other(format!("{command:?} ended with status {status:#x}")));
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let cost = Cost {
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
        output,
    };
    Ok((cost, seen))
}

fn wait(process: u32) -> io::Result<(i32, libc::rusage)> {
    let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: all zeroes is a valid rusage; wait4 writes to the two places, which live through the call.
    let (waited, usage) = unsafe {
        let mut usage = std::mem::zeroed();
        (libc::wait4(process, &raw mut status, 0, &raw mut usage), usage)
    };
    if waited == process { Ok((status, usage)) } else { Err(io::Error::last_os_error()) }
}
