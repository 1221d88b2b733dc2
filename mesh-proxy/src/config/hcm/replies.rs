//! `LocalReplyConfig`: how answers of the proxy itself look.

use std::sync::Arc;

use ::http::StatusCode;
use mesh_xds_api::envoy::{
    config::core::v3::SubstitutionFormatString,
    extensions::filters::network::http_connection_manager::v3::{LocalReplyConfig, ResponseMapper},
};

use crate::{
    access_log::{validate_filter, validate_format},
    config::{
        access_log::{filter, substitution},
        error::{At as _, Translated, refuse, refuse_field},
        route::added_headers,
        value::{data, header_value, present},
    },
    model::{LocalReplies, ReplyFormat, ReplyMapper},
    supported,
};

supported! {
    /// Local replies. Before the tables of access logs, for which a content type means nothing.
    pub(in crate::config) static REPLIES =
    envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig {
        carried: mappers, body_format;
    }
    envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper {
        carried: filter, status_code, body, body_format_override, headers_to_add;
    }
    envoy.config.core.v3.SubstitutionFormatString {
        carried: text_format, json_format, text_format_source, content_type;
        irrelevant: json_format_options = "keys are always sorted",
            formatters = "an operator is known without it, or refused";
    }
}

/// Bytes of a body that stands in the configuration, as in Envoy.
const MAX_BODY: usize = 4096;

pub(super) fn local_replies(value: &LocalReplyConfig) -> Translated<Arc<LocalReplies>> {
    let mappers = value.mappers.iter().enumerate();
    let mappers = mappers.map(|(i, m)| mapper(m).at(format_args!("mappers[{i}]"))).collect::<Result<_, _>>()?;
    let format = value.body_format.as_ref().map(body_format).transpose().at("body_format")?;
    Ok(Arc::new(LocalReplies { mappers, format }))
}

fn mapper(value: &ResponseMapper) -> Translated<ReplyMapper> {
    let filter = filter(present(value.filter.as_ref(), "filter")?).at("filter")?;
    validate_filter(&filter).or_else(|error| refuse_field("filter", error.to_string()))?;
    let status = value.status_code.map(status).transpose().at("status_code")?;
    let body = value.body.as_ref().map(data).transpose().at("body")?;
    if body.as_ref().is_some_and(|body| body.len() > MAX_BODY) {
        return refuse_field("body", format!("is longer than {MAX_BODY} bytes"));
    }
    let format = value.body_format_override.as_ref().map(body_format).transpose().at("body_format_override")?;
    Ok(ReplyMapper { filter, status, body, headers: added_headers(&value.headers_to_add, "headers_to_add")?, format })
}

fn status(code: u32) -> Translated<StatusCode> {
    match u16::try_from(code).ok().filter(|code| (200..600).contains(code)).map(StatusCode::from_u16) {
        Some(Ok(status)) => Ok(status),
        _ => refuse("must be between 200 and 599"),
    }
}

fn body_format(value: &SubstitutionFormatString) -> Translated<ReplyFormat> {
    let format = substitution(Some(value.clone()))?;
    validate_format(&format).or_else(|error| refuse(error.to_string()))?;
    let content_type = match value.content_type.as_str() {
        "" => None,
        text => Some(header_value(text).at("content_type")?),
    };
    Ok(ReplyFormat { format, content_type })
}
