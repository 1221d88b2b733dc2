//! The connection manager: one request from its headers to the answer's headers.
//!
//! ```text
//!   headers ─▸ checks ─▸ sanitise ─▸ route ─▸ filters ─▸ action (forward | redirect | direct)
//!                                                             │
//!   client  ◂─ finish ◂─ filters (reverse) ◂─ header edits ◂──┘
//! ```

use std::{
    convert::Infallible,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_TYPE, LOCATION, SET_COOKIE},
};
use hyper::{body::Incoming, upgrade::OnUpgrade};

use super::{
    connection::Connection,
    download::{Download, Source},
    edits, filters,
    filters::{Ran, RouteConfigs},
    headers, local_reply, prepare,
    redirect::Trail,
    retry, rewrite, router,
    stream::Stream,
    target,
    tunnel::Tunnel,
    upload::Upload,
    watchdog::Limits,
};
use crate::{
    access_log::LogContext,
    body::Body,
    filter::{LocalReply, ResponseFlags, StreamInfo},
    model::{Action, ClusterSpecifier, FilterConfigs, Redirect, Route, VirtualHost},
    route::{RouteInput, Routes},
    upstream::UpstreamBody,
};

/// The route of a request, and what goes with it.
pub(super) struct Routed {
    pub(super) routes: Arc<Routes>,
    pub(super) virtual_host: Arc<VirtualHost>,
    pub(super) route: Arc<Route>,
    /// Index of the weighted cluster, if the route has several.
    pub(super) weighted: Option<usize>,
}

/// An upgrade that the client asks for.
pub(super) struct Upgrade {
    /// `websocket`, `connect`; lower case.
    pub(super) kind: String,
    /// The client's side, once the answer is sent.
    pub(super) client: OnUpgrade,
}

/// What became of a request.
pub(super) enum Reply {
    /// Answered by the route, the router or the connection manager.
    Local(Box<LocalReply>),
    /// Answered by a filter: the route's header edits are not for it.
    Filter(Box<LocalReply>),
    /// Answered upstream; the body is under these limits.
    Upstream(Box<Response<UpstreamBody>>, Limits),
    /// The upstream changes the protocol.
    Upgraded(Box<Response<UpstreamBody>>, Box<Tunnel>),
    /// A `CONNECT` that ends here is connected.
    Connected(Box<Response<()>>, Box<Tunnel>),
}

impl Reply {
    pub(super) fn local(reply: LocalReply) -> Self {
        Reply::Local(Box::new(reply))
    }

    /// With the number of attempts in its headers.
    pub(super) fn with_attempts(mut self, attempts: u32) -> Self {
        let headers = match &mut self {
            Reply::Local(reply) | Reply::Filter(reply) => &mut reply.headers,
            Reply::Upstream(response, _) | Reply::Upgraded(response, _) => response.headers_mut(),
            Reply::Connected(response, _) => response.headers_mut(),
        };
        headers.insert(router::ATTEMPT_COUNT, HeaderValue::from(attempts));
        self
    }
}

/// Answers one request. Never fails: failures are answers.
pub(super) async fn serve(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let now = Instant::now();
    let (mut parts, incoming) = request.into_parts();
    let mut info = StreamInfo::new(connection.info.clone(), now, SystemTime::now());
    info.protocol = Some(headers::protocol(parts.version));
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let mut stream = Stream::begin(connection, parts, info);
    let (reply, routed, configs) = decide(&mut stream, incoming, on_upgrade, now).await;
    Ok(answer(stream, reply, routed.as_ref(), &configs).await)
}

async fn decide(
    stream: &mut Stream,
    incoming: Incoming,
    on_upgrade: Option<OnUpgrade>,
    now: Instant,
) -> (Reply, Option<Routed>, RouteConfigs) {
    let upgrade = match prepare::prepare(stream, on_upgrade) {
        Ok(upgrade) => upgrade,
        Err(reply) => return (Reply::local(reply), None, RouteConfigs::new()),
    };
    stream.chain.log_begin(stream);
    let random = stream.chain.worker.random();
    let mut routed = find_route(stream, random);
    let mut configs = route_configs(routed.as_ref());
    let has_body = !http_body::Body::is_end_stream(&incoming) && upgrade.is_none();
    if has_body {
        let keep = kept_bytes(stream, routed.as_ref());
        let drops_trailers = stream.request.version != Version::HTTP_2 && !stream.chain.model.http1.trailers;
        stream.upload = Some(Upload::new(incoming, keep, drops_trailers, now));
    }
    let mut trail = Trail::default();
    let mut upgrade = upgrade;
    loop {
        if !stream.chain.model.filters.is_empty() {
            let ran = filters::on_request(stream, &mut configs, |stream| {
                routed = find_route(stream, random);
                route_configs(routed.as_ref())
            })
            .await;
            if let Ran::Replied(reply) = ran {
                return (Reply::Filter(reply), routed, configs);
            }
        }
        let reply = act(stream, routed.as_ref(), upgrade.take()).await;
        // A redirect that is followed is a new request to the filters, as it is in Envoy.
        match (&reply, &routed) {
            (Reply::Upstream(response, _), Some(from)) => match trail.follow(stream, from, response, random) {
                Some(next) => routed = Some(next),
                None => return (reply, routed, configs),
            },
            _ => return (reply, routed, configs),
        }
        configs = route_configs(routed.as_ref());
    }
}

