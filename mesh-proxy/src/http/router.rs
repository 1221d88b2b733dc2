//! The router: from a route to a request for a host of its cluster, and from there ([`call`]) to its response.

mod call;

use std::{rc::Rc, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};

pub(super) use self::call::ATTEMPT_COUNT;
use self::call::Call;
use super::{
    connect, edits, hash,
    manager::{Reply, Routed, Upgrade},
    mirror, retry, rewrite,
    stream::Stream,
    target, timeouts,
};
use crate::{
    access_log::LogContext,
    filter::{LocalReply, ResponseFlags},
    model::{
        ClusterName, ClusterSpecifier, Forward, HeaderEdits, HostRewrite, RetryPolicy, WeightedCluster,
        WeightedClusters,
    },
    upstream::LocalCluster,
};

const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The cluster drawn by weight.
pub(super) fn weighted(stream: &Stream, forward: &Forward, weighted: &WeightedClusters, random: u64) -> usize {
    let asked = weighted.header.as_ref().and_then(|name| stream.request.headers.get(name)?.to_str().ok()?.parse().ok());
    let hash = if weighted.by_hash { hash::of(&forward.hash_policy, stream) } else { None };
    draw(&weighted.clusters, asked.or(hash).unwrap_or(random))
}

fn draw(clusters: &[WeightedCluster], random: u64) -> usize {
    let total: u64 = clusters.iter().map(|c| u64::from(c.weight)).sum();
    let mut at = if total == 0 { 0 } else { random % total };
    for (index, cluster) in clusters.iter().enumerate() {
        match at.checked_sub(u64::from(cluster.weight)) {
            Some(rest) => at = rest,
            None => return index,
        }
    }
    0
}

/// Sends the request upstream.
pub(super) async fn forward(
    stream: &mut Stream,
    routed: &Routed,
    forward: &Forward,
    upgrade: Option<Upgrade>,
) -> Reply {
    if let Some(upgrade) = &upgrade
        && !may_upgrade(stream, forward, &upgrade.kind)
    {
        return Reply::local(LocalReply::new(StatusCode::FORBIDDEN, "upgrade_failed", ""));
    }
    if let Some(reply) = check_strictly(stream) {
        return Reply::local(reply);
    }
    match find_cluster(stream, routed, forward) {
        Ok(cluster) => forward_to(cluster, stream, routed, forward, upgrade).await,
        Err(reply) => Reply::local(reply),
    }
}

async fn forward_to(
    cluster: Rc<LocalCluster>,
    stream: &mut Stream,
    routed: &Routed,
    forward: &Forward,
    upgrade: Option<Upgrade>,
) -> Reply {
    let handle = cluster.handle();
    stream.info.cluster = Some(handle.config().name.clone());
    stream.info.cluster_metadata = Some(handle.config().metadata.clone());
    let (limits, per_try) = timeouts::take(stream, forward, upgrade.is_some());
    prepare_request(stream, routed, forward);
    let policy = forward.retry.as_deref().or(routed.virtual_host.retry.as_deref());
    let policy = retry::policy(policy, &mut stream.request.headers);
    let policy = policy.filter(|p| upgrade.is_none() && admits_request(p, stream));
    let per_try = per_try.or(policy.as_ref().and_then(|p| p.per_try_timeout));
    if !stream.chain.model.router.suppress_envoy_headers {
        timeouts::tell(&mut stream.request.headers, limits.total, per_try, Duration::ZERO);
    }
    mirror::send(stream, forward);
    hash::make_cookies(&forward.hash_policy, stream);
    let hash = hash::of(&forward.hash_policy, stream);
    let terminated = |upgrade: &Upgrade| upgrade.kind == "connect" && forward.terminates_connect;
    if upgrade.as_ref().is_some_and(terminated)
        && let Some(upgrade) = upgrade
    {
        return connect::terminate(stream, cluster, upgrade, &limits, hash).await;
    }
    let random = stream.chain.worker.random();
    let mut call = Call { routed, random, forward, cluster, policy, limits, per_try, hash, upgrade };
    call.run(stream).await
}

fn may_upgrade(stream: &Stream, forward: &Forward, kind: &str) -> bool {
    match forward.upgrades.iter().find(|(name, _)| name == kind) {
        Some((_, on)) => *on,
        None => stream.chain.model.upgrades.iter().any(|name| name == kind),
    }
}

