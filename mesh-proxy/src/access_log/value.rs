use std::{
    borrow::Cow,
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use ::http::HeaderMap;
use serde_json::Value as Json;

use super::{
    LogContext, Missing,
    operator::{AddressPart, Endpoint, GrpcForm, Header, HeaderChoice, Operator, PathOf, Plain, Side, Source, TlsFact},
};
use crate::{
    filter::{StreamInfo, TlsInfo},
    model::HeaderKey,
};

/// What an operator gives.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Text(Cow<'a, str>),
    Number(u64),
    Json(Json),
}

impl<'a> Value<'a> {
    fn text(text: Option<impl Into<Cow<'a, str>>>) -> Self {
        text.map_or(Value::None, |text| Value::Text(text.into()))
    }

    fn text_if_any(text: &'a str) -> Self {
        if text.is_empty() { Value::None } else { Value::Text(text.into()) }
    }

    fn millis(from: Instant, to: Option<Instant>) -> Self {
        to.map_or(Value::None, |to| Value::Number(millis(to.saturating_duration_since(from))))
    }

    /// Text cut to `limit` bytes, at a character.
    pub(super) fn truncated(self, limit: Option<usize>) -> Self {
        let (Some(limit), Value::Text(text)) = (limit, &self) else { return self };
        if text.len() <= limit {
            return self;
        }
        let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        Value::Text(Cow::Owned(text[..end].to_owned()))
    }

    pub(super) fn write(&self, out: &mut String, missing: Missing) {
        // Writing to a String cannot fail.
        let _ = match self {
            Value::None => out.write_str(missing.as_str()),
            Value::Text(text) => out.write_str(text),
            Value::Number(number) => write!(out, "{number}"),
            Value::Json(value) => write!(out, "{value}"),
        };
    }
}

impl Operator {
    pub(super) fn value<'a>(&'a self, cx: &LogContext<'a>) -> Value<'a> {
        match self {
            Operator::StartTime(format) => Value::Text(format.format(cx.info.timings.start_time).into()),
            Operator::Request(choice) => Value::text(choose(choice, |header| request_header(cx, header))),
            Operator::RequestWithoutQuery(choice) => {
                Value::text(choose(choice, |header| request_header(cx, header)).map(without_query))
            }
            Operator::Response(choice) => {
                Value::text(choose(choice, |header| response_header(cx.response, cx.info, header)))
            }
            Operator::Trailer(choice) => {
                Value::text(choose(choice, |header| response_header(cx.trailers, cx.info, header)))
            }
            Operator::QueryParam(name) => Value::text(query_param(cx, name)),
            Operator::Path(query, of) => Value::text(path(cx, *of).map(|path| match query {
                true => path,
                false => without_query(path),
            })),
            Operator::Plain(plain) => plain_value(*plain, cx.info),
            Operator::Address(endpoint, part) => address(cx.info, *endpoint, *part),
            Operator::Metadata(source, keys) => metadata(cx.info, *source, keys),
            Operator::Tls(side, fact) => tls(cx.info, *side, *fact),
            Operator::GrpcStatus(form) => grpc_status(cx, *form),
            Operator::Constant(text) => Value::text(text.as_deref()),
        }
    }
}

