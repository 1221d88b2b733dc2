//! Header edits. Source: Istio's `Headers`.

use mesh_config::model::{HeaderOperations, Headers};
use mesh_xds_api::envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction};

/// Edits in Envoy's form.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Edits {
    pub(super) request_add: Vec<HeaderValueOption>,
    pub(super) request_remove: Vec<String>,
    pub(super) response_add: Vec<HeaderValueOption>,
    pub(super) response_remove: Vec<String>,
    /// Authority to send instead: it is no header to Envoy.
    pub(super) host: Option<String>,
}

pub(super) fn edits(headers: &Headers) -> Edits {
    let mut edits = Edits::default();
    if let Some(request) = &headers.request {
        edits.host = request.set.iter().find(|(name, _)| is_authority(name)).map(|(_, value)| value.clone());
        edits.request_add = added(request);
        edits.request_remove.clone_from(&request.remove);
    }
    if let Some(response) = &headers.response {
        edits.response_add = added(response);
        edits.response_remove.clone_from(&response.remove);
    }
    edits
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}

fn added(operations: &HeaderOperations) -> Vec<HeaderValueOption> {
    let set = operations.set.iter().filter(|(name, _)| !is_authority(name));
    let set = set.map(|(name, value)| option(name, value, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = operations.add.iter().filter(|(name, _)| !is_authority(name));
    let add = add.map(|(name, value)| option(name, value, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add).collect()
}

fn option(name: &str, value: &str, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: format_of(value), ..Default::default() }),
        append_action: action.into(),
        ..Default::default()
    }
}

/// The value as Envoy's format string: its commands (`%REQ(x)%`) work, any other percent sign stands for itself.
fn format_of(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find('%') {
        out.push_str(&rest[..start]);
        let tail = &rest[start + 1..];
        match tail.find('%') {
            Some(end) if end == 0 || is_command(&tail[..end]) => {
                out.push_str(&rest[start..=start + 1 + end]);
                rest = &tail[end + 1..];
            }
            _ => {
                out.push_str("%%");
                rest = tail;
            }
        }
    }
    out + rest
}

/// `NAME`, `NAME(ARGUMENTS)`, either with `:LENGTH` behind.
fn is_command(text: &str) -> bool {
    let name = text.bytes().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_').count();
    let rest = &text[name..];
    let rest = match (rest.starts_with('('), rest.rfind(')')) {
        (true, Some(end)) => &rest[end + 1..],
        (true, None) => return false,
        (false, _) => rest,
    };
    let length = rest.strip_prefix(':');
    name > 0 && (rest.is_empty() || length.is_some_and(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_digit())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_overwrites_add_appends_and_host_is_apart() {
        let request = HeaderOperations {
            set: [("Host".into(), "h".into()), ("x".into(), "1".into())].into(),
            add: [("y".into(), "2".into())].into(),
            remove: vec!["z".into()],
        };
        let edits = edits(&Headers { request: Some(request), response: None });
        assert_eq!(edits.host.as_deref(), Some("h"));
        let actions: Vec<_> = edits.request_add.iter().map(HeaderValueOption::append_action).collect();
        assert_eq!(actions, [HeaderAppendAction::OverwriteIfExistsOrAdd, HeaderAppendAction::AppendIfExistsOrAdd]);
        assert_eq!(edits.request_remove, ["z"]);
    }

    #[test]
    fn percent_signs() {
        let cases = [
            ("100%", "100%%"),
            ("%REQ(x-a)%", "%REQ(x-a)%"),
            ("a%%b", "a%%b"),
            ("50% of %PROTOCOL%", "50%% of %PROTOCOL%"),
            ("%REQ(x):10%-%x%", "%REQ(x):10%-%%x%%"),
            ("%", "%%"),
        ];
        for (value, want) in cases {
            assert_eq!(format_of(value), want, "{value}");
        }
    }
}
