//! Reading instants from text, exact to the nanosecond.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Unit of a decimal time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

impl TimeUnit {
    /// Decimal digits between this unit and a nanosecond.
    const fn digits(self) -> usize {
        match self {
            TimeUnit::Seconds => 9,
            TimeUnit::Milliseconds => 6,
        }
    }
}

/// What is wrong with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberFault {
    /// Not a decimal number.
    Malformed,
    /// Infinite or not a number.
    NotFinite,
    /// Below zero.
    Negative,
}

/// A finite number of zero or more.
pub(super) fn parse_non_negative(text: &str) -> Result<f64, NumberFault> {
    let value: f64 = text.parse().map_err(|_| NumberFault::Malformed)?;
    if !value.is_finite() {
        Err(NumberFault::NotFinite)
    } else if value < 0.0 {
        Err(NumberFault::Negative)
    } else {
        Ok(value)
    }
}

/// A decimal time of zero or more, in nanoseconds.
///
/// Plain decimals are converted digit by digit: seconds since 1970 have too many digits for an `f64` to keep the
/// nanoseconds. Numbers with an exponent go through `f64`.
pub(super) fn parse_decimal_time(text: &str, unit: TimeUnit) -> Result<i128, NumberFault> {
    let value = parse_non_negative(text)?;
    let digits = unit.digits();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(fraction) {
        // Rounding a finite, non-negative number; the cast saturates.
        return Ok((value * 10f64.powi(digits as i32)).round() as i128);
    }
    let kept = fraction.get(..digits).unwrap_or(fraction);
    let round_up = fraction.as_bytes().get(digits).is_some_and(|digit| *digit >= b'5');
    let nanos = whole
        .bytes()
        .chain(kept.bytes())
        .chain(std::iter::repeat_n(b'0', digits - kept.len()))
        .fold(0i128, |sum, digit| sum.saturating_mul(10).saturating_add(i128::from(digit - b'0')));
    Ok(nanos.saturating_add(i128::from(round_up)))
}

/// A wall-clock instant (`2023-11-16 18:17:03.9799600`) in nanoseconds since 1970, or `None`.
///
/// An offset (`Z`, `+00:00`) is honoured; without one the clock is read as UTC, which has no daylight-saving jumps.
pub(super) fn parse_wall_clock(text: &str) -> Option<i128> {
    // A calendar date is ten characters, so a sign behind them belongs to an offset and not to the date.
    let has_offset = text.get(10..).is_some_and(|time| time.contains(['Z', 'z', '+', '-']));
    let instant = if has_offset {
        text.parse::<Timestamp>().ok()?
    } else {
        Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?
    };
    Some(instant.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_times_are_exact() {
        let seconds = |text| parse_decimal_time(text, TimeUnit::Seconds);
        assert_eq!(seconds("0"), Ok(0));
        assert_eq!(seconds("1.5"), Ok(1_500_000_000));
        assert_eq!(seconds(".25"), Ok(250_000_000));
        assert_eq!(seconds("7."), Ok(7_000_000_000));
        assert_eq!(seconds("1700158623.123456789"), Ok(1_700_158_623_123_456_789));
        assert_eq!(seconds("0.0000000015"), Ok(2));
        assert_eq!(seconds("0.00000000149"), Ok(1));
        assert_eq!(seconds("+1"), Ok(1_000_000_000));
        assert_eq!(seconds("1e-3"), Ok(1_000_000));
        assert_eq!(parse_decimal_time("277.5", TimeUnit::Milliseconds), Ok(277_500_000));
        assert_eq!(seconds(&"9".repeat(60)), Ok(i128::MAX), "out of any range, and no overflow");
    }

    #[test]
    fn numbers_that_are_not_times_are_told_apart() {
        let seconds = |text| parse_decimal_time(text, TimeUnit::Seconds);
        for text in ["", "abc", "1,5", "1.2.3", "."] {
            assert_eq!(seconds(text), Err(NumberFault::Malformed), "{text}");
        }
        assert_eq!(seconds("NaN"), Err(NumberFault::NotFinite));
        assert_eq!(seconds("inf"), Err(NumberFault::NotFinite));
        assert_eq!(seconds("-0.1"), Err(NumberFault::Negative));
    }

    #[test]
    fn wall_clocks_keep_their_fraction() {
        let base = parse_wall_clock("2023-11-16 18:17:03").unwrap();
        assert_eq!(base, 1_700_158_623_000_000_000);
        assert_eq!(parse_wall_clock("2023-11-16 18:17:03.9799600"), Some(base + 979_960_000));
        assert_eq!(parse_wall_clock("2023-11-16T18:17:03"), Some(base));
        assert_eq!(parse_wall_clock("2023-11-16 18:17:03+00:00"), Some(base));
        assert_eq!(parse_wall_clock("2023-11-16 19:17:03+01:00"), Some(base));
        assert_eq!(parse_wall_clock("2023-11-16T18:17:03Z"), Some(base));
        for text in ["", "yesterday", "2023-13-01 00:00:00", "12.5"] {
            assert_eq!(parse_wall_clock(text), None, "{text}");
        }
    }
}
