//! Lengths as decimals: read fast, made whole where that is exact, written as they were.
//!
//! Sums of whole numbers are exact, so distances compare exactly; sums of tenths are not. Lengths of up to `d` decimals
//! are therefore kept in units of 10^-d, if the longest round trip still fits an f64's 53 bits.

use super::fault::{Fault, shown};
use super::lines::Fields;
use crate::Arc;

/// The decimals seen so far: how many digits after the point the lengths need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decimals {
    digits: u32,
}

/// 10^22 is the largest power of ten that an f64 holds exactly.
const MOST_DIGITS: u32 = 22;

impl Decimals {
    /// The next field as a length, if there is one.
    ///
    /// # Errors
    /// [`Fault::NotANumber`], [`Fault::Negative`], [`Fault::NotFinite`], quoting it.
    #[inline]
    pub fn length(&mut self, fields: &mut Fields) -> Result<Option<f64>, Fault> {
        let mut short = *fields;
        match short.whole() {
            Ok(None) => Ok(None),
            Ok(Some(whole)) => {
                *fields = short;
                Ok(Some(whole as f64))
            }
            Err(_) => fields.word().map(|word| self.decimal(word)).transpose(),
        }
    }

    /// A length that is not simply a row of digits.
    fn decimal(&mut self, word: &[u8]) -> Result<f64, Fault> {
        let length = number(word)?;
        if !length.is_finite() {
            return Err(Fault::NotFinite { found: shown(word) });
        }
        if length < 0.0 {
            return Err(Fault::Negative { found: shown(word) });
        }
        self.digits = self.digits.max(digits_after_point(word));
        Ok(length + 0.0) // -0 becomes 0
    }

    /// Makes `lengths` whole, if that is exact on a graph of so many vertices; gives the unit that they are then in.
    pub fn scale(self, vertices: usize, arcs: &mut [Arc]) -> f64 {
        let power = 10f64.powi(self.digits.min(MOST_DIGITS) as i32);
        let longest = arcs.iter().map(|arc| arc.length).fold(0.0, f64::max);
        let exact = 4.0 * vertices as f64 * longest * power < (1u64 << 53) as f64;
        if self.digits == 0 || self.digits > MOST_DIGITS || !exact {
            return 1.0;
        }
        // A decimal is read with a relative error of 2^-53 at most, so the product is within 1/2 of the true integer.
        for arc in arcs {
            arc.length = (arc.length * power).round();
        }
        1.0 / power
    }
}

/// A field as a number, as Rust reads it; infinities and NaN are numbers here.
///
/// # Errors
/// [`Fault::NotANumber`] quoting it.
pub fn number(word: &[u8]) -> Result<f64, Fault> {
    let not_a_number = || Fault::NotANumber { found: shown(word) };
    str::from_utf8(word).ok().and_then(|text| text.parse().ok()).ok_or_else(not_a_number)
}

/// How many digits after the point the decimal `word` needs: 2 for `12.50e-1`.
fn digits_after_point(word: &[u8]) -> u32 {
    let (mantissa, exponent) = match word.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')) {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, &b"0"[..]),
    };
    let exponent: i64 = str::from_utf8(exponent).ok().and_then(|text| text.parse().ok()).unwrap_or(i64::from(i32::MIN));
    let after_point = mantissa.iter().position(|&byte| byte == b'.').map_or(0, |at| mantissa.len() - at - 1);
    let digits = mantissa.iter().rev().filter(|byte| byte.is_ascii_digit());
    let zeros = digits.clone().take_while(|&&digit| digit == b'0').count();
    if zeros == digits.count() {
        return 0; // zero itself
    }
    let needed = (after_point as i64).saturating_sub(zeros as i64).saturating_sub(exponent);
    needed.clamp(0, u32::MAX.into()) as u32
}

/// How many digits after the point lengths in units of `unit` have.
pub fn digits_of(unit: f64) -> u32 {
    (-unit.log10()).round() as u32
}

