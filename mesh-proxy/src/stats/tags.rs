//! Taking the variable parts out of a dotted name, as Envoy's default tags (`source/common/config/well_known_names.cc`).

/// A name without its variable parts, and those parts as labels.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tagged {
    pub(super) name: String,
    pub(super) labels: Vec<(&'static str, String)>,
}

/// What may follow `cluster.NAME.`; tells where a name that has dots in it ends.
const CLUSTER_STATS: &[&str] = &[
    "assignment_",
    "bind_errors",
    "canary.upstream_",
    "circuit_breakers.",
    "control_plane.",
    "default.total_match_count",
    "external.upstream_",
    "health_check.",
    "http1.",
    "http2.",
    "init_fetch_timeout",
    "internal.upstream_",
    "lb_",
    "max_host_weight",
    "membership_",
    "original_dst_",
    "outlier_detection.",
    "retry_or_shadow_abandoned",
    "ssl.",
    "update_",
    "upstream_",
    "version",
    "warming_state",
];

/// What may follow `http.PREFIX.`.
const HTTP_STATS: &[&str] = &[
    "cors.",
    "downstream_",
    "ext_authz.",
    "fault.",
    "http1.",
    "http2.",
    "http_local_rate_limiter.",
    "jwt_authn.",
    "local_rate_limit.",
    "no_cluster",
    "no_route",
    "passthrough_internal_redirect",
    "rbac.",
    "rds.",
    "retry.",
    "rq_",
    "rs_too_large",
    "tracing.",
    "user_agent.",
];

/// What may follow `listener.ADDRESS.`.
const LISTENER_STATS: &[&str] = &[
    "connections_accepted",
    "downstream_",
    "extension_config_",
    "http.",
    "network_extension_",
    "no_filter_chain_match",
    "ssl.",
    "worker_",
];

/// What may follow `tcp.PREFIX.`.
const TCP_STATS: &[&str] = &["downstream_", "idle_timeout", "max_downstream_", "on_demand_", "upstream_", "rbac."];

pub(super) fn extract(name: &str) -> Tagged {
    let mut labels = Vec::new();
    let mut name = response_code(name, &mut labels);
    if let Some((rest, prefix)) = cut(&name, "http.", HTTP_STATS) {
        labels.push(("envoy_http_conn_manager_prefix", prefix));
        name = middle(&format!("http.{rest}"), ".rds.", "envoy_rds_route_config", &mut labels);
        name = middle(&name, ".fault.", "envoy_fault_downstream_cluster", &mut labels);
    } else if let Some((rest, cluster)) = cut(&name, "cluster.", CLUSTER_STATS) {
        labels.push(("envoy_cluster_name", cluster));
        name = tls(format!("cluster.{rest}"), &mut labels);
    } else if let Some(rest) = name.strip_prefix("listener.").filter(|rest| !rest.starts_with("admin.")) {
        name = listener(rest, &mut labels);
    } else if let Some((rest, prefix)) = cut(&name, "tcp.", TCP_STATS).filter(|_| !name.starts_with("tcp.rbac.")) {
        labels.push(("envoy_tcp_prefix", prefix));
        name = format!("tcp.{rest}");
    } else if let Some((prefix, rest)) = name.split_once(".rbac.") {
        labels.push(("envoy_rbac_prefix", prefix.to_owned()));
        name = format!("rbac.{rest}");
    } else if let Some((worker, rest)) = name.strip_prefix("listener_manager.worker_").and_then(|r| r.split_once('.')) {
        labels.push(("envoy_worker_id", format!("worker_{worker}")));
        name = format!("listener_manager.{rest}");
    }
    Tagged { name, labels }
}

/// `*_rq_200` and `*_rq_2xx`.
fn response_code(name: &str, labels: &mut Vec<(&'static str, String)>) -> String {
    if let Some((head, tail)) = name.rsplit_once("_rq_") {
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 3 && tail.len() == 3 {
            labels.push(("envoy_response_code", tail.to_owned()));
            return format!("{head}_rq");
        }
        if digits == 1 && tail.ends_with("xx") && tail.len() == 3 {
            labels.push(("envoy_response_code_class", tail[..1].to_owned()));
            return format!("{head}_rq_xx");
        }
    }
    name.to_owned()
}

/// `PREFIX NAME . REST` with PREFIX given: REST and NAME. NAME ends before the first part that is in `known`, else at the
/// first dot.
fn cut(name: &str, prefix: &str, known: &[&str]) -> Option<(String, String)> {
    let rest = name.strip_prefix(prefix)?;
    let dots = || rest.match_indices('.').map(|(at, _)| at).filter(|at| *at > 0);
    let at = dots().find(|at| known.iter().any(|k| rest[at + 1..].starts_with(k))).or_else(|| dots().next())?;
    Some((rest[at + 1..].to_owned(), rest[..at].to_owned()))
}

/// `*MARKER(<value>.)<base stat>`.
fn middle(name: &str, marker: &str, label: &'static str, labels: &mut Vec<(&'static str, String)>) -> String {
    if let Some((head, tail)) = name.split_once(marker)
        && let Some((value, stat)) = tail.rsplit_once('.')
    {
        labels.push((label, value.to_owned()));
        return format!("{head}{marker}{stat}");
    }
    name.to_owned()
}

