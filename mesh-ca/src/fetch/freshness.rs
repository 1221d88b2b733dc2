//! How long an answer may be used again (RFC 9111 section 4.2), as far as documents of keys need it.

use std::time::Duration;

/// What is left of the answer's life. `None` when the server does not say.
pub(super) fn lifetime<'a>(cache_control: impl Iterator<Item = &'a str>, age: Option<&str>) -> Option<Duration> {
    let mut max_age = None;
    for directive in cache_control.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age") && max_age.is_none() {
            // Section 4.2.1: freshness information that makes no sense counts as none left.
            max_age = Some(seconds(value).unwrap_or(Duration::ZERO));
        }
    }
    let age = age.and_then(|a| seconds(a.trim())).unwrap_or(Duration::ZERO);
    max_age.map(|m| m.saturating_sub(age))
}

/// Delta seconds (section 1.2.2); too large a number is as good as the largest.
fn seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(text.parse::<u32>().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::lifetime;

    #[test]
    fn directives() {
        let cases: [(&[&str], Option<&str>, Option<u64>); 10] = [
            (&[], None, None),
            (&["public"], None, None),
            (&["max-age=60"], None, Some(60)),
            (&["public, Max-Age=\"60\", must-revalidate"], None, Some(60)),
            (&["max-age=60"], Some("25"), Some(35)),
            (&["max-age=60"], Some("99"), Some(0)),
            (&["max-age=60", "no-store"], None, Some(0)),
            (&["max-age=60, no-cache=\"x\""], None, Some(0)),
            (&["max-age=soon"], None, Some(0)),
            (&["max-age=99999999999999999999"], None, Some(u64::from(u32::MAX))),
        ];
        for (lines, age, wanted) in cases {
            assert_eq!(lifetime(lines.iter().copied(), age), wanted.map(Duration::from_secs), "{lines:?} {age:?}");
        }
    }
}
