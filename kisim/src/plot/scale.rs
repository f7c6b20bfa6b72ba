//! Axes: which range they span, where their ticks are and what the ticks say.

/// Values beyond this are taken for missing: their differences would overflow.
const LARGEST: f64 = 1e300;

/// Decades that a logarithmic axis with a zero shows at most: below them, it does not matter how far below.
const DECADES: f64 = 4.0;

/// How positions on an axis come from values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Law {
    /// They are the values.
    Linear,
    /// They are the values' decimal logarithms.
    Log,
    /// Logarithmic above this value; from zero to it linear, and as long as a decade.
    LogAbove(f64),
}

/// An axis, with its ends as positions.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub label: String,
    pub lo: f64,
    pub hi: f64,
    pub law: Law,
    /// Position and text.
    pub ticks: Vec<(f64, String)>,
    /// Positions of lines without a text.
    pub minor: Vec<f64>,
}

impl Scale {
    /// A linear axis from zero to a round number that leaves room above the largest of `values`.
    pub fn from_zero(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|v| v.is_finite() && *v < LARGEST).fold(0.0, f64::max);
        let most = if most > 0.0 { most * 1.04 } else { 1.0 };
        let step = nice_step(most, 5.0);
        Scale::linear(label, 0.0, (most / step).ceil() * step)
    }

    /// Like [`from_zero`](Self::from_zero), but with ticks at whole numbers only.
    pub fn counts(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|v| v.is_finite() && *v < LARGEST).fold(1.0, f64::max) + 0.3;
        let step = nice_step(most, 5.0).max(1.0);
        let mut scale = Scale::linear(label, 0.0, most);
        scale.place(step);
        scale
    }

    /// A linear axis around zero, as far down as up.
    pub fn around_zero(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let up = Scale::from_zero(label, values.map(f64::abs));
        let mut scale = Scale::linear(label, -up.hi, up.hi);
        scale.place(nice_step(up.hi, 2.0));
        scale
    }

    /// A linear axis over just this range.
    pub fn linear(label: &str, lo: f64, hi: f64) -> Self {
        let (lo, hi) = widen(lo, hi);
        let mut scale =
            Scale { label: label.to_owned(), lo, hi, law: Law::Linear, ticks: Vec::new(), minor: Vec::new() };
        scale.place(nice_step(hi - lo, 5.0));
        scale
    }

    /// A linear axis from zero, unless something is below it.
    pub fn with_zero(label: &str, values: impl Iterator<Item = f64> + Clone) -> Self {
        let (lo, hi) = range(values.clone());
        if lo >= 0.0 || lo > hi {
            return Scale::from_zero(label, values);
        }
        let room = (hi - lo) * 0.04;
        Scale::linear(label, lo - room, if hi <= 0.0 { (hi + room).min(0.0) } else { hi + room })
    }

    /// Things beside each other, the first at 0, the next at 1 or, downwards, at −1, with lines between them.
    pub fn names(names: &[String], downwards: bool) -> Self {
        let direction = if downwards { -1.0 } else { 1.0 };
        let place = |i: usize| i as f64 * direction;
        let ends = (-0.5 * direction, (names.len() as f64 - 0.5) * direction);
        let (lo, hi) = widen(ends.0.min(ends.1), ends.0.max(ends.1));
        let ticks = names.iter().enumerate().map(|(i, name)| (place(i), name.clone())).collect();
        let minor = (1..names.len()).map(|i| place(i) - 0.5 * direction).collect();
        Scale { label: String::new(), lo, hi, law: Law::Linear, ticks, minor }
    }

    /// A logarithmic axis around the positive ones of `values`, between 1, 2 or 5 times powers of ten.
    pub fn log(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let shown = values.filter(|v| v.is_finite() && *v > 0.0 && *v < LARGEST);
        let (lo, hi) = shown.fold((f64::INFINITY, 0.0f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
        let (lo, hi) = if lo <= hi { (lo.log10(), hi.log10()) } else { (0.0, 1.0) };
        let (lo, hi) = (round_log(lo - 0.03, f64::floor), round_log(hi + 0.03, f64::ceil));
        let mut scale = Scale { label: label.to_owned(), lo, hi, law: Law::Log, ticks: Vec::new(), minor: Vec::new() };
        let decades = hi - lo;
        let every = (decades / 8.0).ceil().max(1.0);
        let mut exponent = lo.floor();
        while exponent <= hi {
            for digit in 1..10 {
                let at = exponent + f64::from(digit).log10();
                let labelled = match digit {
                    1 => (exponent / every).fract() == 0.0,
                    2 | 5 => decades <= 2.3,
                    _ => false,
                };
                if at < lo - 1e-9 || at > hi + 1e-9 {
                } else if labelled {
                    scale.ticks.push((at, text(10f64.powf(exponent) * f64::from(digit), 10f64.powf(exponent))));
                } else if every == 1.0 {
                    scale.minor.push(at);
                }
            }
            exponent += 1.0;
        }
        scale
    }

    /// An axis for values from zero on: linear if the positive ones of `values` are within a decade, else logarithmic with
    /// a place for zero. Its label says up to where it is linear then, in `unit`.
    pub fn log_from_zero(label: &str, unit: &str, values: impl Iterator<Item = f64> + Clone) -> Self {
        let shown = values.clone().filter(|v| v.is_finite() && *v > 0.0 && *v < LARGEST);
        let (least, most) = shown.fold((f64::INFINITY, 0.0f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
        // Far below, the decades would not be numbers any more; such values are as good as zero.
        if !(least * 10.0 < most && most > 1e-200) {
            let mut scale = Scale::from_zero(label, values);
            // Room for markers on zero.
            scale.lo = -0.03 * scale.hi;
            return scale;
        }
        let highest = most.log10();
        let lowest = least.log10().floor().max((highest - DECADES).ceil());
        let from = 10f64.powf(lowest);
        let hi = 1.0 + (highest - lowest).max(0.0);
        // Room for markers at both ends.
        let room = hi * 0.03;
        let label = format!("{label} (linear below {}{unit})", text(from, from));
        let law = Law::LogAbove(from);
        let mut scale =
            Scale { label, lo: -room, hi: hi + room, law, ticks: vec![(0.0, "0".to_owned())], minor: vec![] };
        let mut exponent = lowest;
        while 1.0 + exponent - lowest <= scale.hi {
            let decade = 10f64.powf(exponent);
            for digit in 1..10 {
                let at = 1.0 + exponent - lowest + f64::from(digit).log10();
                match digit {
                    _ if at > scale.hi => {}
                    1 | 2 | 5 if digit == 1 || hi < 3.3 => {
                        scale.ticks.push((at, text(decade * f64::from(digit), decade)));
                    }
                    _ => scale.minor.push(at),
                }
            }
            exponent += 1.0;
        }
        scale
    }

    /// A time axis from `start` to `end`, seconds; its ticks speak seconds, minutes, hours or days as fits.
    pub fn time(start: f64, end: f64) -> Self {
        let (start, end) = widen(start, end);
        let span = end - start;
        let (unit, seconds, steps): (_, _, &[f64]) = if span <= 180.0 {
            ("s", 1.0, &[1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0])
        } else if span <= 3.0 * 3600.0 {
            ("min", 60.0, &[1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0])
        } else if span <= 72.0 * 3600.0 {
            ("h", 3600.0, &[0.5, 1.0, 2.0, 3.0, 6.0, 12.0])
        } else {
            ("d", 86400.0, &[1.0, 2.0])
        };
        let units = span / seconds;
        let step = steps.iter().copied().find(|step| units / step <= 12.0).unwrap_or_else(|| nice_step(units, 10.0));
        // A span far below the smallest step has no tick of it.
        let step = if units / step < 2.0 { nice_step(units, 8.0) } else { step };
        let mut scale = Scale::linear(&format!("time, {unit}"), start / seconds, end / seconds);
        scale.place(step);
        scale.lo = start;
        scale.hi = end;
        for (at, _) in &mut scale.ticks {
            *at *= seconds;
        }
        scale
    }

    /// As many ticks as a wide horizontal axis has room for.
    pub fn tick_densely(&mut self) {
        self.place(nice_step(self.hi - self.lo, 10.0));
    }

    /// Ticks at `values` instead, if there are few enough of them to be read.
    pub fn tick_at(&mut self, values: &[f64]) {
        let mut places: Vec<(f64, f64)> = values.iter().filter_map(|&v| Some((self.at(v)?, v))).collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        places.dedup_by(|a, b| a.0 == b.0);
        let apart = (self.hi - self.lo) * 0.035;
        let readable = places.windows(2).all(|pair| pair[1].0 - pair[0].0 >= apart);
        if readable && (2..=16).contains(&places.len()) {
            let plain = |v: f64| if v.fract() == 0.0 { text(v, 1.0) } else { format!("{v}") };
            self.ticks = places.into_iter().map(|(at, v)| (at, plain(v))).collect();
            self.minor.clear();
        }
    }

    /// Where `value` is on this axis, at its end if beyond; `None` if it is nowhere.
    pub fn at(&self, value: f64) -> Option<f64> {
        if !value.is_finite() || value.abs() > LARGEST || (self.law == Law::Log && value <= 0.0) {
            return None;
        }
        let position = match self.law {
            Law::Linear => value,
            Law::Log => value.log10(),
            Law::LogAbove(from) if value > from => 1.0 + (value / from).log10(),
            Law::LogAbove(from) => value / from,
        };
        Some(position.clamp(self.lo, self.hi))
    }

    /// The value at the axis' lower end.
    pub fn bottom(&self) -> f64 {
        match self.law {
            Law::Linear => self.lo,
            Law::Log => 10f64.powf(self.lo),
            Law::LogAbove(_) => 0.0,
        }
    }

    fn place(&mut self, step: f64) {
        self.ticks.clear();
        let mut k = (self.lo / step - 1e-6).ceil();
        // The bound keeps a step lost to rounding from looping for ever.
        while k * step <= self.hi + step * 1e-6 && self.ticks.len() < 64 {
            self.ticks.push((k * step, text(k * step, step)));
            k += 1.0;
        }
    }
}

/// The least and the largest of `values`.
pub(super) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)))
}

