//! Kubernetes quantities: `100m`, `1500`, `2Gi`, `0.5`, `1e3`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A quantity as the API writes it, in thousandths.
///
/// Source: `k8s.io/apimachinery/pkg/api/resource/quantity.go`. Autoscaling works in milli-units;
/// what is finer is rounded up, away from zero, so that a quantity that is not zero never becomes
/// zero (`Quantity.MilliValue`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    milli: i64,
    approximate: f64,
}

/// Why a text is not a [`Quantity`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not have the form of a quantity.
    #[error(
        "`{text}` is not a quantity, expected a number with an optional suffix \
         n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or a decimal exponent, such as `100m`"
    )]
    Form {
        /// The text found.
        text: String,
    },
    /// The number leaves the range of a 64-bit integer of thousandths.
    #[error("`{text}` is too large, expected at most 9223372036854775807 thousandths")]
    Range {
        /// The text found.
        text: String,
    },
}

impl Quantity {
    /// Reads a quantity.
    ///
    /// # Errors
    ///
    /// [`QuantityError::Form`] for a text of another form, [`QuantityError::Range`] for a number
    /// whose thousandths leave 64 bits (upstream lets those overflow).
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let form = || QuantityError::Form { text: text.to_owned() };
        let range = || QuantityError::Range { text: text.to_owned() };
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(form());
        }
        let (binary, exponent) = multiplier(suffix).ok_or_else(form)?;

        let fraction = fraction.trim_end_matches('0');
        let mut digits: u128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            digits = digits.checked_mul(10).and_then(|d| d.checked_add(u128::from(digit - b'0'))).ok_or_else(range)?;
        }
        let digits = digits.checked_mul(1 << binary).ok_or_else(range)?;
        let places = i32::try_from(fraction.len()).map_err(|_| range())?;
        let exponent = exponent.checked_sub(places).ok_or_else(range)?;

        let magnitude = shift_up(digits, exponent.saturating_add(3)).ok_or_else(range)?;
        let magnitude = i64::try_from(magnitude).map_err(|_| range())?;
        let approximate = approximate(digits, exponent);
        Ok(if negative {
            Self { milli: -magnitude, approximate: -approximate }
        } else {
            Self { milli: magnitude, approximate }
        })
    }

    /// The quantity in thousandths, rounded away from zero (`MilliValue`).
    pub const fn milli(self) -> i64 {
        self.milli
    }

    /// The quantity as a float (`AsApproximateFloat64`): the digits of its canonical text times
    /// the power of ten of its suffix, which is not always the nearest float.
    pub const fn approximate(self) -> f64 {
        self.approximate
    }
}

/// The power of two and the power of ten a suffix stands for.
fn multiplier(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            (0, exponent.parse::<i32>().ok()?)
        }
    })
}

/// `digits` · 10^`exponent`, rounded up to a whole number.
fn shift_up(digits: u128, exponent: i32) -> Option<u128> {
    if digits == 0 {
        return Some(0);
    }
    let power = 10_u128.checked_pow(exponent.unsigned_abs());
    if exponent >= 0 {
        digits.checked_mul(power?)
    } else {
        // A power of ten beyond 128 bits is above any number of digits there can be here.
        Some(power.map_or(1, |p| digits.div_ceil(p)))
    }
}

/// `digits` · 10^`exponent` as a float, by way of the canonical form: the largest exponent
/// divisible by 3 that leaves no fraction.
fn approximate(mut digits: u128, mut exponent: i32) -> f64 {
    if digits == 0 {
        return 0.0;
    }
    while digits.is_multiple_of(10) {
        digits /= 10;
        exponent = exponent.saturating_add(1);
    }
    for _ in 0..exponent.rem_euclid(3) {
        digits = digits.saturating_mul(10);
        exponent -= 1;
    }
    let power = match exponent {
        0 => 1.0,
        -3 => 1e-3,
        -6 => 1e-6,
        -9 => 1e-9,
        other => 10_f64.powi(other),
    };
    digits as f64 * power
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl Visitor<'_> for TextOrNumber {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as `100m`, `1500`, `2Gi` or `0.5`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Quantity::parse(text).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                // A float prints as the shortest decimal that reads back as it, which is what a
                // person wrote in the manifest.
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(TextOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milli_rounds_up_away_from_zero() {
        let rows = [
            ("0", 0),
            ("100m", 100),
            ("1500", 1_500_000),
            ("0.5", 500),
            (".5", 500),
            ("5.", 5_000),
            ("+2", 2_000),
            ("-2", -2_000),
            ("2Gi", 2_147_483_648_000),
            ("1.5Ki", 1_536_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1E-3", 1),
            ("3k", 3_000_000),
            ("2M", 2_000_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("1n", 1),
            ("1u", 1),
            ("1001u", 2),
            ("-1001u", -2),
            ("0.0001", 1),
            ("1.0005", 1_001),
            ("100.0000000000000000000000000000000000000000000000", 100_000),
            ("1e-99", 1),
            ("0e99", 0),
            ("9223372036854775.807", i128::from(i64::MAX)),
        ];
        for (text, milli) in rows {
            let found = Quantity::parse(text).map(Quantity::milli);
            match i64::try_from(milli) {
                Ok(milli) => assert_eq!(found, Ok(milli), "{text}"),
                Err(_) => assert!(matches!(found, Err(QuantityError::Range { .. })), "{text}"),
            }
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "-", ".", "m", "1.2.3", "1 m", "1mm", "1K", "1e", "1ki", "0x10", "--1", "１"] {
            let found = Quantity::parse(text);
            assert!(matches!(found, Err(QuantityError::Form { .. })), "{text}: {found:?}");
        }
        for text in ["9223372036854775.808", "1e40", "99Ei", "1e2147483647"] {
            let found = Quantity::parse(text);
            assert!(matches!(found, Err(QuantityError::Range { .. })), "{text}: {found:?}");
        }
    }

    #[test]
    fn approximate_is_digits_times_power() {
        let rows = [
            ("0.1", 100.0 * 1e-3),
            ("100m", 100.0 * 1e-3),
            ("0.35", 350.0 * 1e-3),
            ("0.0005", 500.0 * 1e-6),
            ("1", 1.0),
            ("0", 0.0),
            ("-0.5", -0.5),
            ("10", 10.0),
        ];
        for (text, float) in rows {
            assert_eq!(Quantity::parse(text).map(Quantity::approximate), Ok(float), "{text}");
        }
    }
}
