use ::http::HeaderName;

use super::{
    FormatError,
    strftime::{self, Strftime},
};
use crate::model::HeaderKey;

/// A command operator with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    StartTime(Strftime),
    Request(HeaderChoice),
    RequestWithoutQuery(HeaderChoice),
    Response(HeaderChoice),
    Trailer(HeaderChoice),
    QueryParam(String),
    /// With the query or without.
    Path(bool, PathOf),
    Plain(Plain),
    Address(Endpoint, AddressPart),
    Metadata(Source, Vec<String>),
    Tls(Side, TlsFact),
    GrpcStatus(GrpcForm),
    /// Read when compiled: a host name or an environment variable.
    Constant(Option<String>),
}

/// Operators without arguments that need no more than the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    ResponseFlags,
    ResponseFlagsLong,
    BytesReceived,
    BytesSent,
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    UpstreamCluster,
    UpstreamFailure,
    UpstreamAttempts,
    RouteName,
    VirtualHostName,
    FilterChainName,
    ServerName,
    ConnectionId,
    LocalReplyBody,
}

/// `X?Y`: a header, and the one used when it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderChoice {
    pub(super) main: Header,
    pub(super) other: Option<Header>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Key(HeaderKey),
    /// `:status`.
    Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathOf {
    Original,
    Current,
    OriginalOrCurrent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    DownstreamLocal,
    DownstreamRemote,
    DownstreamDirectRemote,
    UpstreamLocal,
    UpstreamHost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressPart {
    Whole,
    WithoutPort,
    Port,
}

/// Whose filter metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Dynamic,
    Route,
    Cluster,
    UpstreamHost,
    Listener,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Downstream,
    Upstream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFact {
    Version,
    Cipher,
    PeerUris,
    PeerDns,
    PeerSubject,
    PeerFingerprint,
    LocalUris,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

impl Operator {
    pub(super) fn new(name: &str, arguments: Option<&str>) -> Result<Self, FormatError> {
        let fail = |reason: String| FormatError::Arguments { operator: name.to_owned(), reason };
        let needed = || arguments.filter(|a| !a.is_empty()).ok_or_else(|| fail("needs an argument".to_owned()));
        Ok(match name {
            "START_TIME" => {
                let format = arguments.filter(|f| !f.is_empty()).unwrap_or(strftime::DEFAULT);
                let compiled = Strftime::compile(format);
                Operator::StartTime(compiled.map_err(|field| fail(format!("has a time field {field:?} not carried")))?)
            }
            "REQ" => Operator::Request(headers(needed()?).map_err(fail)?),
            "REQ_WITHOUT_QUERY" => Operator::RequestWithoutQuery(headers(needed()?).map_err(fail)?),
            "RESP" => Operator::Response(headers(needed()?).map_err(fail)?),
            "TRAILER" => Operator::Trailer(headers(needed()?).map_err(fail)?),
            "QUERY_PARAM" => Operator::QueryParam(needed()?.to_owned()),
            "PATH" => path(arguments.unwrap_or_default()).map_err(fail)?,
            "METADATA" => {
                let (source, keys) =
                    needed()?.split_once(':').ok_or_else(|| fail("needs TYPE:NAMESPACE".to_owned()))?;
                let source = source_of(source).ok_or_else(|| fail(format!("has a type {source:?} not carried")))?;
                Operator::Metadata(source, split(keys))
            }
            "DYNAMIC_METADATA" => Operator::Metadata(Source::Dynamic, split(needed()?)),
            "CLUSTER_METADATA" => Operator::Metadata(Source::Cluster, split(needed()?)),
            "UPSTREAM_METADATA" => Operator::Metadata(Source::UpstreamHost, split(needed()?)),
            "GRPC_STATUS" => Operator::GrpcStatus(grpc_form(arguments.unwrap_or_default()).map_err(fail)?),
            "ENVIRONMENT" => Operator::Constant(std::env::var(needed()?).ok()),
            _ => Self::without_arguments(name, arguments)?,
        })
    }

    fn without_arguments(name: &str, arguments: Option<&str>) -> Result<Self, FormatError> {
        let operator = plain(name)
            .map(Operator::Plain)
            .or_else(|| address(name))
            .or_else(|| tls(name))
            .or_else(|| (name == "HOSTNAME").then(|| Operator::Constant(host_name())))
            .or_else(|| (name == "GRPC_STATUS_NUMBER").then_some(Operator::GrpcStatus(GrpcForm::Number)))
            .ok_or_else(|| FormatError::Unknown(name.to_owned()))?;
        match arguments {
            None | Some("") => Ok(operator),
            Some(_) => {
                Err(FormatError::Arguments { operator: name.to_owned(), reason: "takes no argument".to_owned() })
            }
        }
    }
}

fn plain(name: &str) -> Option<Plain> {
    Some(match name {
        "PROTOCOL" => Plain::Protocol,
        "RESPONSE_CODE" => Plain::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Plain::ResponseCodeDetails,
        "CONNECTION_TERMINATION_DETAILS" => Plain::ConnectionTerminationDetails,
        "RESPONSE_FLAGS" => Plain::ResponseFlags,
        "RESPONSE_FLAGS_LONG" => Plain::ResponseFlagsLong,
        "BYTES_RECEIVED" => Plain::BytesReceived,
        "BYTES_SENT" => Plain::BytesSent,
        "DURATION" => Plain::Duration,
        "REQUEST_DURATION" => Plain::RequestDuration,
        "RESPONSE_DURATION" => Plain::ResponseDuration,
        "RESPONSE_TX_DURATION" => Plain::ResponseTxDuration,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Plain::UpstreamCluster,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Plain::UpstreamFailure,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Plain::UpstreamAttempts,
        "ROUTE_NAME" => Plain::RouteName,
        "VIRTUAL_HOST_NAME" => Plain::VirtualHostName,
        "FILTER_CHAIN_NAME" => Plain::FilterChainName,
        "REQUESTED_SERVER_NAME" => Plain::ServerName,
        "CONNECTION_ID" => Plain::ConnectionId,
        "LOCAL_REPLY_BODY" => Plain::LocalReplyBody,
        _ => return None,
    })
}

fn address(name: &str) -> Option<Operator> {
    if name == "UPSTREAM_HOST" {
        return Some(Operator::Address(Endpoint::UpstreamHost, AddressPart::Whole));
    }
    let ends = [
        ("_ADDRESS_WITHOUT_PORT", AddressPart::WithoutPort),
        ("_ADDRESS", AddressPart::Whole),
        ("_PORT", AddressPart::Port),
    ];
    let (head, part) = ends.iter().find_map(|(end, part)| Some((name.strip_suffix(end)?, *part)))?;
    let endpoint = match head {
        "DOWNSTREAM_LOCAL" => Endpoint::DownstreamLocal,
        "DOWNSTREAM_REMOTE" => Endpoint::DownstreamRemote,
        "DOWNSTREAM_DIRECT_REMOTE" => Endpoint::DownstreamDirectRemote,
        "UPSTREAM_LOCAL" => Endpoint::UpstreamLocal,
        "UPSTREAM_REMOTE" => Endpoint::UpstreamHost,
        _ => return None,
    };
    Some(Operator::Address(endpoint, part))
}

fn tls(name: &str) -> Option<Operator> {
    let (side, fact) = match name.strip_prefix("DOWNSTREAM_") {
        Some(fact) => (Side::Downstream, fact),
        None => (Side::Upstream, name.strip_prefix("UPSTREAM_")?),
    };
    let fact = match fact {
        "TLS_VERSION" => TlsFact::Version,
        "TLS_CIPHER" => TlsFact::Cipher,
        "PEER_URI_SAN" => TlsFact::PeerUris,
        "PEER_DNS_SAN" => TlsFact::PeerDns,
        "PEER_SUBJECT" => TlsFact::PeerSubject,
        "PEER_FINGERPRINT_256" => TlsFact::PeerFingerprint,
        "LOCAL_URI_SAN" => TlsFact::LocalUris,
        _ => return None,
    };
    Some(Operator::Tls(side, fact))
}

fn headers(text: &str) -> Result<HeaderChoice, String> {
    let (main, other) = match text.split_once('?') {
        Some((main, other)) => (main, Some(other)),
        None => (text, None),
    };
    Ok(HeaderChoice { main: header(main)?, other: other.map(header).transpose()? })
}

fn header(name: &str) -> Result<Header, String> {
    let key = match name.to_ascii_lowercase().as_str() {
        ":method" => HeaderKey::Method,
        ":path" => HeaderKey::Path,
        ":authority" | "host" => HeaderKey::Authority,
        ":scheme" => HeaderKey::Scheme,
        ":status" => return Ok(Header::Status),
        lower => {
            HeaderKey::Name(HeaderName::from_bytes(lower.as_bytes()).map_err(|_| format!("names no header: {name:?}"))?)
        }
    };
    Ok(Header::Key(key))
}

fn path(arguments: &str) -> Result<Operator, String> {
    let (query, of) = arguments.split_once(':').unwrap_or((arguments, ""));
    let query = match query {
        "" | "WQ" => true,
        "NQ" => false,
        other => return Err(format!("has an option {other:?} not carried (WQ or NQ)")),
    };
    let of = match of {
        "ORIG" => PathOf::Original,
        "PATH" => PathOf::Current,
        "" | "ORIG_OR_PATH" => PathOf::OriginalOrCurrent,
        other => return Err(format!("has an option {other:?} not carried (ORIG, PATH or ORIG_OR_PATH)")),
    };
    Ok(Operator::Path(query, of))
}

fn source_of(text: &str) -> Option<Source> {
    Some(match text {
        "DYNAMIC" => Source::Dynamic,
        "ROUTE" => Source::Route,
        "CLUSTER" => Source::Cluster,
        "UPSTREAM_HOST" => Source::UpstreamHost,
        "LISTENER" => Source::Listener,
        _ => return None,
    })
}

fn grpc_form(text: &str) -> Result<GrpcForm, String> {
    match text {
        "" | "CAMEL_STRING" => Ok(GrpcForm::Camel),
        "SNAKE_STRING" => Ok(GrpcForm::Snake),
        "NUMBER" => Ok(GrpcForm::Number),
        other => Err(format!("has a form {other:?} not carried")),
    }
}

fn split(keys: &str) -> Vec<String> {
    keys.split(':').map(str::to_owned).collect()
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