pub(super) fn find_route(stream: &mut Stream, random: u64) -> Option<Routed> {
    let routes = stream.chain.routes()?;
    let request = &stream.request;
    let found = routes.find(&RouteInput {
        authority: target::authority(request),
        path: target::path(request),
        method: request.method.as_str(),
        headers: &request.headers,
        scheme: target::scheme(request),
        secure: target::is_secure(request),
        random,
        tls: stream.connection.info.tls.as_deref(),
        internal: stream.internal,
    });
    stream.info.route = found.as_ref().map(|f| f.route.clone());
    let found = found?;
    let weighted = match &found.route.action {
        Action::Forward(forward) => match &forward.cluster {
            ClusterSpecifier::Weighted(clusters) => Some(router::weighted(stream, forward, clusters, random)),
            _ => None,
        },
        _ => None,
    };
    if stream.chain.keeps_request {
        stream.info.virtual_host = Some(found.virtual_host.name.as_str().into());
    }
    Some(Routed { routes, virtual_host: found.virtual_host, route: found.route, weighted })
}

/// Request bytes that are kept for another attempt, a copy or a redirect that is followed; `None` = none are needed.
fn kept_bytes(stream: &Stream, routed: Option<&Routed>) -> Option<usize> {
    let routed = routed?;
    let Action::Forward(forward) = &routed.route.action else { return None };
    let retry = forward.retry.as_ref().or(routed.virtual_host.retry.as_ref());
    let asked = || retry::is_asked_for(&stream.request.headers);
    let needed = retry.is_some() || asked() || !forward.mirrors.is_empty() || forward.internal_redirect.is_some();
    let own = routed.route.buffer_limit.or(routed.virtual_host.buffer_limit);
    needed.then(|| own.map_or(stream.chain.buffer_limit, |own| usize::try_from(own).unwrap_or(usize::MAX)))
}

/// Per-route filter configurations, most specific first.
fn route_configs(routed: Option<&Routed>) -> RouteConfigs {
    let mut configs = RouteConfigs::new();
    let Some(routed) = routed else { return configs };
    let mut push = |config: &FilterConfigs| {
        if !config.is_empty() {
            configs.push(config.clone());
        }
    };
    if let Some(cluster) = routed.weighted_cluster() {
        push(&cluster.filter_config);
    }
    push(&routed.route.filter_config);
    push(&routed.virtual_host.filter_config);
    push(&routed.routes.table().filter_config);
    configs
}

impl Routed {
    /// The weighted cluster that was drawn.
    pub(super) fn weighted_cluster(&self) -> Option<&crate::model::WeightedCluster> {
        match &self.route.action {
            Action::Forward(forward) => match &forward.cluster {
                ClusterSpecifier::Weighted(weighted) => weighted.clusters.get(self.weighted?),
                _ => None,
            },
            _ => None,
        }
    }

    /// Levels of header edits behind the weighted cluster's, which come first whatever their order; in order of
    /// application.
    pub(super) fn edits(&self) -> edits::Levels<'_> {
        let mut levels = edits::Levels::new();
        if matches!(&self.route.action, Action::Redirect(redirect) if redirect.keep_authority) {
            // What `require_tls` answers is no route's answer.
            return levels;
        }
        let table = self.routes.table();
        let all = [&self.route.edits, &self.virtual_host.edits, &table.edits];
        levels.extend(all.into_iter().filter(|e| !e.is_empty()));
        if table.most_specific_edits_last {
            levels.reverse();
        }
        levels
    }
}

async fn act(stream: &mut Stream, routed: Option<&Routed>, upgrade: Option<Upgrade>) -> Reply {
    let Some(routed) = routed else {
        stream.chain.stats.no_route.inc();
        let reply = LocalReply::new(StatusCode::NOT_FOUND, "route_not_found", "");
        return Reply::local(reply.with_flags(ResponseFlags::NO_ROUTE));
    };
    match &routed.route.action {
        Action::Forward(forward) => router::forward(stream, routed, forward, upgrade).await,
        Action::Direct(direct) => {
            stream.chain.stats.rq_direct_response.inc();
            let mut reply = LocalReply::new(direct.status, "direct_response", direct.body.clone());
            // RFC 9110, sections 15.3.2 and 15.4: these tell where the thing is, which is here.
            if direct.status == StatusCode::CREATED || direct.status.is_redirection() {
                set_location(stream, routed, &Redirect::default(), &mut reply);
            }
            Reply::local(reply)
        }
        Action::Redirect(redirect) => {
            stream.chain.stats.rq_redirect.inc();
            let status = redirect.status.unwrap_or(StatusCode::MOVED_PERMANENTLY);
            let mut reply = LocalReply::new(status, "direct_response", "");
            set_location(stream, routed, redirect, &mut reply);
            Reply::local(reply)
        }
        // As in Envoy: a route to no cluster.
        Action::Unrouted => {
            stream.chain.stats.no_cluster.inc();
            let reply = LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "cluster_not_found", "");
            Reply::local(reply.with_flags(ResponseFlags::NO_CLUSTER))
        }
    }
}

