//! The most memory that the process has held, where the system tells.

use std::fs;

/// Forgets the peak so far: from here on it counts anew. Does nothing where the system has no way to.
pub fn reset_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5"); // Linux: proc(5)
}

/// The most resident memory since the last reset, in bytes.
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
