//! Schedules in the form of crontab, and the time zones they may be read in.
//!
//! Source: `pkg/scalers/cron_scaler.go`, and for the schedules the library it uses, `parser.go` and `spec.go` of
//! robfig/cron v3.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Five fields that say when something happens: minute, hour, day of month, month, day of week.
///
/// Each is a list of numbers, ranges (`1-5`), steps (`*/2`, `10-20/5`, `3/4` from 3 on) and `*` or `?`; months and days
/// of the week have names of three letters. Where both days are given, either is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    /// Bit n stands for the value n.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether one of the two days is a star: then both must match.
    any_day: bool,
}

/// Why a text is not a [`Schedule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}, expected {expected}")]
pub struct ScheduleError {
    /// What was found.
    pub found: String,
    /// What may stand there.
    pub expected: String,
}

/// One of the five fields.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// Names of the values, from `min` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of month", min: 1, max: 31, names: &[] },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { name: "day of week", min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

impl Field {
    /// The values of one field as bits, and whether it is a star.
    fn read(&self, text: &str) -> Result<(u64, bool), ScheduleError> {
        let (mut bits, mut star) = (0, false);
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (part_bits, part_star) = self.part(part).ok_or_else(|| self.error(part))?;
            bits |= part_bits;
            star |= part_star;
        }
        if bits == 0 {
            return Err(self.error(text));
        }
        Ok((bits, star))
    }

    fn error(&self, found: &str) -> ScheduleError {
        let Field { name, min, max, .. } = self;
        ScheduleError {
            found: format!("`{found}` for the {name}"),
            expected: format!("*, a number from {min} to {max}, a range such as {min}-{max} or a step such as */2"),
        }
    }

    /// One entry of the list.
    fn part(&self, text: &str) -> Option<(u64, bool)> {
        let (range, step) = match text.split_once('/') {
            None => (text, None),
            Some((range, step)) => (range, Some(number(step)?)),
        };
        let (low, high) = match range.split_once('-') {
            None => (range, None),
            Some((low, high)) => (low, Some(high)),
        };
        let any = matches!(low, "*" | "?");
        let (start, end) = match (any, high) {
            (true, None) => (self.min, self.max),
            (true, Some(_)) => return None,
            (false, Some(high)) => (self.value(low)?, self.value(high)?),
            (false, None) => {
                let start = self.value(low)?;
                (start, if step.is_some() { self.max } else { start })
            }
        };
        let step_size = step.unwrap_or(1);
        if start < self.min || end > self.max || start > end || step_size == 0 {
            return None;
        }
        let bits = (start..=end).step_by(usize::try_from(step_size).ok()?).fold(0, |bits, value| bits | 1_u64 << value);
        Some((bits, any && step_size == 1))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().zip(self.min..).find(|(name, _)| text.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value).or_else(|| number(text))
    }
}

