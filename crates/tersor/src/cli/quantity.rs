//! Numbers as a person reads them: exact, grouped in thousands, with their unit.

#![allow(dead_code, reason = "a build with few rooms needs few of these")]

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}

/// A byte count, exact, and beside it in KiB, MiB or GiB where that says more: `300,568 B (293.5 KiB)`.
pub fn bytes(count: u64) -> String {
    let exact = format!("{} B", thousands(count));
    let units = ["KiB", "MiB", "GiB"];
    let Some(unit) = (count.max(1).ilog(1024) as usize).min(units.len()).checked_sub(1) else { return exact };
    let size = count as f64 / 1024f64.powi(unit as i32 + 1);
    format!("{exact} ({size:.1} {})", units[unit])
}

/// A byte count as a person types it: `4096`, `192K`, `16M`, `2G`, in powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [(['k', 'K'], 1 << 10), (['m', 'M'], 1 << 20), (['g', 'G'], 1 << 30)];
    let with_unit = units.iter().find_map(|&(letters, unit)| Some((text.strip_suffix(letters)?, unit)));
    let (number, unit) = with_unit.unwrap_or((text, 1));
    let number: u64 = number.parse().map_err(|_| "expected a whole number of bytes, or one with K, M or G")?;
    number.checked_mul(unit).ok_or_else(|| "more than an address can reach".into())
}

/// A duration: in seconds, or in milliseconds below 0.1 s.
pub fn seconds(seconds: f64) -> String {
    if seconds >= 0.1 { format!("{seconds:.2} s") } else { format!("{:.1} ms", seconds * 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped_from_the_right() {
        let written = [0, 7, 999, 1_000, 12_345, 300_568, 1_000_000, u64::MAX].map(thousands);
        let expected = ["0", "7", "999", "1,000", "12,345", "300,568", "1,000,000", "18,446,744,073,709,551,615"];
        assert_eq!(written, expected);
    }

    #[test]
    fn bytes_stay_exact_beside_their_rounded_form() {
        let written = [0, 1_023, 1_024, 300_568, 1 << 20, 90_868_376, 5 << 40].map(bytes);
        let expected = [
            "0 B",
            "1,023 B",
            "1,024 B (1.0 KiB)",
            "300,568 B (293.5 KiB)",
            "1,048,576 B (1.0 MiB)",
            "90,868,376 B (86.7 MiB)",
            "5,497,558,138,880 B (5120.0 GiB)",
        ];
        assert_eq!(written, expected);
    }

    #[test]
    fn a_typed_size_is_whole_and_in_powers_of_1024() {
        let read = ["0", "4096", "192K", "16m", "2G"].map(parse_bytes);
        assert_eq!(read, [0, 4096, 192 << 10, 16 << 20, 2 << 30].map(Ok));
        for wrong in ["", "K", "-1", "1.5M", "3T", "10KB", "99999999999G"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn short_times_are_in_milliseconds() {
        assert_eq!([0.000_25, 0.099, 0.1, 3.456].map(seconds), ["0.2 ms", "99.0 ms", "0.10 s", "3.46 s"]);
    }
}