/// The answer to a request whose steering headers are malformed, where they are to be checked.
fn check_strictly(stream: &Stream) -> Option<LocalReply> {
    stream.chain.model.router.strict_headers.iter().find_map(|strict| {
        let value = stream.request.headers.get(strict.name())?;
        let text = String::from_utf8_lossy(value.as_bytes());
        if strict.admits(&text) {
            return None;
        }
        let details = format!("request_headers_failed_strict_check{{{}}}", strict.name());
        let body = format!("invalid header '{}' with value '{text}'", strict.name());
        let reply = LocalReply::new(StatusCode::BAD_REQUEST, details, body);
        Some(reply.with_flags(ResponseFlags::INVALID_ENVOY_HEADERS))
    })
}

fn find_cluster(stream: &Stream, routed: &Routed, forward: &Forward) -> Result<Rc<LocalCluster>, LocalReply> {
    let named = |header: &HeaderName| stream.request.headers.get(header).and_then(|v| v.to_str().ok()).unwrap_or("");
    let name: &str = match &forward.cluster {
        ClusterSpecifier::Cluster(name) => name,
        ClusterSpecifier::Header(header) => named(header),
        ClusterSpecifier::Weighted(_) => match routed.weighted_cluster().map(|c| &c.cluster) {
            Some(ClusterName::Fixed(name)) => name,
            Some(ClusterName::Header(header)) => named(header),
            None => "",
        },
    };
    stream.chain.worker.upstreams.cluster(name).ok_or_else(|| {
        stream.chain.stats.no_cluster.inc();
        LocalReply::new(forward.cluster_not_found, "cluster_not_found", "").with_flags(ResponseFlags::NO_CLUSTER)
    })
}

/// Header edits and rewrites, the same for every attempt.
fn prepare_request(stream: &mut Stream, routed: &Routed, forward: &Forward) {
    // The weighted cluster comes first, whatever the order of the others.
    if let Some(cluster) = routed.weighted_cluster() {
        edit_request(stream, &cluster.edits);
        if let Some(host) = &cluster.host_rewrite {
            target::set_authority(&mut stream.request, host);
        }
    }
    for level in routed.edits() {
        edit_request(stream, level);
    }
    let old_path = target::path(&stream.request);
    if let Some(new) = rewrite::path(&routed.route, &forward.rewrite, old_path, |text| format(stream, text)) {
        if !stream.chain.model.router.suppress_envoy_headers
            && let Ok(old) = HeaderValue::try_from(old_path)
        {
            stream.request.headers.insert(ORIGINAL_PATH, old);
        }
        target::set_path(&mut stream.request, new);
    }
    let host = match &forward.host_rewrite {
        HostRewrite::None | HostRewrite::Auto => None,
        HostRewrite::Literal(host) => Some(host.clone()),
        HostRewrite::Header(name) => {
            stream.request.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        }
        HostRewrite::PathRegex(pattern, substitution) => {
            let path = target::path(&stream.request);
            let path = path.split('?').next().unwrap_or("");
            Some(pattern.replace_all(path, &*rewrite::replacement(substitution)).into_owned())
        }
        HostRewrite::Format(text) => Some(stream.chain.worker.format_text(text, &context(stream))),
    };
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        rewrite_host(stream, forward, &host);
    }
}

fn context(stream: &Stream) -> LogContext<'_> {
    LogContext { info: &stream.info, request: Some(target::view(&stream.request)), response: None, trailers: None }
}

fn format(stream: &Stream, text: &str) -> String {
    stream.chain.worker.format_header(text, &context(stream))
}

fn edit_request(stream: &mut Stream, level: &HeaderEdits) {
    edits::remove(&mut stream.request.headers, &level.request_remove);
    if !level.request.is_empty() {
        let values = edits::values(&level.request, &context(stream), &stream.chain.worker);
        edits::set(&mut stream.request.headers, values);
    }
}

fn rewrite_host(stream: &mut Stream, forward: &Forward, host: &str) {
    if let Ok(old) = HeaderValue::try_from(target::authority(&stream.request)) {
        if forward.append_x_forwarded_host {
            stream.request.headers.append(FORWARDED_HOST, old.clone());
        }
        if !stream.chain.model.router.suppress_envoy_headers {
            stream.request.headers.insert(ORIGINAL_HOST, old);
        }
    }
    target::set_authority(&mut stream.request, host);
}

fn admits_request(policy: &RetryPolicy, stream: &Stream) -> bool {
    let view = target::view(&stream.request);
    policy.retriable_requests.is_empty() || policy.retriable_requests.iter().any(|m| m.matches(&view))
}
