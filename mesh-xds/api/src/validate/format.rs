//! Well-known formats of texts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::encoded::value::Value;

/// A format that a rule names instead of describing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `well_known_regex: HTTP_HEADER_NAME`.
    HeaderName,
    /// `well_known_regex: HTTP_HEADER_VALUE`.
    HeaderValue,
    /// Either of them with `strict: false`.
    HeaderText,
    Email,
    Hostname,
    Ip,
    Ipv4,
    Ipv6,
    /// A host name or an IP address.
    Address,
    Uri,
    /// A URI, or a reference relative to one.
    UriReference,
    Uuid,
}

impl Format {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::HeaderName => "must be the name of an HTTP header",
            Self::HeaderValue => "must be the value of an HTTP header",
            Self::HeaderText => "must not hold NUL, CR or LF",
            Self::Email => "must be an email address",
            Self::Hostname => "must be a host name",
            Self::Ip => "must be an IP address",
            Self::Ipv4 => "must be an IPv4 address",
            Self::Ipv6 => "must be an IPv6 address",
            Self::Address => "must be a host name or an IP address",
            Self::Uri => "must be a URI",
            Self::UriReference => "must be a URI or a relative reference",
            Self::Uuid => "must be a UUID",
        }
    }

    pub(super) fn matches(self, value: &Value<'_>) -> bool {
        match value {
            Value::Text(text) => self.matches_text(text),
            Value::Bytes(address) => self.matches_address(address.len()),
            Value::Integer(_) | Value::Float(_) => false,
        }
    }

    fn matches_text(self, text: &str) -> bool {
        match self {
            Self::HeaderName => is_header_name(text),
            Self::HeaderValue => !text.bytes().any(|b| b != b'\t' && (b < 0x20 || b == 0x7f)),
            Self::HeaderText => !text.bytes().any(|b| matches!(b, 0 | b'\n' | b'\r')),
            Self::Email => text.rsplit_once('@').is_some_and(|(local, host)| is_local_part(local) && is_hostname(host)),
            Self::Hostname => is_hostname(text),
            Self::Ip => text.parse::<IpAddr>().is_ok(),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Address => is_hostname(text) || text.parse::<IpAddr>().is_ok(),
            Self::Uri => is_uri_reference(text) && scheme(text).is_some(),
            Self::UriReference => is_uri_reference(text),
            Self::Uuid => is_uuid(text),
        }
    }

    /// `bytes` fields hold addresses in network order.
    fn matches_address(self, length: usize) -> bool {
        match self {
            Self::Ip => length == 4 || length == 16,
            Self::Ipv4 => length == 4,
            Self::Ipv6 => length == 16,
            _ => false,
        }
    }
}

/// RFC 7230 `token` with the colon of a pseudo-header, plus the comma that protoc-gen-validate's range `+-.` lets in.
fn is_header_name(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or(text);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+,-.^_|~`".contains(&b))
}

/// RFC 1034, section 3.5, with the digits that RFC 1123 lets a label begin with.
fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
        (1..=63).contains(&bytes.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// RFC 5322 `dot-atom`, not longer than RFC 5321 allows.
fn is_local_part(text: &str) -> bool {
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    text.len() <= 64 && text.split('.').all(|part| !part.is_empty() && part.bytes().all(atom))
}

/// RFC 3986, section 3.1.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let rest = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(rest)).then_some(scheme)
}

/// RFC 3986, section 4.1, by its characters: what is no scheme has no colon in its first segment.
fn is_uri_reference(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    let escaped = text.split('%').skip(1).all(|p| p.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2);
    let first = text.split(['/', '?', '#']).next().unwrap_or_default();
    text.bytes().all(allowed) && escaped && (!first.contains(':') || scheme(text).is_some())
}

/// RFC 4122, section 3.
fn is_uuid(text: &str) -> bool {
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| hex(part, length))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn assert(format: Format, good: &[&str], bad: &[&str]) {
        good.iter().for_each(|t| assert!(format.matches_text(t), "{format:?} {t:?}"));
        bad.iter().for_each(|t| assert!(!format.matches_text(t), "{format:?} {t:?}"));
    }

    /// The expressions are protoc-gen-validate's own.
    #[test]
    fn headers_equal_the_published_expressions() {
        let published = [
            (Format::HeaderName, r"^:?[0-9a-zA-Z!#$%&'*+-.^_|~\x60]+$"),
            (Format::HeaderValue, r"^[^\x00-\x08\x0A-\x1F\x7F]*$"),
            (Format::HeaderText, r"^[^\x00\x0A\x0D]*$"),
        ];
        for (format, expression) in published {
            let expression = Regex::new(expression).unwrap();
            for c in (0..0x180).filter_map(char::from_u32) {
                for text in [c.to_string(), format!("a{c}"), format!("{c}a"), format!(":{c}"), format!("{c}\n")] {
                    assert_eq!(format.matches_text(&text), expression.is_match(&text), "{format:?} {text:?}");
                }
            }
            assert_eq!(format.matches_text(""), expression.is_match(""), "{format:?}");
        }
    }

    #[test]
    fn names_and_addresses() {
        let long = "a".repeat(64);
        assert(Format::Hostname, &["a", "a.example.", "1.b-c", "xn--a"], &["", ".", "a..b", "-a", "a-", "a_b", &long]);
        assert(Format::Ip, &["1.2.3.4", "::1"], &["1.2.3", "[::1]", "a", "", "01.2.3.4"]);
        assert(Format::Ipv4, &["1.2.3.4"], &["::1"]);
        assert(Format::Ipv6, &["::ffff:1.2.3.4"], &["1.2.3.4"]);
        assert(Format::Address, &["a.example", "::1"], &["a b", ""]);
        assert(Format::Email, &["a.b+c@d.example"], &["a", "@b", "a@", "a..b@c", "a b@c", "a@b_c"]);
        assert(
            Format::Uuid,
            &["123e4567-e89b-12d3-A456-426614174000"],
            &["123e4567-e89b-12d3-a456", "x23e4567-e89b-12d3-a456-426614174000", ""],
        );
        assert!(Format::Ip.matches_address(16) && !Format::Ipv4.matches_address(16));
    }

    #[test]
    fn uris() {
        assert(Format::Uri, &["http://a/b?c#d", "urn:x:y", "a:"], &["/b", "1a:b", "", "http://a b", "http://a/%zz"]);
        assert(Format::UriReference, &["/b", "?c", "", "a/b:c", "%41"], &["1a:b", "a b", "%4", "é"]);
    }
}