/// A range that spans something.
fn widen(lo: f64, hi: f64) -> (f64, f64) {
    let valid = lo.is_finite() && hi.is_finite() && lo.abs() < LARGEST && hi.abs() < LARGEST && lo <= hi;
    match valid {
        false => (0.0, 1.0),
        true if hi - lo > lo.abs().max(hi.abs()) * 1e-9 => (lo, hi),
        true => (lo, lo + lo.abs().max(1.0)),
    }
}

/// The step 1, 2 or 5 times a power of ten that cuts `span` into about `parts`.
fn nice_step(span: f64, parts: f64) -> f64 {
    let raw = (span / parts).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(raw.log10().floor());
    let digit = raw / power;
    power
        * if digit <= 1.0 {
            1.0
        } else if digit <= 2.0 {
            2.0
        } else if digit <= 5.0 {
            5.0
        } else {
            10.0
        }
}

/// The logarithm moved to that of 1, 2 or 5 times a power of ten, down or up as `direction` does.
fn round_log(position: f64, direction: fn(f64) -> f64) -> f64 {
    let exponent = position.floor();
    let places = [0.0, 2f64.log10(), 5f64.log10(), 1.0].map(|p| exponent + p);
    let up = direction(0.5) > 0.5;
    let chosen = if up {
        places.into_iter().find(|&p| p >= position)
    } else {
        places.into_iter().rev().find(|&p| p <= position)
    };
    chosen.unwrap_or(exponent)
}

