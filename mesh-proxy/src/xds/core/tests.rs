use std::time::{Duration, Instant, SystemTime};

use mesh_xds_api::{TypeUrl, json};
use serde_json::{Value, json};

use super::{Core, Now, Raw, Told, Want};
use crate::{cluster::ClusterDeps, config::Bootstrap, filter::FilterRegistry, model::ConfigSource, stats::Stats};

/// A core with a clock in hand.
struct Harness {
    core: Core,
    now: Now,
    stats: Stats,
    wants: Vec<Want>,
}

impl Harness {
    fn new(dynamic: &str) -> Self {
        let text = format!(
            "{{node: {{id: node-1}}, dynamic_resources: {{ads_config: {{api_type: GRPC, grpc_services: [{{envoy_grpc: \
             {{cluster_name: xds}}}}]}}, {dynamic}}}, static_resources: {{clusters: [{{name: xds}}]}}}}"
        );
        let bootstrap = Bootstrap::from_text(&text, &FilterRegistry::empty()).unwrap();
        let deps = ClusterDeps::default();
        let stats = deps.stats.clone();
        let translator = bootstrap.translator(FilterRegistry::empty(), stats.clone());
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let core = Core::new(bootstrap, translator, deps, now).unwrap();
        let mut harness = Self { core, now, stats, wants: Vec::new() };
        harness.collect();
        harness
    }

    fn ads() -> Self {
        Self::new("lds_config: {ads: {}, initial_fetch_timeout: 0s}, cds_config: {ads: {}, initial_fetch_timeout: 0s}")
    }

    fn collect(&mut self) {
        self.wants.extend(self.core.take_wants());
    }

    fn told(&mut self, type_url: TypeUrl, added: &[Value], removed: &[&str]) -> Vec<String> {
        let raw = |value: &Value| {
            let mut value = value.clone();
            value["@type"] = type_url.as_str().into();
            let name = value.get("name").or(value.get("cluster_name")).and_then(Value::as_str).unwrap().to_owned();
            Raw { name, version: "1".into(), any: json::any_from_value(&value).unwrap() }
        };
        let told = Told {
            source: ConfigSource::Ads,
            type_url: type_url.clone(),
            added: added.iter().map(raw).collect(),
            removed: removed.iter().map(|name| (*name).to_owned()).collect(),
        };
        let rejections = self.core.told(told, self.now);
        self.collect();
        rejections.iter().map(ToString::to_string).collect()
    }

    fn later(&mut self, time: Duration) {
        self.now.instant += time;
        self.core.tick(self.now);
        self.collect();
    }

    fn clusters(&self) -> Vec<String> {
        let mut names: Vec<String> = self.core.snapshot().clusters.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    fn listeners(&self) -> Vec<&str> {
        self.core.snapshot().listeners.keys().map(|name| &**name).collect()
    }

    fn wanted(&mut self) -> Vec<String> {
        let show = |want: Want| match want {
            Want::All(url, _) => format!("{} *", url.short().unwrap()),
            Want::Name(url, _, name) => format!("{} {name}", url.short().unwrap()),
            Want::Forget(url, _, name) => format!("-{} {name}", url.short().unwrap()),
        };
        self.wants.drain(..).map(show).collect()
    }
}

fn plain(name: &str) -> Value {
    json!({"name": name, "connect_timeout": "1s"})
}

fn eds(name: &str, timeout: &str) -> Value {
    let source = json!({"ads": {}, "initial_fetch_timeout": timeout});
    json!({"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": source}})
}

fn assignment(name: &str, port: u16) -> Value {
    let address = json!({"socket_address": {"address": "10.0.0.1", "port_value": port}});
    json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]})
}

fn manager(routes: &Value) -> Value {
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "s", "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]});
    manager.as_object_mut().unwrap().extend(routes.as_object().unwrap().clone());
    manager
}

