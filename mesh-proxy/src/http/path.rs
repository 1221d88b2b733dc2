//! Path normalisation (`normalize_path`, `merge_slashes`): RFC 3986, section 6, as Envoy does it.
//!
//! Percent-encoded unreserved characters are decoded, backslashes become slashes, dot segments are removed. Encoded
//! slashes are left alone here; [`unescape_slashes`] is for `path_with_escaped_slashes_action`.

use std::borrow::Cow;

/// The path cannot be normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotNormal;

/// The normal form of `target` (path and query). Borrowed when it is normal already.
pub(super) fn normalize(target: &str, merge_slashes: bool) -> Result<Cow<'_, str>, NotNormal> {
    let (path, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
    if !path.starts_with('/') {
        return if path == "*" { Ok(Cow::Borrowed(target)) } else { Err(NotNormal) };
    }
    if is_normal(path, merge_slashes) {
        return Ok(Cow::Borrowed(target));
    }
    let decoded = decode_unreserved(path)?;
    let mut normal = remove_dot_segments(&decoded);
    if merge_slashes {
        normal = merge(&normal);
    }
    normal.push_str(query);
    Ok(Cow::Owned(normal))
}

/// `target` with `%2F` and `%5C` in its path as what they stand for. Borrowed when there are none.
pub(super) fn unescape_slashes(target: &str) -> Cow<'_, str> {
    let (path, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
    let mut out = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let slash = match rest.get(at + 1..at + 3) {
            Some("2f" | "2F") => '/',
            Some("5c" | "5C") => '\\',
            _ => {
                out.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
                continue;
            }
        };
        out.push_str(&rest[..at]);
        out.push(slash);
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    if out == path { Cow::Borrowed(target) } else { Cow::Owned(out + query) }
}

/// Merges adjacent slashes of the path part of `target`.
pub(super) fn merge_only(target: &str) -> Cow<'_, str> {
    let (path, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
    if !path.contains("//") {
        return Cow::Borrowed(target);
    }
    Cow::Owned(merge(path) + query)
}

fn is_normal(path: &str, merge_slashes: bool) -> bool {
    let bytes = path.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'%' | b'\\' => return false,
            b'/' => match bytes.get(i + 1) {
                Some(b'.') => return false,
                Some(b'/') if merge_slashes => return false,
                _ => {}
            },
            _ => {}
        }
        i += 1;
    }
    true
}

fn decode_unreserved(path: &str) -> Result<String, NotNormal> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        out.push_str(&rest[..at]);
        if rest.as_bytes()[at] == b'\\' {
            out.push('/');
            rest = &rest[at + 1..];
            continue;
        }
        let hex = rest.get(at + 1..at + 3).ok_or(NotNormal)?;
        let byte = u8::from_str_radix(hex, 16).map_err(|_| NotNormal)?;
        match byte {
            0 => return Err(NotNormal),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push_str(hex);
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Ok(out)
}

fn remove_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." => {
                if last {
                    segments.push("");
                }
            }
            ".." => {
                segments.pop();
                if last {
                    segments.push("");
                }
            }
            part => segments.push(part),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in segments {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

fn merge(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{NotNormal, normalize, unescape_slashes};

    #[test]
    fn table() {
        for (given, normal) in [
            ("/", "/"),
            ("/a/b?x=../y", "/a/b?x=../y"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a\\..\\b", "/b"),
            ("/%41%2f%7e", "/A%2f~"),
            ("/a//b", "/a//b"),
            ("/...", "/..."),
            ("*", "*"),
        ] {
            assert_eq!(normalize(given, false).as_deref(), Ok(normal), "{given}");
        }
        assert_eq!(normalize("/a//..///b", true).as_deref(), Ok("/a/b"));
        assert_eq!(normalize("/%00", false), Err(NotNormal));
        assert_eq!(normalize("/%zz", false), Err(NotNormal));
        assert_eq!(normalize("/%2", false), Err(NotNormal));
        assert_eq!(normalize("a", false), Err(NotNormal));
    }

    #[test]
    fn escaped_slashes() {
        for (given, unescaped) in
            [("/a%2fb%2F?c=%2f", "/a/b/?c=%2f"), ("/a%5Cb%5c", "/a\\b\\"), ("/a%252f%", "/a%252f%"), ("/", "/")]
        {
            assert_eq!(unescape_slashes(given), unescaped, "{given}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_path_stays_and_holds_no_dots(path in "/[a-c./%2eEfF\\\\]{0,24}") {
            if let Ok(normal) = normalize(&path, true) {
                assert!(!normal.split('/').any(|s| s == "." || s == ".."), "{path} {normal}");
                assert!(!normal.contains("//"));
                assert_eq!(normalize(&normal, true).as_deref(), Ok(&*normal));
            }
        }
    }
}
