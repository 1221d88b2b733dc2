//! Header edits.

use ::http::HeaderName;
use mesh_xds_api::envoy::config::{
    core::v3::{HeaderValueOption, header_value_option::HeaderAppendAction},
    route::v3::{Route, RouteConfiguration, VirtualHost, weighted_cluster::ClusterWeight},
};

use crate::{
    access_log::{Formatter, Missing},
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        value::{editable_header, enumeration, header_value, present},
    },
    model::{AppendAction, HeaderEdit, HeaderEdits, HeaderValueFormat},
    supported,
};

supported! {
    /// Header edits.
    pub(in crate::config) static EDITS =
    envoy.config.core.v3.HeaderValueOption {
        carried: header, append, append_action, keep_empty_value;
    }
    envoy.config.core.v3.HeaderValue {
        carried: key, value, raw_value;
    }
}

/// Messages with the four lists of edits.
pub(super) trait Edits {
    fn request(&self) -> (&[HeaderValueOption], &[String]);
    fn response(&self) -> (&[HeaderValueOption], &[String]);
}

macro_rules! edits {
    ($($message:ty),*) => {$(
        impl Edits for $message {
            fn request(&self) -> (&[HeaderValueOption], &[String]) {
                (&self.request_headers_to_add, &self.request_headers_to_remove)
            }
            fn response(&self) -> (&[HeaderValueOption], &[String]) {
                (&self.response_headers_to_add, &self.response_headers_to_remove)
            }
        }
    )*};
}
edits!(RouteConfiguration, VirtualHost, Route, ClusterWeight);

pub(super) fn edits(message: &impl Edits) -> Translated<HeaderEdits> {
    let (request, request_remove) = message.request();
    let (response, response_remove) = message.response();
    Ok(HeaderEdits {
        request: added(request, "request_headers_to_add")?,
        request_remove: removed(request_remove, "request_headers_to_remove")?,
        response: added(response, "response_headers_to_add")?,
        response_remove: removed(response_remove, "response_headers_to_remove")?,
    })
}

/// Headers to add.
pub(in crate::config) fn added(values: &[HeaderValueOption], field: &str) -> Translated<Vec<HeaderEdit>> {
    values.iter().enumerate().map(|(i, value)| edit(value).at(format_args!("{field}[{i}]"))).collect()
}

fn removed(names: &[String], field: &str) -> Translated<Vec<HeaderName>> {
    names.iter().enumerate().map(|(i, name)| editable_header(name).at(format_args!("{field}[{i}]"))).collect()
}

pub(super) fn edit(value: &HeaderValueOption) -> Translated<HeaderEdit> {
    let header = present(value.header.as_ref(), "header")?;
    let name = editable_header(&header.key).at("header.key")?;
    let text = match (header.value.as_str(), header.raw_value.as_ref()) {
        (text, []) => text.to_owned(),
        ("", raw) => match std::str::from_utf8(raw) {
            Ok(text) => text.to_owned(),
            Err(_) => return refuse_field("header.raw_value", "is not UTF-8"),
        },
        _ => return refuse_field("header.raw_value", "only one of value and raw_value may be set"),
    };
    let append = match value.append {
        Some(true) => AppendAction::AppendIfExistsOrAdd,
        Some(false) => AppendAction::OverwriteIfExistsOrAdd,
        None => match enumeration(value.append_action, "append_action")? {
            HeaderAppendAction::AppendIfExistsOrAdd => AppendAction::AppendIfExistsOrAdd,
            HeaderAppendAction::AddIfAbsent => AppendAction::AddIfAbsent,
            HeaderAppendAction::OverwriteIfExistsOrAdd => AppendAction::OverwriteIfExistsOrAdd,
            HeaderAppendAction::OverwriteIfExists => AppendAction::OverwriteIfExists,
        },
    };
    Ok(HeaderEdit { name, value: format(&text).at("header.value")?, append, keep_empty: value.keep_empty_value })
}

/// A text with operators, or a constant. `%%` stands for a percent sign in both.
fn format(text: &str) -> Translated<HeaderValueFormat> {
    if text.replace("%%", "").contains('%') {
        Formatter::compile(text, Missing::Empty).or_else(|error| refuse(error.to_string()))?;
        return Ok(HeaderValueFormat::Format(text.to_owned()));
    }
    header_value(&text.replace("%%", "%")).map(HeaderValueFormat::Literal)
}
