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
type Values<'a> = SmallVec<[(&'a HeaderEdit, HeaderValue); 8]>;

/// Values of the request edits of `level`.
pub(super) fn request_values<'a>(level: &'a HeaderEdits, cx: &LogContext<'_>, worker: &WorkerContext) -> Values<'a> {
    values(&level.request, cx, worker)
}

/// Values of the response edits of `level`.
pub(super) fn response_values<'a>(level: &'a HeaderEdits, cx: &LogContext<'_>, worker: &WorkerContext) -> Values<'a> {
    values(&level.response, cx, worker)
}

/// Values of `edits`.
pub(super) fn values<'a>(edits: &'a [HeaderEdit], cx: &LogContext<'_>, worker: &WorkerContext) -> Values<'a> {
    let value = |edit: &'a HeaderEdit| match &edit.value {
        HeaderValueFormat::Literal(value) => Some((edit, value.clone())),
        HeaderValueFormat::Format(format) => {
            let text = worker.format_header(format, cx);
            HeaderValue::try_from(text).ok().map(|value| (edit, value))
        }
    };
    edits.iter().filter_map(value).filter(|(edit, value)| edit.keep_empty || !value.is_empty()).collect()
}

/// Removes, then sets.
pub(super) fn apply(headers: &mut HeaderMap, removals: &[http::HeaderName], values: Values<'_>) {
    for name in removals {
        headers.remove(name);
    }
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
