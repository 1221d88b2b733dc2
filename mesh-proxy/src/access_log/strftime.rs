use std::{fmt::Write as _, time::SystemTime};

use time::OffsetDateTime;

/// A compiled `strftime` format, in UTC, with the extensions of Envoy (`%f`, `%3f`, `%s`) and of cctz (`%E3S`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strftime(Vec<Item>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Text(String),
    Field(char),
    /// Fraction of the second with so many digits.
    Fraction(usize),
    /// Seconds with so many digits of fraction.
    Seconds(usize),
}

/// Envoy's default form of `%START_TIME%`.
pub(super) const DEFAULT: &str = "%Y-%m-%dT%H:%M:%E3SZ";

const FIELDS: &str = "YmdHMSyebhBaAjTFDRIpZzsntuw%";

impl Strftime {
    /// # Errors
    /// The field that is not carried.
    pub(super) fn compile(format: &str) -> Result<Self, String> {
        let mut items = Vec::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            if at > 0 {
                items.push(Item::Text(rest[..at].to_owned()));
            }
            let spec = &rest[at + 1..];
            let (item, used) = field(spec).ok_or_else(|| format!("%{}", spec.chars().next().unwrap_or(' ')))?;
            items.push(item);
            rest = &spec[used..];
        }
        if !rest.is_empty() {
            items.push(Item::Text(rest.to_owned()));
        }
        Ok(Self(items))
    }

    pub(super) fn format(&self, at: SystemTime) -> String {
        let at = OffsetDateTime::from(at);
        let mut out = String::with_capacity(24);
        for item in &self.0 {
            match item {
                Item::Text(text) => out.push_str(text),
                Item::Field(field) => write_field(&mut out, *field, at),
                Item::Fraction(digits) => write_fraction(&mut out, at, *digits),
                Item::Seconds(digits) => {
                    let _ = write!(out, "{:02}.", at.second());
                    write_fraction(&mut out, at, *digits);
                }
            }
        }
        out
    }
}

/// The item at the beginning of `spec` (behind the `%`) and its length.
fn field(spec: &str) -> Option<(Item, usize)> {
    let bytes = spec.as_bytes();
    match (bytes.first()?, bytes.get(1), bytes.get(2)) {
        (b'f', ..) => Some((Item::Fraction(9), 1)),
        (digit @ b'1'..=b'9', Some(b'f'), _) => Some((Item::Fraction(usize::from(digit - b'0')), 2)),
        (b'E', Some(digit @ b'1'..=b'9'), Some(b'S')) => Some((Item::Seconds(usize::from(digit - b'0')), 3)),
        (first, ..) => {
            let first = char::from(*first);
            FIELDS.contains(first).then_some((Item::Field(first), 1))
        }
    }
}

fn write_fraction(out: &mut String, at: OffsetDateTime, digits: usize) {
    let nanos = format!("{:09}", at.nanosecond());
    out.push_str(&nanos[..digits.min(9)]);
}

fn write_field(out: &mut String, field: char, at: OffsetDateTime) {
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    // Writing to a String cannot fail.
    let _ = match field {
        'Y' => write!(out, "{year:04}"),
        'y' => write!(out, "{:02}", year.rem_euclid(100)),
        'm' => write!(out, "{month:02}"),
        'd' => write!(out, "{day:02}"),
        'e' => write!(out, "{day:2}"),
        'H' => write!(out, "{hour:02}"),
        'I' => write!(out, "{hour12:02}"),
        'M' => write!(out, "{minute:02}"),
        'S' => write!(out, "{second:02}"),
        'p' => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
        'b' | 'h' => write!(out, "{:.3}", at.month().to_string()),
        'B' => write!(out, "{}", at.month()),
        'a' => write!(out, "{:.3}", at.weekday().to_string()),
        'A' => write!(out, "{}", at.weekday()),
        'u' => write!(out, "{}", at.weekday().number_from_monday()),
        'w' => write!(out, "{}", at.weekday().number_days_from_sunday()),
        'j' => write!(out, "{:03}", at.ordinal()),
        'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
        'R' => write!(out, "{hour:02}:{minute:02}"),
        'F' => write!(out, "{year:04}-{month:02}-{day:02}"),
        'D' => write!(out, "{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
        'Z' => write!(out, "UTC"),
        'z' => write!(out, "+0000"),
        's' => write!(out, "{}", at.unix_timestamp()),
        'n' => writeln!(out),
        't' => write!(out, "\t"),
        _ => write!(out, "%"),
    };
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn fields() {
        let at = UNIX_EPOCH + Duration::from_nanos(1_795_369_529_068_441_005);
        let check = |format: &str, expected: &str| {
            assert_eq!(Strftime::compile(format).unwrap().format(at), expected, "{format}");
        };
        check(DEFAULT, "2026-11-22T17:45:29.068Z");
        check("%d/%b/%Y:%T %z", "22/Nov/2026:17:45:29 +0000");
        check("%s %3f %6f %f", "1795369529 068 068441 068441005");
        check("%I%p %A %a %j %D %e %%", "05PM Sunday Sun 326 11/22/26 22 %");
        assert_eq!(Strftime::compile("%Q").unwrap_err(), "%Q");
        assert_eq!(Strftime::compile("%").unwrap_err(), "% ");
    }
}