/// `value` with as many decimals as steps of `step` need, thousands apart.
fn text(value: f64, step: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e7 || (magnitude > 0.0 && magnitude < 1e-3) {
        let scientific = format!("{:e}", (value / step).round() * step);
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let raised: String = exponent.chars().map(superscript).collect();
        return match digits {
            "1" => format!("10{raised}"),
            "-1" => format!("−10{raised}"),
            _ => format!("{}·10{raised}", digits.replace('-', "−")),
        };
    }
    let decimals = (-(step * (1.0 + 1e-9)).log10().floor()).clamp(0.0, 6.0) as usize;
    let plain = format!("{magnitude:.decimals$}");
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), None), |(w, f)| (w, Some(f)));
    let mut out = String::new();
    if value < 0.0 && plain.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.push('−');
    }
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 && whole.len() > 4 {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

fn superscript(c: char) -> char {
    match c {
        '0'..='9' => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][c as usize - '0' as usize],
        '-' => '⁻',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(texts(&Scale::from_zero("", [930.0].into_iter())), ["0", "200", "400", "600", "800", "1000"]);
        assert_eq!(texts(&Scale::counts("", [3.0].into_iter())), ["0", "1", "2", "3"]);
        assert_eq!(texts(&Scale::log("", [3.0, 4000.0].into_iter())), ["10", "100", "1000"]);
        assert_eq!(texts(&Scale::log("", [120.0, 340.0].into_iter())), ["100", "200", "500"]);
        assert_eq!(texts(&Scale::around_zero("", [-3.0, 7.0].into_iter())), ["−5", "0", "5"]);
        assert_eq!(text(12_345.0, 1.0), "12\u{2009}345");
        assert_eq!(text(-0.0, 0.5), "0.0");
        assert_eq!(text(0.25, 0.05), "0.25");
        assert_eq!((text(1e-6, 1e-6).as_str(), text(-3e9, 1e9).as_str()), ("10⁻⁶", "−3·10⁹"));
    }

    #[test]
    fn a_logarithmic_axis_may_have_a_zero() {
        let scale = Scale::log_from_zero("share", " %", [0.0, 0.04, 3.0, 90.0].into_iter());
        assert_eq!(scale.label, "share (linear below 0.01 %)");
        assert_eq!(texts(&scale), ["0", "0.01", "0.1", "1", "10", "100"]);
        let at = |value: f64| scale.at(value).unwrap();
        assert_eq!((at(0.0), at(0.005), at(0.01)), (0.0, 0.5, 1.0));
        assert!((at(10.0) - 4.0).abs() < 1e-12 && at(90.0) < scale.hi && scale.lo < 0.0);
        // What is far below the rest is near zero, and does not stretch the axis.
        assert_eq!(
            texts(&Scale::log_from_zero("", "", [1e-9, 90.0].into_iter())),
            ["0", "0.01", "0.1", "1", "10", "100"]
        );
        assert_eq!(texts(&Scale::log_from_zero("", "", [0.0, 3.0, 8.0].into_iter()))[1], "2");
    }

    #[test]
    fn time_speaks_the_unit_that_fits() {
        assert_eq!(Scale::time(0.0, 60.0).label, "time, s");
        let hour = Scale::time(0.0, 3600.0);
        assert_eq!((hour.label.as_str(), hour.ticks[1].0), ("time, min", 300.0));
        assert_eq!(
            texts(&Scale::time(0.0, 86400.0)),
            ["0", "2", "4", "6", "8", "10", "12", "14", "16", "18", "20", "22", "24"]
        );
        assert_eq!(Scale::time(0.0, 7.0 * 86400.0).label, "time, d");
        assert!(Scale::time(3.0, 3.0).ticks.len() > 1);
    }

    #[test]
    fn odd_ranges_still_make_an_axis() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 5e-324, 1e-320, 1e299, f64::MAX];
        for &a in &odd {
            for &b in &odd {
                let values = || [a, b].into_iter();
                for scale in [
                    Scale::from_zero("", values()),
                    Scale::counts("", values()),
                    Scale::around_zero("", values()),
                    Scale::log("", values()),
                    Scale::log_from_zero("", "", values()),
                    Scale::time(a, b),
                ] {
                    assert!(scale.lo < scale.hi && (scale.hi - scale.lo).is_finite(), "{a} {b} {scale:?}");
                    assert!(scale.ticks.len() < 64);
                    for value in odd {
                        assert!(scale.at(value).is_none_or(|at| (scale.lo..=scale.hi).contains(&at)));
                    }
                }
            }
        }
    }
}
