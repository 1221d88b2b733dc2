//! How an attempt can fail before response headers, and what the client is told: status, body, details and flags as Envoy
//! spells them.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode};

use super::{retry::Failure, watchdog::Expired};
use crate::{
    dial::ConnectError,
    filter::{LocalReply, ResponseFlags},
    upstream::{SendError, SendErrorKind},
};

/// Why an attempt gave no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// No host can be picked.
    NoHost,
    /// A circuit breaker is open.
    Overflow,
    /// No connection; the reason as the transport tells it.
    Connect {
        /// In words.
        reason: Cow<'static, str>,
        /// It took too long.
        timed_out: bool,
    },
    /// The stream or connection ended.
    Reset {
        /// How.
        kind: Reset,
        /// The host may have seen the request.
        sent: bool,
    },
    /// A time limit.
    Expired(Expired),
    /// The client broke off its request.
    Client,
}

/// How a stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// The connection closed.
    Termination,
    /// The host reset the stream.
    Remote,
    /// The host refused the stream.
    Refused,
    /// The host broke the protocol.
    Protocol,
}

impl Failed {
    /// What the retry policy is asked about; `None`: never retried.
    pub(super) fn retry_kind(&self) -> Option<Failure> {
        Some(match self {
            Failed::Connect { .. } => Failure::Connect,
            Failed::Reset { kind: Reset::Refused, .. } => Failure::RefusedStream,
            Failed::Reset { sent, .. } => Failure::Reset { sent: *sent },
            Failed::Expired(Expired::Attempt) => Failure::PerTryTimeout,
            Failed::NoHost | Failed::Overflow | Failed::Expired(_) | Failed::Client => return None,
        })
    }

    /// The connection manager's limit, not the router's.
    pub(super) fn is_managers(&self) -> bool {
        matches!(self, Failed::Expired(Expired::Idle | Expired::Life | Expired::Request))
    }

    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub(super) fn transport_reason(&self) -> Option<Cow<'static, str>> {
        match self {
            Failed::Connect { reason, .. } => Some(reason.clone()),
            _ => None,
        }
    }

    /// The answer. `retried`: this was not the first attempt.
    pub(super) fn reply(&self, retried: bool) -> LocalReply {
        let reset = |flag: ResponseFlags, status: StatusCode, reason: &'static str, transport: Option<&str>| {
            let text = if retried { "retried and the latest reset reason" } else { "reset reason" };
            let body = format!("upstream connect error or disconnect/reset before headers. {text}: {reason}");
            let mut details = format!("upstream_reset_before_response_started{{{}", reason.replace(' ', "_"));
            if let Some(transport) = transport.filter(|t| !t.is_empty()) {
                details.push('|');
                details.push_str(&transport.replace(char::is_whitespace, "_"));
            }
            details.push('}');
            LocalReply::new(status, details, body).with_flags(flag)
        };
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Failed::NoHost => LocalReply::new(unavailable, "no_healthy_upstream", "no healthy upstream")
                .with_flags(ResponseFlags::NO_HEALTHY_UPSTREAM),
            Failed::Overflow => {
                let mut reply = reset(ResponseFlags::UPSTREAM_OVERFLOW, unavailable, "overflow", None);
                reply.headers.insert("x-envoy-overloaded", HeaderValue::from_static("true"));
                reply
            }
            Failed::Connect { reason, timed_out } => {
                let kind = if *timed_out { "connection timeout" } else { "remote connection failure" };
                reset(ResponseFlags::UPSTREAM_CONNECTION_FAILURE, unavailable, kind, Some(reason))
            }
            Failed::Reset { kind, .. } => match kind {
                Reset::Termination => {
                    reset(ResponseFlags::UPSTREAM_TERMINATION, unavailable, "connection termination", None)
                }
                Reset::Remote => reset(ResponseFlags::UPSTREAM_RESET, unavailable, "remote reset", None),
                Reset::Refused => {
                    reset(ResponseFlags::UPSTREAM_RESET, unavailable, "remote refused stream reset", None)
                }
                Reset::Protocol => {
                    reset(ResponseFlags::UPSTREAM_PROTOCOL_ERROR, StatusCode::BAD_GATEWAY, "protocol error", None)
                }
            },
            Failed::Expired(which) => expired(*which),
            Failed::Client => LocalReply::new(StatusCode::BAD_REQUEST, "downstream_remote_disconnect", "")
                .with_flags(ResponseFlags::DOWNSTREAM_TERMINATION),
        }
    }
}

fn expired(which: Expired) -> LocalReply {
    let gateway = StatusCode::GATEWAY_TIMEOUT;
    match which {
        Expired::Total => LocalReply::new(gateway, "response_timeout", "upstream request timeout")
            .with_flags(ResponseFlags::UPSTREAM_TIMEOUT),
        Expired::Attempt => LocalReply::new(gateway, "upstream_per_try_timeout", "upstream request timeout")
            .with_flags(ResponseFlags::UPSTREAM_TIMEOUT),
        Expired::Idle => LocalReply::new(gateway, "stream_idle_timeout", "stream timeout")
            .with_flags(ResponseFlags::STREAM_IDLE_TIMEOUT),
        Expired::Life => {
            let mut reply = LocalReply::new(gateway, "max_duration_timeout", "downstream duration timeout");
            // DEADLINE_EXCEEDED: the deadline was the client's, or as good as that.
            reply.grpc_status = Some(4);
            reply
        }
        Expired::Request => LocalReply::new(StatusCode::REQUEST_TIMEOUT, "request_overall_timeout", "request timeout")
            .with_flags(ResponseFlags::DOWNSTREAM_TERMINATION),
    }
}

impl From<ConnectError> for Failed {
    fn from(e: ConnectError) -> Self {
        match e {
            ConnectError::Overflow(_) => Failed::Overflow,
            ConnectError::Pick(_) => Failed::NoHost,
            ConnectError::Timeout => Failed::Connect { timed_out: true, reason: "".into() },
            ConnectError::Connect(e) => Failed::Connect {
                timed_out: false,
                reason: format!("delayed connect error: {}", errno_text(&e)).into(),
            },
            e => Failed::Connect { timed_out: false, reason: e.to_string().into() },
        }
    }
}

/// The system's text without Rust's addition.
fn errno_text(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

impl From<SendError> for Failed {
    fn from(e: SendError) -> Self {
        let (kind, sent) = match e.kind {
            SendErrorKind::Unsent => (Reset::Termination, false),
            SendErrorKind::Refused => (Reset::Refused, false),
            SendErrorKind::Reset(_) => (Reset::Remote, true),
            SendErrorKind::Protocol => (Reset::Protocol, true),
            SendErrorKind::Closed => (Reset::Termination, true),
            SendErrorKind::Body => return Failed::Client,
        };
        Failed::Reset { kind, sent }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failed, Reset};

    #[test]
    fn spelled_as_envoy() {
        let reply = Failed::Reset { kind: Reset::Termination, sent: true }.reply(false);
        assert_eq!(reply.details, "upstream_reset_before_response_started{connection_termination}");
        assert_eq!(
            reply.body,
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
        );
        let refused = "delayed connect error: Connection refused";
        let reply = Failed::Connect { reason: refused.into(), timed_out: false }.reply(true);
        assert_eq!(
            reply.body,
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: \
             remote connection failure"
        );
        assert_eq!(
            reply.details,
            "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"
        );
    }
}