/// Appends a whole number.
pub fn push_whole(text: &mut Vec<u8>, number: u64) {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a length that is in units of 10^-`digits`, so that reading it gives the same length and unit again.
pub fn push_length(text: &mut Vec<u8>, length: f64, digits: u32) {
    if length.fract() != 0.0 || length >= (1u64 << 53) as f64 {
        // Kept as it was read; the shortest decimal that gives the same f64 again.
        debug_assert_eq!(digits, 0);
        text.extend_from_slice(format!("{length:?}").as_bytes());
        return;
    }
    let power = 10u64.pow(digits.min(19));
    let length = length as u64;
    push_whole(text, length / power);
    let fraction = length % power;
    if fraction > 0 {
        let padded = format!(".{fraction:0width$}", width = digits as usize);
        text.extend_from_slice(padded.trim_end_matches('0').as_bytes());
    }
}

/// Appends `number` · 10^-`digits`, with the digits of `number` itself: [`shifted`] gives the same bits again.
pub fn push_shifted(text: &mut String, number: f64, digits: u32) {
    let scientific = format!("{number:e}"); // the shortest that is read as the same bits
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let point = exponent.parse::<i64>().unwrap_or(0) - i64::from(digits) + 1;
    let figures: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    match usize::try_from(point) {
        _ if number == 0.0 => text.push('0'),
        Ok(point @ 1..=21) if point >= figures.len() => *text += &format!("{figures:0<point$}"),
        Ok(point @ 1..=21) => *text += &format!("{}.{}", &figures[..point], &figures[point..]),
        _ if (-5..=0).contains(&point) => *text += &format!("0.{}{figures}", "0".repeat(point.unsigned_abs() as usize)),
        _ => *text += &format!("{mantissa}e{}", point - 1),
    }
}

/// A field as a number, times 10^`digits`; `None` if it is none.
pub fn shifted(word: &str, digits: u32) -> Option<f64> {
    let (mantissa, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let exponent = exponent.parse::<i32>().ok()?.checked_add_unsigned(digits)?;
    format!("{mantissa}e{exponent}").parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(words: &[&str]) -> (Vec<Arc>, f64) {
        let mut decimals = Decimals::default();
        let length = |word: &&str| decimals.length(&mut Fields::of(word.as_bytes())).unwrap().unwrap();
        let mut arcs: Vec<Arc> = words.iter().map(length).map(|length| Arc { from: 0, to: 1, length }).collect();
        let unit = decimals.scale(2, &mut arcs);
        (arcs, unit)
    }

    #[test]
    fn lengths_become_whole_by_the_smallest_power_of_ten() {
        let of = |words: &[&str]| (read(words).0.iter().map(|arc| arc.length).collect::<Vec<_>>(), read(words).1);
        assert_eq!(of(&["1", "20", "0"]), (vec![1.0, 20.0, 0.0], 1.0));
        assert_eq!(of(&["0.1", ".25", "3", "1.50"]), (vec![10.0, 25.0, 300.0, 150.0], 0.01));
        assert_eq!(of(&["1.0", "2.", "3e2", "1200e-2", "+4", "-0.0"]), (vec![1.0, 2.0, 300.0, 12.0, 4.0, 0.0], 1.0));
        assert_eq!(of(&["1e-3", "2.5E-1"]), (vec![1.0, 250.0], 0.001));
        // Not exact in 53 bits: kept as they are.
        assert_eq!(of(&["0.1", "1e15"]), (vec![0.1, 1e15], 1.0));
        assert_eq!(of(&["1e-23"]), (vec![1e-23], 1.0));
        assert_eq!(of(&["0e-999999999999999999999", "1"]), (vec![0.0, 1.0], 1.0));
    }

    #[test]
    fn what_is_no_length_is_named() {
        let fault = |word: &str| Decimals::default().length(&mut Fields::of(word.as_bytes())).unwrap_err().to_string();
        assert_eq!(fault("-1"), "length -1 is negative; lengths are 0 or more");
        for word in ["nan", "NaN", "inf", "-inf", "1e999", "infinity"] {
            assert_eq!(fault(word), format!("length {word} is not finite"));
        }
        for word in ["x", "1x", "1.2.3", "--1", "0x10", "1e", ".", "1_000"] {
            assert_eq!(fault(word), format!("`{word}` is not a number"));
        }
    }

    #[test]
    fn shifted_numbers_read_well() {
        let text = |number: f64, digits: u32| {
            let mut text = String::new();
            push_shifted(&mut text, number, digits);
            text
        };
        let written = [text(2713.6, 0), text(2713.6, 3), text(25.0, 2), text(1200.0, 1), text(7.0, 7), text(0.0, 3)];
        assert_eq!(written, ["2713.6", "2.7136", "0.25", "120", "7e-7", "0"]);
        assert_eq!(text(1e30, 0), "1e30");
        for wrong in ["", "x", "1e99999999999", "\"1\"", "null", "[1]"] {
            assert_eq!(shifted(wrong, 0), None, "{wrong}");
        }
        assert_eq!(shifted("1e999", 0), Some(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(wholes in prop::collection::vec(0u64..1 << 45, 1..20), digits in 0u32..6) {
            let mut words = Vec::new();
            for whole in &wholes {
                let mut text = Vec::new();
                push_length(&mut text, *whole as f64, digits);
                words.push(String::from_utf8(text).unwrap());
            }
            let (arcs, unit) = read(&words.iter().map(String::as_str).collect::<Vec<_>>());
            let power = 10u64.pow(digits - digits_of(unit)); // all may end in zeros
            for (arc, whole) in arcs.iter().zip(wholes) {
                prop_assert_eq!(arc.length as u64 * power, whole);
            }
        }

        #[test]
        fn a_shifted_number_is_read_to_the_bit(number in 0.0f64..1e300, small in 0.0f64..1e6, digits in 0u32..=22) {
            for number in [number, small, number.trunc(), small.trunc(), 0.0] {
                let mut text = String::new();
                push_shifted(&mut text, number, digits);
                prop_assert_eq!(shifted(&text, digits), Some(number), "{}", text);
                let told: f64 = text.parse().unwrap();
                prop_assert!((told - number / 10f64.powi(digits as i32)).abs() <= told * 1e-15);
            }
        }

        #[test]
        fn any_length_is_written_to_the_bit(length in 0.0f64..f64::MAX) {
            let mut text = Vec::new();
            push_length(&mut text, length, 0);
            prop_assert_eq!(number(&text).unwrap(), length);
        }
    }
}
