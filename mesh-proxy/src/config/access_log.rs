//! `accesslog.v3.AccessLog`.

use mesh_xds_api::{
    any,
    envoy::{
        config::{
            accesslog::v3::{
                AccessLog, AccessLogFilter as ProtoFilter, ComparisonFilter, access_log::ConfigType,
                access_log_filter::FilterSpecifier, comparison_filter::Op,
            },
            core::v3::{SubstitutionFormatString, substitution_format_string::Format},
        },
        extensions::access_loggers::{
            file::v3::{FileAccessLog, file_access_log::AccessLogFormat as FileFormat},
            stream::v3::{StderrAccessLog, StdoutAccessLog, stderr_access_log, stdout_access_log},
        },
    },
};

use super::{
    error::{At as _, Translated, refuse, refuse_field},
    matcher::header_matcher,
    value::{self, enumeration, present, required, unpack},
};
use crate::{
    access_log::validate,
    model::{AccessLogConfig, AccessLogFilter, AccessLogFormat, AccessLogSink, Comparison},
    supported,
};

supported! {
    /// Access logs.
    pub(super) static ACCESS_LOGS =
    envoy.config.accesslog.v3.AccessLog {
        carried: filter, typed_config;
        irrelevant: name = "a label; the type of typed_config says what it is";
    }
    envoy.config.accesslog.v3.AccessLogFilter {
        carried: status_code_filter, duration_filter, not_health_check_filter, and_filter, or_filter, header_filter,
            response_flag_filter;
    }
    envoy.config.accesslog.v3.StatusCodeFilter {
        carried: comparison;
    }
    envoy.config.accesslog.v3.DurationFilter {
        carried: comparison;
    }
    envoy.config.accesslog.v3.ComparisonFilter {
        carried: op, value;
    }
    envoy.config.accesslog.v3.NotHealthCheckFilter {}
    envoy.config.accesslog.v3.AndFilter {
        carried: filters;
    }
    envoy.config.accesslog.v3.OrFilter {
        carried: filters;
    }
    envoy.config.accesslog.v3.HeaderFilter {
        carried: header;
    }
    envoy.config.accesslog.v3.ResponseFlagFilter {
        carried: flags;
    }
    envoy.extensions.access_loggers.file.v3.FileAccessLog {
        carried: path, format, json_format, typed_json_format, log_format;
    }
    envoy.extensions.access_loggers.stream.v3.StdoutAccessLog {
        carried: log_format;
    }
    envoy.extensions.access_loggers.stream.v3.StderrAccessLog {
        carried: log_format;
    }
    envoy.config.core.v3.SubstitutionFormatString {
        carried: text_format, json_format, text_format_source;
        irrelevant: content_type = "a log has none",
            json_format_options = "keys are always sorted",
            formatters = "an operator is known without it, or refused";
    }
}

/// Several logs.
pub(super) fn access_logs(values: &[AccessLog], field: &str) -> Translated<Vec<AccessLogConfig>> {
    values.iter().enumerate().map(|(i, log)| access_log(log).at(format_args!("{field}[{i}]"))).collect()
}

fn access_log(value: &AccessLog) -> Translated<AccessLogConfig> {
    let Some(ConfigType::TypedConfig(config)) = &value.config_type else {
        return refuse_field("typed_config", "is required");
    };
    let (sink, format) = sink(config).at("typed_config")?;
    let filter = value.filter.as_ref().map(filter).transpose().at("filter")?;
    let config = AccessLogConfig { sink, format, filter };
    validate(&config).or_else(|error| refuse(error.to_string()))?;
    Ok(config)
}

