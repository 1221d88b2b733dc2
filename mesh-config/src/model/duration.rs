//! Spans of time as Istio's files write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A span of time, written as Go writes it: `1h30m`, `7s`, `1.5s`, `10ms`.
///
/// The protobuf JSON form (`0.250s`) is a part of that form. The span is never negative and its resolution is one
/// nanosecond. Source: `google.protobuf.Duration` in the Istio API, read as Go's `time.ParseDuration`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// Why a text is not a [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// The text has no number, no unit, or an unknown unit.
    #[error("invalid duration {0:?}: write numbers with units, such as 7s, 1.5h or 10ms")]
    Syntax(String),
    /// The span is below zero.
    #[error("invalid duration {0:?}: it must not be negative")]
    Negative(String),
    /// The span does not fit into 292 years.
    #[error("invalid duration {0:?}: it is too long")]
    TooLong(String),
}

/// Units from the longest to the shortest, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("ns", 1),
];

impl Duration {
    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }

    /// The span as the standard library's type.
    #[must_use]
    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }

    /// Whether the span is empty.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for std::time::Duration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

impl From<std::time::Duration> for Duration {
    fn from(value: std::time::Duration) -> Self {
        Self(value)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let syntax = || DurationError::Syntax(text.to_owned());
        if let Some(rest) = text.strip_prefix('-') {
            let span = rest.parse::<Self>().map_err(|_| syntax())?;
            return if span.is_zero() { Ok(span) } else { Err(DurationError::Negative(text.to_owned())) };
        }
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(syntax());
        }
        let mut nanos: u64 = 0;
        while !rest.is_empty() {
            let (part, tail) = component(rest).ok_or_else(syntax)?;
            nanos = part
                .and_then(|part| nanos.checked_add(part))
                .filter(|sum| i64::try_from(*sum).is_ok())
                .ok_or_else(|| DurationError::TooLong(text.to_owned()))?;
            rest = tail;
        }
        Ok(Self(std::time::Duration::from_nanos(nanos)))
    }
}

/// Takes one number with its unit off the front: its nanoseconds (`None` when too many) and what follows.
fn component(text: &str) -> Option<(Option<u64>, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, mut rest) = text.split_at(digits);
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        (fraction, rest) = after.split_at(digits);
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    Some((nanoseconds(whole, fraction, scale), rest))
}

fn nanoseconds(whole: &str, fraction: &str, scale: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0').checked_mul(place)?)?;
    }
    Some(nanos)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in UNITS.iter().filter(|(unit, _)| *unit != "\u{b5}s") {
            let count = nanos / u128::from(*scale);
            if count > 0 {
                write!(f, "{count}{unit}")?;
                nanos %= u128::from(*scale);
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("7s", 7_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("10ms", 10_000_000),
            ("1h2m3.5s", 3_723_500_000_000),
            ("0.250s", 250_000_000),
            (".5s", 500_000_000),
            ("3us", 3_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(text.parse::<Duration>().unwrap().as_std().as_nanos(), nanos, "{text}");
        }
        for text in ["", "7", "s", "7 s", "7x", "1..5s", "five"] {
            assert!(matches!(text.parse::<Duration>(), Err(DurationError::Syntax(_))), "{text}");
        }
        assert!(matches!("-1s".parse::<Duration>(), Err(DurationError::Negative(_))));
        assert!(matches!("9999999h".parse::<Duration>(), Err(DurationError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn round_trips(nanos in 0..i64::MAX) {
            let span = Duration(std::time::Duration::from_nanos(nanos.unsigned_abs()));
            prop_assert_eq!(span.to_string().parse::<Duration>().unwrap(), span);
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = text.parse::<Duration>();
        }
    }
}