fn plain_value(plain: Plain, info: &StreamInfo) -> Value<'_> {
    let timings = &info.timings;
    match plain {
        Plain::Protocol => Value::text(info.protocol),
        Plain::ResponseCode => Value::Number(u64::from(info.status.unwrap_or(0))),
        Plain::ResponseCodeDetails => details(info, info.protocol.is_some()),
        Plain::ConnectionTerminationDetails => details(info, info.protocol.is_none()),
        Plain::ResponseFlags => Value::Text(info.flags.to_string().into()),
        Plain::ResponseFlagsLong if info.flags.is_empty() => Value::Text("-".into()),
        Plain::ResponseFlagsLong => Value::Text(info.flags.long_names().collect::<Vec<_>>().join(",").into()),
        Plain::BytesReceived => Value::Number(info.bytes_received),
        Plain::BytesSent => Value::Number(info.bytes_sent),
        Plain::Duration => timings.duration().map_or(Value::None, |duration| Value::Number(millis(duration))),
        Plain::RequestDuration => Value::millis(timings.start, timings.request_end),
        Plain::ResponseDuration => Value::millis(timings.start, timings.response_start),
        Plain::ResponseTxDuration => {
            timings.response_start.map_or(Value::None, |start| Value::millis(start, timings.end))
        }
        Plain::UpstreamCluster => Value::text(info.cluster.as_deref()),
        Plain::UpstreamFailure => Value::text(info.upstream_failure.as_deref().map(underscored)),
        Plain::UpstreamAttempts => Value::Number(u64::from(info.attempts)),
        Plain::RouteName => info.route.as_ref().map_or(Value::None, |route| Value::text_if_any(&route.name)),
        Plain::VirtualHostName => Value::text(info.virtual_host.as_deref()),
        Plain::FilterChainName => Value::text_if_any(&info.connection.filter_chain),
        Plain::ServerName => Value::text(info.connection.sni.as_deref()),
        Plain::LocalReplyBody => {
            Value::text(info.local_reply_body.as_deref().and_then(|body| std::str::from_utf8(body).ok()))
        }
        Plain::ConnectionId => Value::Number(info.connection.id),
    }
}

fn details(info: &StreamInfo, applies: bool) -> Value<'_> {
    Value::text(info.details.as_deref().filter(|_| applies).map(underscored))
}

/// Details have no white space in logs, so that a line can be split at spaces.
fn underscored(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_whitespace) { text.replace(char::is_whitespace, "_").into() } else { text.into() }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn choose<'a>(choice: &HeaderChoice, find: impl Fn(&Header) -> Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    find(&choice.main).or_else(|| find(choice.other.as_ref()?))
}

fn request_header<'a>(cx: &LogContext<'a>, header: &Header) -> Option<Cow<'a, str>> {
    let request = cx.request?;
    match header {
        // Envoy logs the first of several values.
        Header::Key(HeaderKey::Name(name)) => {
            request.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
        }
        Header::Key(key) => request.value(key),
        Header::Status => None,
    }
}

fn response_header<'a>(headers: Option<&'a HeaderMap>, info: &StreamInfo, header: &Header) -> Option<Cow<'a, str>> {
    match header {
        Header::Key(HeaderKey::Name(name)) => headers?.get(name).map(|value| String::from_utf8_lossy(value.as_bytes())),
        Header::Key(_) => None,
        Header::Status => info.status.map(|status| status.to_string().into()),
    }
}

fn path<'a>(cx: &LogContext<'a>, of: PathOf) -> Option<Cow<'a, str>> {
    let request = cx.request?;
    let original = || {
        let value = request.headers.get("x-envoy-original-path")?;
        Some(String::from_utf8_lossy(value.as_bytes()))
    };
    match of {
        PathOf::Original => original(),
        PathOf::Current => request.value(&HeaderKey::Path),
        PathOf::OriginalOrCurrent => original().or_else(|| request.value(&HeaderKey::Path)),
    }
}

fn without_query(path: Cow<'_, str>) -> Cow<'_, str> {
    match path {
        Cow::Borrowed(path) => path.split('?').next().unwrap_or_default().into(),
        Cow::Owned(path) => path.split('?').next().unwrap_or_default().to_owned().into(),
    }
}

fn query_param<'a>(cx: &LogContext<'a>, name: &str) -> Option<&'a str> {
    let (_, query) = cx.request?.path.split_once('?')?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

fn address(info: &StreamInfo, endpoint: Endpoint, part: AddressPart) -> Value<'_> {
    let socket = match endpoint {
        Endpoint::DownstreamLocal => info.connection.local,
        Endpoint::DownstreamRemote => info.client,
        Endpoint::DownstreamDirectRemote => info.connection.direct_remote,
        Endpoint::UpstreamLocal => match info.upstream_local {
            Some(local) => local,
            None => return Value::None,
        },
        Endpoint::UpstreamHost => return host(info, part),
    };
    of_socket(socket, part)
}