/// A number of digits alone.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether bit `value` is set.
fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|v| bits.checked_shr(v).unwrap_or(0) & 1 == 1)
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] for a text that has not five fields, or one that is out of range.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words.as_slice() else {
            return Err(ScheduleError {
                found: format!("`{text}` of {} fields", words.len()),
                expected: "5: minute, hour, day of month, month, day of week".to_owned(),
            });
        };
        let [minutes, hours, days, months, weekdays] = &FIELDS;
        let (days, any_day) = days.read(day)?;
        let (weekdays, any_weekday) = weekdays.read(weekday)?;
        Ok(Self {
            text: text.to_owned(),
            minutes: minutes.read(minute)?.0,
            hours: hours.read(hour)?.0,
            days,
            months: months.read(month)?.0,
            weekdays,
            any_day: any_day || any_weekday,
        })
    }

    /// The schedule as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first time after `now` that is on the schedule; `None` where there is none in this year and the five
    /// after it, as for the 30th of February.
    pub fn next(&self, now: DateTime) -> Option<DateTime> {
        // The first whole minute after now.
        let minute = now.with().second(0).subsec_nanosecond(0).build().ok()?;
        let from = minute.checked_add(jiff::SignedDuration::from_mins(1)).ok()?;
        let last_year = from.year().saturating_add(5);
        let mut date = from.date();
        let (mut hour, mut minute) = (from.hour(), from.minute());
        while date.year() <= last_year {
            if self.on(date)
                && let Some((h, m)) = self.at(hour, minute)
            {
                return Some(date.at(h, m, 0, 0));
            }
            date = date.tomorrow().ok()?;
            (hour, minute) = (0, 0);
        }
        None
    }

    fn on(&self, date: jiff::civil::Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.any_day { day && weekday } else { day || weekday }
    }

    /// The first hour and minute of a day on the schedule, from the given ones on.
    fn at(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        (hour..24).filter(|h| has(self.hours, *h)).find_map(|h| {
            let first = if h == hour { minute } else { 0 };
            (first..60).find(|m| has(self.minutes, *m)).map(|m| (h, m))
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a time lies between a start and the end that follows it: the next start comes no sooner than the next end.
///
/// What upstream makes of schedules that never come is kept: without a next start it is always such a time.
pub(super) fn is_within(start: &Schedule, end: &Schedule, now: DateTime) -> bool {
    match (start.next(now), end.next(now)) {
        (Some(start), Some(end)) => end <= start,
        (start, _) => start.is_none(),
    }
}

/// The offset of a time zone that never changes its clock: `UTC`, `GMT` and `Etc/GMT-14` to `Etc/GMT+12`, whose sign is
/// the other way round. Others would need the time zone database, which is not compiled in.
pub(super) fn fixed_offset(name: &str) -> Option<Offset> {
    let zone = name.strip_prefix("Etc/").unwrap_or(name);
    if matches!(zone, "UTC" | "UCT" | "GMT" | "Universal" | "Zulu" | "Greenwich" | "GMT0" | "GMT+0" | "GMT-0") {
        return Some(Offset::UTC);
    }
    let (west, hours) = match name.strip_prefix("Etc/GMT")?.split_at_checked(1)? {
        ("+", hours) => (true, hours),
        ("-", hours) => (false, hours),
        _ => return None,
    };
    let hours = number(hours).filter(|_| !hours.starts_with('0')).and_then(|h| i32::try_from(h).ok())?;
    let in_range = if west { (1..=12).contains(&hours) } else { (1..=14).contains(&hours) };
    let seconds = hours * 3600;
    in_range.then(|| Offset::from_seconds(if west { -seconds } else { seconds }).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn schedule(text: &str) -> Schedule {
        Schedule::parse(text).expect(text)
    }

    #[test]
    fn the_next_time() {
        // 2024-02-01 is a Thursday.
        let rows = [
            ("* * * * *", date(2024, 2, 1).at(8, 0, 0, 0), Some(date(2024, 2, 1).at(8, 1, 0, 0))),
            ("* * * * *", date(2024, 2, 1).at(8, 0, 59, 999), Some(date(2024, 2, 1).at(8, 1, 0, 0))),
            ("0 8 * * *", date(2024, 2, 1).at(7, 59, 59, 0), Some(date(2024, 2, 1).at(8, 0, 0, 0))),
            // The time itself is not after itself.
            ("0 8 * * *", date(2024, 2, 1).at(8, 0, 0, 0), Some(date(2024, 2, 2).at(8, 0, 0, 0))),
            ("30 6 * * mon-FRI", date(2024, 2, 2).at(7, 0, 0, 0), Some(date(2024, 2, 5).at(6, 30, 0, 0))),
            ("0 0 1 jan ?", date(2024, 2, 1).at(0, 0, 0, 0), Some(date(2025, 1, 1).at(0, 0, 0, 0))),
            ("*/20 */6 * * *", date(2024, 2, 1).at(6, 40, 0, 0), Some(date(2024, 2, 1).at(12, 0, 0, 0))),
            ("5/20 0 * * *", date(2024, 2, 1).at(0, 25, 0, 0), Some(date(2024, 2, 1).at(0, 45, 0, 0))),
            // Both days given: the 13th or a Friday.
            ("0 0 13 * 5", date(2024, 2, 2).at(0, 0, 0, 0), Some(date(2024, 2, 9).at(0, 0, 0, 0))),
            ("0 0 13 * 5", date(2024, 2, 9).at(0, 0, 0, 0), Some(date(2024, 2, 13).at(0, 0, 0, 0))),
            // A star with a step is no star: the odd days or Sundays.
            ("0 0 */2 * 0", date(2024, 2, 3).at(0, 0, 0, 0), Some(date(2024, 2, 4).at(0, 0, 0, 0))),
            ("0 0 29 2 *", date(2024, 3, 1).at(0, 0, 0, 0), Some(date(2028, 2, 29).at(0, 0, 0, 0))),
            ("0 0 30 2 *", date(2024, 3, 1).at(0, 0, 0, 0), None),
        ];
        for (text, now, next) in rows {
            assert_eq!(schedule(text).next(now), next, "{text} after {now}");
        }
    }

    #[test]
    fn schedules_that_are_refused() {
        let rows = [
            ("", "`` of 0 fields, expected 5: minute, hour, day of month, month, day of week"),
            ("0 0 0 * * *", "`0 0 0 * * *` of 6 fields, expected 5: minute, hour, day of month, month, day of week"),
            (
                "60 * * * *",
                "`60` for the minute, expected *, a number from 0 to 59, a range such as 0-59 or a step such as */2",
            ),
            (
                "* * 0 * *",
                "`0` for the day of month, expected *, a number from 1 to 31, a range such as 1-31 or a step such as */2",
            ),
            (
                "* * * * 7",
                "`7` for the day of week, expected *, a number from 0 to 6, a range such as 0-6 or a step such as */2",
            ),
        ];
        for (text, sentence) in rows {
            assert_eq!(Schedule::parse(text).expect_err(text).to_string(), sentence);
        }
        let wrong = ["-30 * * * *", "5-1 * * * *", "*/0 * * * *", "1/2/3 * * * *", "1-2-3 * * * *", "+1 * * * *"];
        for text in wrong.into_iter().chain([", * * * *", "a * * * *", "* * * foo *", "*-3 * * * *"]) {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn within_from_a_start_to_an_end() {
        let thursday = ("0 0 * * Thu", "59 23 * * Thu");
        let even_hours = ("0 */2 * * *", "0 1-23/2 * * *");
        let night = ("0 22 * * *", "0 6 * * *");
        let (never, daily) = ("0 0 30 2 *", "0 12 * * *");
        let rows = [
            // TestIsActive and TestIsActiveRange of cron_scaler_test.go, with the clock given.
            (thursday, date(2024, 2, 1).at(12, 0, 0, 0), true),
            (thursday, date(2024, 1, 31).at(12, 0, 0, 0), false),
            (thursday, date(2024, 2, 2).at(0, 0, 0, 0), false),
            (even_hours, date(2024, 2, 1).at(4, 30, 0, 0), true),
            (even_hours, date(2024, 2, 1).at(5, 30, 0, 0), false),
            // From the first second of the start to the last before the end.
            (thursday, date(2024, 1, 31).at(23, 59, 59, 0), false),
            (thursday, date(2024, 2, 1).at(0, 0, 0, 0), true),
            (thursday, date(2024, 2, 1).at(23, 58, 59, 0), true),
            (thursday, date(2024, 2, 1).at(23, 59, 0, 0), false),
            // Over midnight.
            (night, date(2024, 2, 1).at(23, 0, 0, 0), true),
            (night, date(2024, 2, 1).at(3, 0, 0, 0), true),
            (night, date(2024, 2, 1).at(12, 0, 0, 0), false),
            // Never a start, or never an end.
            ((never, daily), date(2024, 2, 1).at(3, 0, 0, 0), true),
            ((daily, never), date(2024, 2, 1).at(3, 0, 0, 0), false),
        ];
        for ((start, end), now, within) in rows {
            assert_eq!(is_within(&schedule(start), &schedule(end), now), within, "{start} to {end} at {now}");
        }
    }

    #[test]
    fn zones_without_summer_time() {
        let rows = [
            ("UTC", Some(0)),
            ("Etc/UTC", Some(0)),
            ("GMT", Some(0)),
            ("Etc/GMT+5", Some(-5)),
            ("Etc/GMT-14", Some(14)),
            ("Etc/GMT+13", None),
            ("Etc/GMT-05", None),
            ("Etc/GMTx1", None),
            ("GMT+5", None),
            ("Europe/Berlin", None),
            ("Etc/GMTé", None),
            ("", None),
        ];
        for (name, hours) in rows {
            assert_eq!(fixed_offset(name).map(|o| o.seconds()), hours.map(|h| h * 3600), "{name}");
        }
    }
}