fn set_location(stream: &Stream, routed: &Routed, redirect: &Redirect, reply: &mut LocalReply) {
    let view = target::view(&stream.request);
    let context = LogContext { info: &stream.info, request: Some(view), response: None, trailers: None };
    let format = |text: &str| stream.chain.worker.format_header(text, &context);
    if let Ok(location) = HeaderValue::try_from(rewrite::location(&routed.route, redirect, &view, format)) {
        reply.headers.insert(LOCATION, location);
    }
}

/// The response for the client.
async fn answer(
    mut stream: Box<Stream>,
    reply: Reply,
    routed: Option<&Routed>,
    configs: &RouteConfigs,
) -> Response<Body> {
    let grpc_reply = stream.grpc && matches!(reply, Reply::Local(_));
    let edited = routed.filter(|_| !matches!(reply, Reply::Filter(_)));
    let (response, limits, tunnel) = match reply {
        Reply::Local(reply) | Reply::Filter(reply) => (local(&mut stream, *reply), Limits::default(), None),
        Reply::Upstream(response, limits) => (response.map(Source::Upstream), limits, None),
        Reply::Connected(response, tunnel) => (response.map(|()| Source::Local(None)), Limits::default(), Some(tunnel)),
        Reply::Upgraded(response, tunnel) => (response.map(Source::Upstream), Limits::default(), Some(tunnel)),
    };
    let mut tunnel = tunnel;
    let (mut parts, mut source) = response.into_parts();
    stream.info.status = Some(parts.status.as_u16());
    if let Some(routed) = edited {
        edit_response(&stream, routed, &mut parts.headers);
        if grpc_reply {
            // It is gRPC whatever the edits say.
            parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        }
    }
    if stream.reached > 0
        && let Ran::Replied(reply) = filters::on_response(&mut stream, &mut parts, configs).await
    {
        (parts, source) = local(&mut stream, *reply).into_parts();
        tunnel = None;
    }
    let http1 = stream.request.version != Version::HTTP_2;
    let switching = tunnel.is_some() && parts.status == StatusCode::SWITCHING_PROTOCOLS;
    headers::remove_hop_by_hop(&mut parts.headers, switching && http1);
    if switching && !http1 {
        // RFC 8441, section 4: the answer to an extended CONNECT that was accepted.
        parts.status = StatusCode::OK;
    }
    if http1 && tunnel.is_none() && stream.connection.is_opaque() {
        // What the client may have sent already, trusting that its upgrade is taken up, is no request.
        stream.connection.ending.set(true);
    }
    headers::finish_response(&stream.chain.model, &stream.request.headers, &mut parts.headers);
    if http1 && stream.connection.ending.get() && tunnel.is_none() {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    for cookie in stream.cookies.drain(..) {
        parts.headers.append(SET_COOKIE, cookie);
    }
    stream.info.status = Some(parts.status.as_u16());
    if stream.grpc {
        stream.info.grpc_status = local_reply::grpc_status(&parts.headers);
    }
    if stream.chain.keeps_response {
        stream.response = Some(Box::new(parts.headers.clone()));
    }
    parts.version = stream.request.version;
    if let Some(tunnel) = tunnel {
        tunnel.spawn(stream);
        return Response::from_parts(parts, Body::Empty);
    }
    let body = Body::Download(Download::new(source, stream, limits, Instant::now()));
    Response::from_parts(parts, body)
}

fn local(stream: &mut Stream, mut reply: LocalReply) -> Response<Source> {
    stream.info.flags.insert(reply.flags);
    stream.info.details = Some(reply.details.clone());
    stream.info.status = Some(reply.status.as_u16());
    if stream.chain.keeps_response || stream.chain.replies.is_some() {
        stream.info.local_reply_body = Some(reply.body.clone());
    }
    let chain = stream.chain.clone();
    if let Some(replies) = &chain.replies {
        replies.rewrite(&mut reply, stream);
    }
    let head = stream.request.method == Method::HEAD;
    local_reply::response(reply, stream.grpc, head).map(Source::Local)
}

fn edit_response(stream: &Stream, routed: &Routed, response: &mut http::HeaderMap) {
    for level in routed.weighted_cluster().map(|cluster| &cluster.edits).into_iter().chain(routed.edits()) {
        edits::remove(response, &level.response_remove);
        if level.response.is_empty() {
            continue;
        }
        let context = LogContext {
            info: &stream.info,
            request: Some(target::view(&stream.request)),
            response: Some(response),
            trailers: None,
        };
        let values = edits::values(&level.response, &context, &stream.chain.worker);
        edits::set(response, values);
    }
}
