//! How much freed memory the C library's allocator keeps.
//!
//! A run takes and frees buffers of some 100 KB to some MB all the time: blocks, segments, pages. Left to itself, glibc stops
//! giving such buffers back as soon as the first one was freed, and keeps them in as many arenas as eight times the cores:
//! measured, that more than doubles what a backup of 5,000,000 records takes beyond what it uses, and the longer it goes on
//! the more. See the manual page `mallopt(3)`.

/// Buffers from this size on are the system's again when they are freed, in bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GIVEN_BACK_BYTES: libc::c_int = 64 << 10;

/// Bounds it. Called once, before there are other threads; where the C library is another one, there is nothing to do.
pub fn bound() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let arenas = libc::c_int::try_from(cores.max(2)).unwrap_or(libc::c_int::MAX);
        for (parameter, value) in [(libc::M_MMAP_THRESHOLD, GIVEN_BACK_BYTES), (libc::M_ARENA_MAX, arenas)] {
            // SAFETY: `mallopt` takes two numbers and no pointer, and no other thread is there yet. A refusal (0) leaves things as
            // they were.
            #[expect(unsafe_code, reason = "the C library has no other way to say it")]
            unsafe {
                libc::mallopt(parameter, value);
            }
        }
    }
}
