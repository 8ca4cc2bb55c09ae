//! On what a measurement was taken: processor, cores, operating system.

use std::fs;

use serde::Serialize;

/// This machine, as far as it tells.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name, else its architecture.
    pub cpu: String,
    /// Threads that can run at once.
    pub cores: usize,
    /// The operating system, with its release where it says so.
    pub os: String,
}

impl Machine {
    /// The machine that this runs on.
    pub fn this() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| value(&info, "model name", ':'));
        let os = fs::read_to_string("/etc/os-release").ok().and_then(|info| value(&info, "PRETTY_NAME", '='));
        Self {
            cpu: cpu.unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: os.unwrap_or_else(|| std::env::consts::OS.into()),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpu, cores, os } = self;
        write!(f, "{cpu}, {cores} core{}, {os}", if *cores == 1 { "" } else { "s" })
    }
}

/// The value of the first line `key <separator> value`, without quotes.
fn value(text: &str, key: &str, separator: char) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(separator))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let info = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Fast: 3000\nmodel name\t: Other\nNAME=\"A B\"\n";
        assert_eq!(value(info, "model name", ':').as_deref(), Some("Fast: 3000"));
        assert_eq!(value(info, "NAME", '=').as_deref(), Some("A B"));
        assert_eq!(value(info, "absent", ':'), None);
    }
}
