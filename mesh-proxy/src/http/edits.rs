//! Header edits of routes, virtual hosts, tables and weighted clusters (`HeaderValueOption`).

use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use crate::{
    access_log::LogContext,
    model::{AppendAction, HeaderEdit, HeaderEdits, HeaderValueFormat},
    worker::WorkerContext,
};

/// The levels of edits that apply to a request, in order of application.
pub(super) type Levels<'a> = SmallVec<[&'a HeaderEdits; 4]>;

/// Values to set, worked out before the headers they may quote are changed.
pub(crate) type Values<'a> = SmallVec<[(&'a HeaderEdit, HeaderValue); 8]>;

/// Removes headers: that comes before [`values`] are worked out, so that a value cannot quote what was removed.
pub(super) fn remove(headers: &mut HeaderMap, names: &[http::HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

/// The values of edits.
pub(crate) fn values<'a>(
    edits: impl IntoIterator<Item = &'a HeaderEdit>,
    cx: &LogContext<'_>,
    worker: &WorkerContext,
) -> Values<'a> {
    let value = |edit: &'a HeaderEdit| match &edit.value {
        HeaderValueFormat::Literal(value) => Some((edit, value.clone())),
        HeaderValueFormat::Format(format) => {
            let text = worker.format_header(format, cx);
            HeaderValue::try_from(text).ok().map(|value| (edit, value))
        }
    };
    edits.into_iter().filter_map(value).filter(|(edit, value)| edit.keep_empty || !value.is_empty()).collect()
}

/// Sets them.
pub(crate) fn set(headers: &mut HeaderMap, values: Values<'_>) {
    for (edit, value) in values {
        match edit.append {
            AppendAction::AppendIfExistsOrAdd => {
                headers.append(&edit.name, value);
            }
            AppendAction::AddIfAbsent => {
                headers.entry(&edit.name).or_insert(value);
            }
            AppendAction::OverwriteIfExistsOrAdd => {
                headers.insert(&edit.name, value);
            }
            AppendAction::OverwriteIfExists => {
                if headers.contains_key(&edit.name) {
                    headers.insert(&edit.name, value);
                }
            }
        }
    }
}
