//! Access logs: what a line says, which streams have one, and where it goes.
//!
//! [`Formatter`] and [`JsonFormatter`] compile Envoy's command operators (`%RESPONSE_CODE%`, `%REQ(X-A?:PATH):10%`); an
//! operator that is not carried is a [`FormatError`], never a dash. [`AccessLog`] joins a format, a filter and a sink.
//! Lines go through a bounded buffer to one writer thread ([`LogSinks`]), so that a slow disk does not hold a worker:
//! what does not fit is dropped, and counted in `access_log.dropped`.

mod filter;
mod format;
mod json;
mod operator;
mod sink;
mod strftime;
mod value;

use std::{cell::RefCell, io};

use ::http::HeaderMap;
pub(crate) use filter::LogFilter;
pub use format::{FormatError, Formatter, Missing};
pub use json::JsonFormatter;
pub use sink::LogSinks;
use sink::Sink;

use crate::{
    filter::StreamInfo,
    model::{AccessLogConfig, AccessLogFilter, AccessLogFormat, HeaderView},
};

/// Envoy's default line (`source/common/formatter/substitution_formatter.h`).
pub const DEFAULT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% ",
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" ",
    "\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n"
);

/// What an operator can see of a stream.
#[derive(Clone, Copy, Debug)]
pub struct LogContext<'a> {
    /// Facts of the stream.
    pub info: &'a StreamInfo,
    /// The request; `None` for a TCP connection.
    pub request: Option<HeaderView<'a>>,
    /// Response headers, if there was a response.
    pub response: Option<&'a HeaderMap>,
    /// Response trailers, if there were any.
    pub trailers: Option<&'a HeaderMap>,
}

/// Why an access log cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessLogError {
    /// The format is not understood.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A response flag of the filter does not exist.
    #[error("unknown response flag {0:?} in the filter")]
    UnknownFlag(String),
    /// The file cannot be opened for appending.
    #[error("cannot open the access log {path}: {source}; check that the folder exists and may be written to")]
    Open {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The writer thread cannot be started.
    #[error("cannot start the access log writer: {0}")]
    Thread(io::Error),
}

/// Whether a log of this configuration could be made; opens nothing. For rejecting configuration by name.
///
/// # Errors
/// [`AccessLogError::Format`] or [`AccessLogError::UnknownFlag`].
pub fn validate(config: &AccessLogConfig) -> Result<(), AccessLogError> {
    Line::compile(&config.format)?;
    config.filter.as_ref().map(LogFilter::compile).transpose()?;
    Ok(())
}

/// Whether a filter is one that can be asked.
///
/// # Errors
/// [`AccessLogError::UnknownFlag`].
pub(crate) fn validate_filter(filter: &AccessLogFilter) -> Result<(), AccessLogError> {
    LogFilter::compile(filter).map(drop)
}

/// Whether a text is one that can be made.
///
/// # Errors
/// [`AccessLogError::Format`].
pub(crate) fn validate_format(format: &AccessLogFormat) -> Result<(), AccessLogError> {
    Ok(Line::compile(format).map(drop)?)
}

/// An access log in force. Made once for each place it is configured in, shared by the workers.
#[derive(Debug)]
pub struct AccessLog {
    line: Line,
    filter: Option<LogFilter>,
    sink: Sink,
}

/// A compiled format.
#[derive(Debug)]
pub(crate) enum Line {
    Text(Formatter),
    Json(JsonFormatter),
}

impl Line {
    /// Compiles `format`.
    pub(crate) fn compile(format: &AccessLogFormat) -> Result<Self, FormatError> {
        Ok(match format {
            AccessLogFormat::Default => Line::Text(Formatter::compile(DEFAULT_FORMAT, Missing::Dash)?),
            AccessLogFormat::Text(text) => Line::Text(Formatter::compile(text, Missing::Dash)?),
            AccessLogFormat::Json(template) => Line::Json(JsonFormatter::compile(template)?),
        })
    }

    /// Appends the text for `cx`; a JSON object ends with a line feed.
    pub(crate) fn render(&self, cx: &LogContext<'_>, out: &mut String) {
        match self {
            Line::Text(formatter) => formatter.render(cx, out),
            Line::Json(formatter) => {
                formatter.render(cx, out);
                out.push('\n');
            }
        }
    }
}