fn host(info: &StreamInfo, part: AddressPart) -> Value<'_> {
    let Some(host) = info.upstream_host.as_deref() else { return Value::None };
    match (part, host.parse::<SocketAddr>()) {
        (AddressPart::Whole, _) | (AddressPart::WithoutPort, Err(_)) => Value::Text(host.into()),
        (_, Ok(socket)) => of_socket(socket, part),
        (AddressPart::Port, Err(_)) => Value::None,
    }
}

fn of_socket<'a>(socket: SocketAddr, part: AddressPart) -> Value<'a> {
    match part {
        AddressPart::Whole => Value::Text(socket.to_string().into()),
        AddressPart::WithoutPort => Value::Text(socket.ip().to_string().into()),
        AddressPart::Port => Value::Number(u64::from(socket.port())),
    }
}

fn metadata<'a>(info: &'a StreamInfo, source: Source, keys: &[String]) -> Value<'a> {
    let all = match source {
        Source::Dynamic => info.dynamic_metadata.as_deref(),
        Source::Route => info.route.as_ref().map(|route| &*route.metadata),
        Source::Cluster => info.cluster_metadata.as_deref(),
        Source::UpstreamHost => info.upstream_metadata.as_deref(),
        Source::Listener => Some(&*info.connection.listener_metadata),
    };
    let found = all.and_then(|all| {
        let (first, rest) = keys.split_first()?;
        rest.iter().try_fold(all.get(first)?, |value, key| value.get(key))
    });
    match found {
        None | Some(Json::Null) => Value::None,
        Some(Json::String(text)) => Value::Text(text.as_str().into()),
        Some(other) => Value::Json(plain(other)),
    }
}

/// `value` with whole floating point numbers as integers: a protobuf `Struct` knows no integers.
pub(super) fn plain(value: &Json) -> Json {
    match value {
        Json::Number(number) => match number.as_f64() {
            #[allow(clippy::cast_possible_truncation)] // below 2^53
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9.0e15 => (float as i64).into(),
            _ => value.clone(),
        },
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

fn tls(info: &StreamInfo, side: Side, fact: TlsFact) -> Value<'_> {
    let tls: Option<&TlsInfo> = match side {
        Side::Downstream => info.connection.tls.as_deref(),
        Side::Upstream => info.upstream_tls.as_deref(),
    };
    let Some(tls) = tls else { return Value::None };
    let list = |items: &'_ [String]| match items.is_empty() {
        true => Value::None,
        false => Value::Text(items.join(",").into()),
    };
    match fact {
        TlsFact::Version => Value::text_if_any(tls.version),
        TlsFact::Cipher => Value::text_if_any(&tls.cipher),
        TlsFact::PeerUris => list(&tls.peer_uris),
        TlsFact::PeerDns => list(&tls.peer_dns),
        TlsFact::PeerSubject => Value::text_if_any(&tls.peer_subject),
        TlsFact::PeerFingerprint => Value::text_if_any(&tls.peer_fingerprint),
        TlsFact::LocalUris => list(&tls.local_uris),
    }
}

/// Names of the gRPC codes: <https://grpc.io/docs/guides/status-codes/>.
const GRPC_CODES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

fn grpc_status<'a>(cx: &LogContext<'a>, form: GrpcForm) -> Value<'a> {
    let Some(code) = cx.info.grpc_status else { return Value::None };
    let name = GRPC_CODES.get(usize::from(code));
    match (form, name) {
        (GrpcForm::Number, _) => Value::Number(u64::from(code)),
        (GrpcForm::Camel, Some((camel, _))) => Value::Text((*camel).into()),
        (GrpcForm::Snake, Some((_, snake))) => Value::Text((*snake).into()),
        (_, None) => Value::Text(code.to_string().into()),
    }
}