fn listener(name: &str, port: u16, routes: &Value) -> Value {
    json!({"name": name, "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "h", "typed_config": manager(routes)}]}]})
}

fn rds(name: &str) -> Value {
    json!({"rds": {"route_config_name": name, "config_source": {"ads": {}, "initial_fetch_timeout": "0s"}}})
}

fn table(name: &str, cluster: &str) -> Value {
    json!({"name": name, "virtual_hosts": [{"name": "v", "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}]})
}

#[test]
fn clusters_wait_for_endpoints_and_listeners_for_clusters_and_routes() {
    let mut h = Harness::ads();
    assert_eq!(h.wanted(), ["CDS *"]);
    assert_eq!(h.told(TypeUrl::CLUSTER, &[eds("a", "0s"), plain("b")], &[]), Vec::<String>::new());
    assert_eq!(h.clusters(), ["b", "xds"]);
    assert_eq!(h.wanted(), ["EDS a"]);
    h.told(TypeUrl::ENDPOINT, &[assignment("a", 80)], &[]);
    assert_eq!(h.clusters(), ["a", "b", "xds"]);
    assert_eq!(h.wanted(), ["LDS *"]);
    assert!(!h.core.is_ready());
    h.told(TypeUrl::LISTENER, &[listener("l", 0, &rds("r"))], &[]);
    assert_eq!(h.wanted(), ["RDS r"]);
    assert!(h.listeners().is_empty());
    h.told(TypeUrl::ROUTE, &[table("r", "a"), table("not asked for", "a")], &[]);
    assert_eq!(h.listeners(), ["l"]);
    assert_eq!(h.core.snapshot().routes.len(), 1);
    assert!(h.core.is_ready());
}

#[test]
fn initial_fetch_timeout_ends_waiting() {
    let mut h = Harness::new("lds_config: {ads: {}, initial_fetch_timeout: 3s}, cds_config: {ads: {}}");
    h.told(TypeUrl::CLUSTER, &[eds("a", "2s"), eds("b", "0s")], &[]);
    h.told(TypeUrl::ENDPOINT, &[assignment("b", 80)], &[]);
    assert_eq!(h.clusters(), ["b", "xds"]);
    assert_eq!(h.core.next_deadline(), Some(h.now.instant + Duration::from_secs(2)));
    h.later(Duration::from_millis(1999));
    assert_eq!(h.clusters(), ["b", "xds"]);
    h.later(Duration::from_millis(1));
    assert_eq!(h.clusters(), ["a", "b", "xds"]);
    assert_eq!(h.core.next_deadline(), Some(h.now.instant + Duration::from_secs(3)));
    h.later(Duration::from_secs(3));
    assert!(h.core.is_ready());
    assert_eq!(h.core.next_deadline(), None);
}

#[test]
fn zero_waits_for_ever() {
    let mut h = Harness::ads();
    h.told(TypeUrl::CLUSTER, &[eds("a", "0s")], &[]);
    h.later(Duration::from_secs(86_400));
    assert_eq!(h.clusters(), ["xds"]);
    // The server says that there are none: then there are none.
    h.told(TypeUrl::ENDPOINT, &[], &["a"]);
    assert_eq!(h.clusters(), ["a", "xds"]);
}

#[test]
fn a_refused_resource_keeps_its_last_good_version_and_spares_the_others() {
    let mut h = Harness::ads();
    h.told(TypeUrl::CLUSTER, &[plain("a")], &[]);
    let before = h.core.snapshot().clusters["a"].clone();
    let mut bad = plain("a");
    bad["health_checks"] = json!([{}]);
    let refused = h.told(TypeUrl::CLUSTER, &[bad, plain("b"), json!({"name": "c", "connect_timeout": "0s"})], &[]);
    assert_eq!(
        refused,
        [
            "envoy.config.cluster.v3.Cluster \"a\": health_checks[0]: is not carried",
            "envoy.config.cluster.v3.Cluster \"c\": connect_timeout: must be greater than zero",
        ]
    );
    assert_eq!(h.clusters(), ["a", "b", "xds"]);
    assert!(std::sync::Arc::ptr_eq(&before, &h.core.snapshot().clusters["a"]));
    let dump = h.core.dump();
    let mut state: Vec<_> =
        dump.clusters.resources.iter().map(|c| (c.name.as_str(), c.active.is_some(), c.error.is_some())).collect();
    state.sort_unstable();
    assert_eq!(state, [("a", true, true), ("b", true, false), ("c", false, true), ("xds", true, false)]);
    assert_eq!(h.stats.value("cluster_manager.cds.update_rejected"), Some(1));
    assert_eq!(h.stats.value("cluster_manager.cds.update_success"), Some(1));
    // The same version again, without the fault.
    h.told(TypeUrl::CLUSTER, &[plain("a")], &[]);
    assert!(h.core.dump().clusters.resources.iter().all(|c| c.name != "a" || c.error.is_none()));
}

#[test]
fn an_update_replaces_when_it_is_warm() {
    let mut h = Harness::ads();
    h.told(TypeUrl::CLUSTER, &[plain("a")], &[]);
    h.told(TypeUrl::LISTENER, &[listener("l", 0, &rds("r1"))], &[]);
    h.told(TypeUrl::ROUTE, &[table("r1", "a")], &[]);
    h.wanted();
    let old = h.core.snapshot().listeners["l"].clone();
    h.told(TypeUrl::LISTENER, &[listener("l", 0, &rds("r2"))], &[]);
    assert!(std::sync::Arc::ptr_eq(&old, &h.core.snapshot().listeners["l"]));
    assert_eq!(h.wanted(), ["RDS r2"]);
    h.told(TypeUrl::ROUTE, &[table("r2", "a")], &[]);
    assert!(!std::sync::Arc::ptr_eq(&old, &h.core.snapshot().listeners["l"]));
    assert_eq!(h.wanted(), ["-RDS r1"]);
    h.told(TypeUrl::CLUSTER, &[eds("a", "0s")], &[]);
    assert!(matches!(h.core.snapshot().clusters["a"].config().kind, crate::model::ClusterKind::Static(_)));
    h.told(TypeUrl::ENDPOINT, &[assignment("a", 80)], &[]);
    assert_eq!(h.core.snapshot().clusters["a"].hosts().len(), 1);
    h.told(TypeUrl::ENDPOINT, &[assignment("a", 81), assignment("zz", 1)], &[]);
    assert_eq!(h.core.snapshot().clusters["a"].hosts().len(), 1);
}

#[test]
fn the_same_bytes_change_nothing() {
    let mut h = Harness::ads();
    h.told(TypeUrl::CLUSTER, &[plain("a")], &[]);
    let version = h.core.snapshot().version;
    h.told(TypeUrl::CLUSTER, &[plain("a")], &[]);
    assert_eq!(h.core.snapshot().version, version);
}

#[test]
fn removal_is_at_once_and_forgets_what_was_needed() {
    let mut h = Harness::ads();
    h.told(TypeUrl::CLUSTER, &[eds("a", "0s")], &[]);
    h.told(TypeUrl::ENDPOINT, &[assignment("a", 80)], &[]);
    h.told(TypeUrl::LISTENER, &[listener("l", 0, &rds("r"))], &[]);
    h.told(TypeUrl::ROUTE, &[table("r", "a")], &[]);
    h.wanted();
    h.told(TypeUrl::LISTENER, &[], &["l"]);
    h.told(TypeUrl::CLUSTER, &[], &["a", "xds", "unknown"]);
    assert_eq!((h.clusters(), h.listeners()), (vec!["xds".to_owned()], vec![]));
    assert_eq!(h.wanted(), ["-RDS r", "-EDS a"]);
    assert!(h.core.snapshot().routes.is_empty());
}

#[test]
fn refusals_that_depend_on_the_rest() {
    let mut h = Harness::ads();
    assert!(h.told(TypeUrl::CLUSTER, &[plain("xds")], &[])[0].contains("a static cluster has this name"));
    assert!(h.told(TypeUrl::CLUSTER, &[plain("a"), plain("a")], &[])[0].contains("occurs twice"));
    let inline = |cluster: &str| json!({"route_config": table("r", cluster)});
    let refused = h.told(TypeUrl::LISTENER, &[listener("l", 80, &inline("nowhere"))], &[]);
    let at = "filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route: unknown cluster";
    assert!(refused[0].contains(at), "{refused:?}");
    assert!(h.told(TypeUrl::LISTENER, &[listener("l", 80, &inline("a"))], &[]).is_empty());
    let refused = h.told(TypeUrl::LISTENER, &[listener("m", 80, &inline("a"))], &[]);
    assert!(refused[0].contains("address: has duplicate address '127.0.0.1:80' as existing listener l"), "{refused:?}");
    // The address passes on within one response.
    assert!(h.told(TypeUrl::LISTENER, &[listener("m", 80, &inline("a"))], &["l"]).is_empty());
    assert_eq!(h.listeners(), ["m"]);
}

#[test]
fn without_dynamic_resources_it_is_ready_at_once() {
    let text = "{static_resources: {clusters: [{name: a}]}}";
    let bootstrap = Bootstrap::from_text(text, &FilterRegistry::empty()).unwrap();
    let translator = bootstrap.translator(FilterRegistry::empty(), Stats::default());
    let core = Core::new(bootstrap, translator, ClusterDeps::default(), Now::read()).unwrap();
    assert!(core.is_ready() && core.snapshot().clusters.contains_key("a"));
}

#[test]
fn static_resources_must_fit_together() {
    let start = |listeners: &[Value]| {
        let value = json!({"static_resources": {"clusters": [{"name": "a"}], "listeners": listeners}});
        let bootstrap = Bootstrap::from_value(value, &FilterRegistry::empty()).unwrap();
        let translator = bootstrap.translator(FilterRegistry::empty(), Stats::default());
        let core = Core::new(bootstrap, translator, ClusterDeps::default(), Now::read());
        core.map(|core| core.is_ready()).map_err(|rejection| rejection.to_string())
    };
    let inline = |cluster: &str| json!({"route_config": table("r", cluster)});
    assert_eq!(start(&[listener("l", 80, &inline("a"))]), Ok(true));
    assert!(start(&[listener("l", 80, &inline("b"))]).unwrap_err().contains("unknown cluster 'b'"));
    let twice = [listener("l", 80, &inline("a")), listener("m", 80, &inline("a"))];
    assert!(start(&twice).unwrap_err().contains("has duplicate address"));
}