fn sink(config: &any::Any) -> Translated<(AccessLogSink, AccessLogFormat)> {
    if any::is::<FileAccessLog>(config) {
        let file: FileAccessLog = unpack(config)?;
        let sink = match required(&file.path, "path")? {
            "/dev/stdout" => AccessLogSink::Stdout,
            "/dev/stderr" => AccessLogSink::Stderr,
            path => AccessLogSink::File(path.into()),
        };
        return Ok((sink, file_format(file.access_log_format)?));
    }
    if any::is::<StdoutAccessLog>(config) {
        let log: StdoutAccessLog = unpack(config)?;
        let format = log.access_log_format.map(|stdout_access_log::AccessLogFormat::LogFormat(format)| format);
        return Ok((AccessLogSink::Stdout, substitution(format).at("log_format")?));
    }
    if any::is::<StderrAccessLog>(config) {
        let log: StderrAccessLog = unpack(config)?;
        let format = log.access_log_format.map(|stderr_access_log::AccessLogFormat::LogFormat(format)| format);
        return Ok((AccessLogSink::Stderr, substitution(format).at("log_format")?));
    }
    refuse(format!("access logger {} is not carried", config.type_url))
}

fn file_format(format: Option<FileFormat>) -> Translated<AccessLogFormat> {
    Ok(match format {
        None => AccessLogFormat::Default,
        Some(FileFormat::Format(text)) if text.is_empty() => AccessLogFormat::Default,
        Some(FileFormat::Format(text)) => AccessLogFormat::Text(text),
        Some(FileFormat::JsonFormat(fields) | FileFormat::TypedJsonFormat(fields)) => {
            AccessLogFormat::Json(value::object(&fields).into())
        }
        Some(FileFormat::LogFormat(format)) => substitution(Some(format)).at("log_format")?,
    })
}

pub(super) fn substitution(format: Option<SubstitutionFormatString>) -> Translated<AccessLogFormat> {
    let Some(format) = format else { return Ok(AccessLogFormat::Default) };
    Ok(match format.format {
        Some(Format::TextFormat(text)) => AccessLogFormat::Text(text),
        Some(Format::JsonFormat(fields)) => AccessLogFormat::Json(value::object(&fields).into()),
        Some(Format::TextFormatSource(source)) => {
            let bytes = value::data(&source).at("text_format_source")?;
            AccessLogFormat::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        None => return refuse("one of text_format, json_format, text_format_source is required"),
    })
}

pub(super) fn filter(value: &ProtoFilter) -> Translated<AccessLogFilter> {
    Ok(match &value.filter_specifier {
        Some(FilterSpecifier::StatusCodeFilter(filter)) => {
            let (op, value) = comparison(filter.comparison.as_ref()).at("status_code_filter.comparison")?;
            AccessLogFilter::Status(op, value)
        }
        Some(FilterSpecifier::DurationFilter(filter)) => {
            let (op, value) = comparison(filter.comparison.as_ref()).at("duration_filter.comparison")?;
            AccessLogFilter::DurationMillis(op, value)
        }
        Some(FilterSpecifier::NotHealthCheckFilter(_)) => AccessLogFilter::NotHealthCheck,
        Some(FilterSpecifier::AndFilter(all)) => AccessLogFilter::And(filters(&all.filters).at("and_filter.filters")?),
        Some(FilterSpecifier::OrFilter(one)) => AccessLogFilter::Or(filters(&one.filters).at("or_filter.filters")?),
        Some(FilterSpecifier::HeaderFilter(filter)) => {
            let header = present(filter.header.as_ref(), "header_filter.header")?;
            AccessLogFilter::Header(header_matcher(header).at("header_filter.header")?)
        }
        Some(FilterSpecifier::ResponseFlagFilter(filter)) => AccessLogFilter::ResponseFlags(filter.flags.clone()),
        _ => return refuse("this kind of filter is not carried"),
    })
}

fn filters(values: &[ProtoFilter]) -> Translated<Vec<AccessLogFilter>> {
    if values.len() < 2 {
        return refuse("two at least are expected");
    }
    values.iter().enumerate().map(|(i, value)| filter(value).at(format_args!("[{i}]"))).collect()
}

fn comparison(value: Option<&ComparisonFilter>) -> Translated<(Comparison, u32)> {
    let Some(value) = value else { return refuse("is required") };
    let op = match enumeration(value.op, "op")? {
        Op::Eq => Comparison::Equal,
        Op::Ne => Comparison::NotEqual,
        Op::Ge => Comparison::AtLeast,
        Op::Le => Comparison::AtMost,
    };
    Ok((op, present(value.value.as_ref(), "value")?.default_value))
}
