//! How much a process reads.

use std::io;

/// Bytes that a process has asked the kernel for once it has ended, from files and elsewhere. It is left to be waited for.
///
/// # Errors
/// When there is no such child process.
pub fn read_bytes(process: u32) -> io::Result<u64> {
    let process_id = libc::id_t::from(process);
    // SAFETY: all zeroes is a valid siginfo_t; waitid writes to it and leaves the process to be waited for.
    let waited = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, process_id, &raw mut info, libc::WEXITED | libc::WNOWAIT)
    };
    if waited != 0 {
        return Err(io::Error::last_os_error());
    }
    // Where the kernel does not count, nothing was read.
    let counts = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    Ok(counts.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap_or(0))
}