impl AccessLog {
    /// A log of this configuration, with its file opened.
    ///
    /// # Errors
    /// [`AccessLogError`] if the format or filter is not carried, or the file cannot be opened.
    pub fn new(config: &AccessLogConfig, sinks: &LogSinks) -> Result<Self, AccessLogError> {
        Ok(Self {
            line: Line::compile(&config.format)?,
            filter: config.filter.as_ref().map(LogFilter::compile).transpose()?,
            sink: sinks.open(&config.sink)?,
        })
    }

    /// Writes the line of a stream that is over, if the filter lets it. Never blocks on the sink.
    pub fn log(&self, cx: &LogContext<'_>) {
        thread_local!(static BUFFER: RefCell<String> = const { RefCell::new(String::new()) });
        if self.filter.as_ref().is_some_and(|filter| !filter.admits(cx)) {
            return;
        }
        BUFFER.with_borrow_mut(|line| {
            line.clear();
            self.line.render(cx, line);
            self.sink.append(line.as_bytes());
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant, UNIX_EPOCH},
    };

    use ::http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::{
        filter::{ConnectionInfo, ResponseFlags},
        model::{AccessLogFilter, AccessLogSink, Comparison},
        stats::Stats,
    };

    pub(crate) fn connection() -> ConnectionInfo {
        ConnectionInfo {
            id: 7,
            direct_remote: "10.0.0.9:4000".parse().unwrap(),
            remote: "10.0.0.9:4000".parse().unwrap(),
            local: "127.0.0.1:80".parse().unwrap(),
            local_restored: false,
            tls: None,
            listener: "l".into(),
            filter_chain: "".into(),
            listener_metadata: Arc::default(),
            sni: None,
            inbound: None,
            dynamic_metadata: None,
            tlvs: Arc::new([]),
            started: Instant::now(),
        }
    }

    pub(crate) fn info() -> StreamInfo {
        let start = Instant::now();
        let mut info =
            StreamInfo::new(Arc::new(connection()), start, UNIX_EPOCH + Duration::from_micros(1_795_369_529_468_441));
        info.client = "192.0.2.1:0".parse().unwrap();
        info.status = Some(200);
        info.flags = ResponseFlags::UPSTREAM_TIMEOUT;
        info.protocol = Some("HTTP/1.1");
        info.bytes_sent = 12;
        info.cluster = Some("outbound|9080||a.b".into());
        info.upstream_host = Some("10.1.1.1:9080".into());
        info.upstream_failure = Some("connection refused here".into());
        info.timings.response_start = Some(start + Duration::from_millis(5));
        info.timings.end = Some(start + Duration::from_millis(9));
        info
    }

    fn with_context<T>(info: &StreamInfo, run: impl FnOnce(&LogContext<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "id-1".parse().unwrap());
        headers.append("x-two", "a".parse().unwrap());
        headers.append("x-two", "b".parse().unwrap());
        let mut response = HeaderMap::new();
        response.insert("x-envoy-upstream-service-time", "4".parse().unwrap());
        let request =
            HeaderView { method: "GET", path: "/p?q=1&r=2", authority: "h", scheme: "http", headers: &headers };
        run(&LogContext { info, request: Some(request), response: Some(&response), trailers: None })
    }

    fn text(format: &str) -> String {
        with_context(&info(), |cx| Formatter::compile(format, Missing::Dash).unwrap().format(cx))
    }

    #[test]
    fn envoys_default_line() {
        assert_eq!(
            text(DEFAULT_FORMAT),
            "[2026-11-22T17:45:29.468Z] \"GET /p?q=1&r=2 HTTP/1.1\" 200 UT 0 12 9 4 \"-\" \"-\" \"id-1\" \"h\" \"10.1.1.1:9080\"\n"
        );
    }

    /// `EnvoyTextLogFormat` of Istio's `pilot/pkg/model/telemetry_logging.go`.
    #[test]
    fn istios_default_line() {
        let format = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
            %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
            \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
            %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
            \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% \
            %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";
        assert_eq!(
            text(format),
            "[2026-11-22T17:45:29.468Z] \"GET /p?q=1&r=2 HTTP/1.1\" 200 UT - - \"connection_refused_here\" 0 12 9 4 \"-\" \
             \"-\" \"id-1\" \"h\" \"10.1.1.1:9080\" outbound|9080||a.b - 127.0.0.1:80 192.0.2.1:0 - -\n"
        );
    }

    /// What Envoy 1.40 prints for the same formats.
    #[test]
    fn operators() {
        let cases = [
            ("%START_TIME(%s.%3f %9f %f %Y)%", "1795369529.468 468441000 468441000 2026"),
            ("%REQ(X-A?:PATH):3%", "/p?"),
            ("%REQ(X-TWO)%", "a"),
            ("%RESPONSE_FLAGS_LONG%", "UpstreamRequestTimeout"),
            ("%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "- 5 4"),
            ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_PORT%", "192.0.2.1 4000"),
            ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%:%DOWNSTREAM_LOCAL_PORT%", "127.0.0.1:80"),
            ("%METADATA(ROUTE:a:b)% %DYNAMIC_METADATA(a)%", "- -"),
            ("100%% %CONNECTION_ID%", "100% 7"),
            ("%QUERY_PARAM(r)%|%PATH(NQ)%|%REQ_WITHOUT_QUERY(:PATH)%", "2|/p|/p"),
            ("%UPSTREAM_HOST% %UPSTREAM_REMOTE_PORT%", "10.1.1.1:9080 9080"),
            ("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_URI_SAN%", "- -"),
            ("%GRPC_STATUS%", "-"),
        ];
        for (format, expected) in cases {
            assert_eq!(text(format), expected, "{format}");
        }
        let empty = Formatter::compile("<%REQ(NONE)%>", Missing::Empty).unwrap();
        assert_eq!(with_context(&info(), |cx| empty.format(cx)), "<>");
    }

    #[test]
    fn what_is_not_carried_is_an_error() {
        let cases = [
            ("%NO_SUCH%", "NO_SUCH"),
            ("%VIRTUAL_CLUSTER_NAME%", "VIRTUAL_CLUSTER_NAME"),
            ("a % b", "%"),
            ("%REQ%", "REQ"),
            ("%REQ(bad name)%", "bad name"),
            ("%PROTOCOL(x)%", "PROTOCOL"),
            ("%START_TIME(%Q)%", "%Q"),
            ("%METADATA(NOPE:a)%", "NOPE"),
        ];
        for (format, expected) in cases {
            let error = Formatter::compile(format, Missing::Dash).unwrap_err().to_string();
            assert!(error.contains(expected), "{format}: {error}");
        }
    }

    #[test]
    fn json_is_typed() {
        let template = json!({
            "code": "%RESPONSE_CODE%", "s": "a%RESPONSE_CODE%b", "none": "%REQ(none)%", "mixed": "%REQ(none)%x",
            "n": 3, "nested": {"p": ["%PROTOCOL%"]},
        });
        let formatter = JsonFormatter::compile(&template).unwrap();
        let mut line = String::new();
        with_context(&info(), |cx| formatter.render(cx, &mut line));
        let expected = r#"{"code":200,"mixed":"-x","n":3,"nested":{"p":["HTTP/1.1"]},"none":null,"s":"a200b"}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn writes_what_the_filter_lets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let sinks = LogSinks::new(&Stats::default());
        let config = AccessLogConfig {
            sink: AccessLogSink::File(path.clone()),
            format: AccessLogFormat::Text("%RESPONSE_CODE%\n".into()),
            filter: Some(AccessLogFilter::Or(vec![
                AccessLogFilter::Status(Comparison::AtLeast, 500),
                AccessLogFilter::ResponseFlags(vec!["UO".into()]),
            ])),
        };
        let log = AccessLog::new(&config, &sinks).unwrap();
        let mut info = info();
        with_context(&info, |cx| log.log(cx));
        info.status = Some(503);
        with_context(&info, |cx| log.log(cx));
        info.status = Some(201);
        info.flags = ResponseFlags::UPSTREAM_OVERFLOW;
        with_context(&info, |cx| log.log(cx));
        sinks.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "503\n201\n");
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        sinks.reopen();
        with_context(&info, |cx| log.log(cx));
        sinks.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "201\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let sinks = LogSinks::new(&Stats::default());
        let config = AccessLogConfig {
            sink: AccessLogSink::File("/nonexistent/x.log".into()),
            format: AccessLogFormat::Default,
            filter: None,
        };
        let error = AccessLog::new(&config, &sinks).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/x.log"), "{error}");
    }
}