fn listener(rest: &str, labels: &mut Vec<(&'static str, String)>) -> String {
    let Some((rest, address)) = cut(rest, "", LISTENER_STATS) else { return format!("listener.{rest}") };
    let mut name = format!("listener.{rest}");
    if let Some((stat, prefix)) = cut(&rest, "http.", HTTP_STATS) {
        labels.push(("envoy_http_conn_manager_prefix", prefix));
        name = format!("listener.http.{stat}");
    } else if let Some((worker, stat)) = rest.strip_prefix("worker_").and_then(|r| r.split_once('.')) {
        labels.push(("envoy_worker_id", format!("worker_{worker}")));
        name = format!("listener.{stat}");
    }
    labels.push(("envoy_listener_address", address));
    tls(name, labels)
}

/// `*.ssl.ciphers.(<cipher>)` and its like.
fn tls(name: String, labels: &mut Vec<(&'static str, String)>) -> String {
    let kinds = [
        (".ssl.ciphers.", "envoy_ssl_cipher"),
        (".ssl.versions.", "envoy_ssl_version"),
        (".ssl.curves.", "envoy_ssl_curve"),
        (".ssl.sigalgs.", "envoy_ssl_sigalg"),
    ];
    for (marker, label) in kinds {
        if let Some((head, value)) = name.split_once(marker) {
            labels.push((label, value.to_owned()));
            return format!("{head}{}", marker.trim_end_matches('.'));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::extract;

    fn check(name: &str, expected: &str) {
        let tagged = extract(name);
        let labels: Vec<_> = tagged.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(format!("{}{{{}}}", tagged.name, labels.join(",")), expected);
    }

    /// The first ones are what Envoy 1.40 prints for these names.
    #[test]
    fn as_envoy() {
        check("cluster.a.upstream_rq_503", "cluster.upstream_rq{envoy_response_code=503,envoy_cluster_name=a}");
        check("cluster.a.upstream_rq_5xx", "cluster.upstream_rq_xx{envoy_response_code_class=5,envoy_cluster_name=a}");
        check("cluster.a.upstream_cx_total", "cluster.upstream_cx_total{envoy_cluster_name=a}");
        check("cluster.a.circuit_breakers.high.rq_open", "cluster.circuit_breakers.high.rq_open{envoy_cluster_name=a}");
        check("http.in.rbac.allowed", "http.rbac.allowed{envoy_http_conn_manager_prefix=in}");
        check("http.in.downstream_rq_total", "http.downstream_rq_total{envoy_http_conn_manager_prefix=in}");
        check(
            "listener.127.0.0.1_80.downstream_cx_total",
            "listener.downstream_cx_total{envoy_listener_address=127.0.0.1_80}",
        );
        check(
            "listener.127.0.0.1_80.http.in.downstream_rq_2xx",
            "listener.http.downstream_rq_xx{envoy_response_code_class=2,envoy_http_conn_manager_prefix=in,envoy_listener_address=127.0.0.1_80}",
        );
        check("listener.admin.downstream_cx_active", "listener.admin.downstream_cx_active{}");
        check("tcp.p.downstream_cx_total", "tcp.downstream_cx_total{envoy_tcp_prefix=p}");
        check("cluster_manager.cds.update_success", "cluster_manager.cds.update_success{}");
        check("server.uptime", "server.uptime{}");
    }

    #[test]
    fn names_with_dots_stay_whole() {
        check(
            "cluster.outbound|9080||reviews.default.svc.cluster.local.upstream_rq_total",
            "cluster.upstream_rq_total{envoy_cluster_name=outbound|9080||reviews.default.svc.cluster.local}",
        );
        check(
            "cluster.a.b.external.upstream_rq_200",
            "cluster.external.upstream_rq{envoy_response_code=200,envoy_cluster_name=a.b}",
        );
        check(
            "http.outbound_0.0.0.0_9080.downstream_cx_active",
            "http.downstream_cx_active{envoy_http_conn_manager_prefix=outbound_0.0.0.0_9080}",
        );
        check(
            "http.x.rds.9080.update_success",
            "http.rds.update_success{envoy_http_conn_manager_prefix=x,envoy_rds_route_config=9080}",
        );
        check("tcp.rbac.allowed", "rbac.allowed{envoy_rbac_prefix=tcp}");
        check(
            "listener.0.0.0.0_1.ssl.ciphers.TLS_AES_128_GCM_SHA256",
            "listener.ssl.ciphers{envoy_listener_address=0.0.0.0_1,envoy_ssl_cipher=TLS_AES_128_GCM_SHA256}",
        );
    }
}
