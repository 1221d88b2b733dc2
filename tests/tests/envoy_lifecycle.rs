//! Real Envoy under mesh-xds' server, through the whole life of every type: add, change, remove, warm; by state of the world
//! and by delta, over one aggregated stream and over the services of the types.

use mesh_tests::{
    certs::Pair,
    envoy::Envoy,
    fetch::Target,
    lab::{FRONT, Lab, Name, SECURE, runtime},
    upstream::{CLIENT_CERTIFICATE, digest},
    wait,
    xds::{
        PATIENCE, Transport,
        resources::{
            buffer_filter, certificate, cluster, endpoints, header_filter, listener, roots, routes, virtual_host,
        },
    },
};
use mesh_xds::{TypeUrl, protocol::Variant, store::Batch};
use serde_json::{Value, json};

const ECDS: TypeUrl = TypeUrl::EXTENSION_CONFIG;
const EXTRA: Name = ("extra", 4);

#[test]
fn the_life_of_every_type_by_state_of_the_world() {
    Life::start(Transport::ads(Variant::Sotw)).run();
}

#[test]
fn the_life_of_every_type_by_delta() {
    Life::start(Transport::ads(Variant::Delta)).run();
}

#[test]
fn the_life_of_every_type_by_its_own_service() {
    Life::start(Transport::separate(Variant::Sotw)).run();
}

#[test]
fn the_life_of_every_type_by_its_own_service_and_delta() {
    Life::start(Transport::separate(Variant::Delta)).run();
}

#[test]
fn a_subscription_that_ends_is_no_violation() {
    // Over separate services Envoy ends a subscription by resetting its stream: RST_STREAM with INTERNAL_ERROR.
    let life = Life::start(Transport::separate(Variant::Delta));
    life.put([life.lab.make.cluster("b"), endpoints("b", &[life.lab.plain[1].address])]);
    life.step(Batch::new().remove(TypeUrl::CLUSTER, "b").remove(TypeUrl::ENDPOINT, "b"));
    wait::until("the stream is over", PATIENCE, || life.lab.xds.endings().pop());
    assert_ne!(life.lab.xds.endings(), ["protocol violated"]);
    assert_eq!(life.lab.xds.server().metrics().violations, 0);
}

/// A proxy with one of everything.
struct Life {
    lab: Lab,
    envoy: Envoy,
    front: Target,
    secure: Target,
    variant: Variant,
}

impl Life {
    fn start(transport: Transport) -> Self {
        let lab = Lab::new(transport);
        lab.view.replace(lab.one_of_everything());
        let envoy = lab.envoy("life");
        lab.xds.settle("life");
        let (front, secure) = (lab.target(&envoy, "front", false), lab.target(&envoy, "secure", true));
        Self { lab, envoy, front, secure, variant: transport.variant }
    }

    fn run(self) {
        self.clusters();
        self.endpoints();
        self.routes();
        self.listeners();
        self.secrets();
        self.filters();
        self.runtime();
        self.all_is_well();
    }

    fn put(&self, resources: impl IntoIterator<Item = mesh_xds::Resource>) {
        self.lab.put(&self.envoy, resources);
    }

    fn step(&self, batch: Batch) {
        self.lab.step(&self.envoy, batch);
    }

    fn answers(&self, host: &str, upstream: usize) {
        let wanted = self.lab.plain[upstream].address.to_string();
        let what = format!("{host} is answered by {wanted}");
        self.lab.ask_until(&what, &self.front, host, |reply| reply.status == 200 && reply.body == wanted);
    }

    fn clusters(&self) {
        let Self { lab, envoy, .. } = self;
        self.answers("a.test", 0);
        self.put([lab.make.cluster("b"), endpoints("b", &[lab.plain[1].address])]);
        assert_eq!(envoy.names("dynamic_active_clusters"), ["a", "b"]);

        // Any change of a cluster makes it warm anew, for which its endpoints must be supplied again.
        let mut changed = lab.make.eds_cluster("a");
        changed["connect_timeout"] = "3s".into();
        self.put([cluster(changed)]);
        let timeouts = || cluster_field(envoy, "a", "connect_timeout");
        wait::until("the changed cluster is warm", PATIENCE, || (timeouts() == "3s").then_some(()));
        assert_eq!(envoy.stat("cluster_manager.warming_clusters"), 0);
        self.answers("a.test", 0);

        let removed = Batch::new().remove(TypeUrl::CLUSTER, "b").remove(TypeUrl::ENDPOINT, "b");
        self.step(removed);
        assert_eq!(envoy.names("dynamic_active_clusters"), ["a"]);
        assert_eq!(envoy.stat("cluster_manager.cluster_removed"), 1);
    }

    fn endpoints(&self) {
        let plain = &self.lab.plain;
        self.put([endpoints("a", &[plain[2].address])]);
        self.answers("a.test", 2);
        self.put([endpoints("a", &[plain[0].address, plain[3].address])]);
        self.answers("a.test", 3);
        self.put([endpoints("a", &[plain[0].address])]);
        self.answers("a.test", 0);
    }

    fn routes(&self) {
        let lab = &self.lab;
        self.put([lab.make.cluster("b"), endpoints("b", &[lab.plain[1].address])]);
        let hosts = |a: &'static str| vec![virtual_host("a.test", &[(a, 1)]), virtual_host("b.test", &[("b", 1)])];
        self.put([routes("r", hosts("a"))]);
        self.answers("b.test", 1);
        self.put([routes("r", hosts("b"))]);
        self.answers("a.test", 1);
        self.put([routes("r", vec![virtual_host("a.test", &[("a", 1)])])]);
        self.answers("a.test", 0);
        self.lab.ask_until("b.test is gone", &self.front, "b.test", |reply| reply.status == 404);

        // Under another name: the old one goes together with the listener's reference to it.
        let make = &lab.make;
        self.step(
            Batch::new()
                .put(routes("r2", vec![virtual_host("a.test", &[("b", 1)])]))
                .put(listener(make.http_listener(FRONT, make.rds("r2"), vec![make.discovered_filter("f")]))),
        );
        self.answers("a.test", 1);
        assert!(self.envoy.names("dynamic_route_configs").contains(&"r2".to_owned()));
    }

    fn listeners(&self) {
        let Self { lab, envoy, .. } = self;
        let extra = |prefix: &str| {
            let mut extra = lab.make.http_listener(EXTRA, lab.make.rds("r"), vec![]);
            extra["stat_prefix"] = prefix.into();
            extra
        };
        self.put([listener(extra("one"))]);
        let target = lab.target(envoy, "extra", false);
        assert_eq!(lab.ask(&target, "a.test", &[]).status, 200);
        self.put([listener(extra("two"))]);
        assert_eq!(envoy.stat("listener_manager.total_listeners_warming"), 0);
        assert_eq!(lab.ask(&lab.target(envoy, "extra", false), "a.test", &[]).status, 200);
        self.step(Batch::new().remove(TypeUrl::LISTENER, "extra"));
        wait::until("the listener is closed", PATIENCE, || lab.runtime.block_on(target.connect()).err());
        assert_eq!(envoy.listener("extra"), None);
    }

    fn secrets(&self) {
        let Self { lab, .. } = self;
        let rotated = lab.authority.issue();
        self.put([certificate("server", &rotated)]);
        self.shows(&rotated);
        // Under another name, with the listener that refers to it; the old one goes.
        let renamed = lab.authority.issue();
        let batch =
            Batch::new().put(certificate("server-2", &renamed)).put(lab.secure_listener(SECURE, "server-2", "r"));
        self.step(batch.remove(TypeUrl::SECRET, "server"));
        self.shows(&renamed);

        // A cluster comes with its secrets, which rotate, and goes with them.
        let mut secure = lab.make.eds_cluster("secure");
        secure["transport_socket"] = lab.make.upstream_tls("client", "roots");
        // An open connection keeps the certificate that it was opened with.
        secure["max_requests_per_connection"] = 1.into();
        let first = lab.authority.issue();
        self.step(
            Batch::new()
                .put(cluster(secure))
                .put(endpoints("secure", &[lab.secure[0].address]))
                .put(certificate("client", &first))
                .put(roots("roots", &lab.authority.pem()))
                .put(routes("r2", vec![virtual_host("a.test", &[("secure", 1)])])),
        );
        self.upstream_sees(&first);
        let second = lab.authority.issue();
        self.put([certificate("client", &second)]);
        self.upstream_sees(&second);
        self.step(
            Batch::new()
                .remove(TypeUrl::CLUSTER, "secure")
                .remove(TypeUrl::ENDPOINT, "secure")
                .remove(TypeUrl::SECRET, "client")
                .remove(TypeUrl::SECRET, "roots")
                .put(routes("r2", vec![virtual_host("a.test", &[("a", 1)])])),
        );
        self.answers("a.test", 0);
        // A listener that is draining keeps its secret.
        let secrets = || self.envoy.names("dynamic_active_secrets");
        wait::until("old secrets are gone", PATIENCE, || (secrets() == ["server-2"]).then_some(()));
    }

    fn shows(&self, pair: &Pair) {
        let wanted = digest(&pair.der());
        let what = "the listener shows its new certificate";
        self.lab.ask_until(what, &self.secure, "a.test", |reply| reply.certificate.as_ref() == Some(&wanted));
    }

    fn upstream_sees(&self, pair: &Pair) {
        let wanted = digest(&pair.der());
        let what = "the cluster shows its new certificate";
        self.lab.ask_until(what, &self.front, "a.test", |reply| reply.header(CLIENT_CERTIFICATE) == Some(&*wanted));
    }

    fn filters(&self) {
        let Self { lab, .. } = self;
        let adds = |value: Option<&str>| {
            let what = format!("the filter adds {value:?}");
            lab.ask_until(&what, &self.front, "a.test", |reply| reply.header("x-filter") == value);
        };
        adds(Some("1"));
        self.put([header_filter("f", "2")]);
        adds(Some("2"));
        self.put([buffer_filter("f")]);
        adds(None);
        // It goes together with the listener's reference to it.
        let bare = listener(lab.make.http_listener(FRONT, lab.make.rds("r2"), vec![]));
        self.step(Batch::new().put(bare).remove(ECDS, "f"));
        self.answers("a.test", 0);
    }

    fn runtime(&self) {
        let answer = || self.envoy.admin("/runtime")["entries"]["tests.answer"]["final_value"].clone();
        assert_eq!(answer(), "1");
        self.put([runtime(2)]);
        assert_eq!(answer(), "2");
        if self.variant == Variant::Delta {
            // By state of the world the absence of a named resource cannot be told.
            self.step(Batch::new().remove(TypeUrl::RUNTIME, "runtime"));
            wait::until("the runtime is gone", PATIENCE, || answer().is_null().then_some(()));
            self.put([runtime(3)]);
            assert_eq!(answer(), "3");
        }
    }

    fn all_is_well(&self) {
        let Self { lab, envoy, .. } = self;
        assert_eq!(lab.xds.nacks(), []);
        assert_eq!(envoy.stats_ending("update_rejected"), []);
        assert_eq!(envoy.names("dynamic_active_clusters"), ["a", "b"]);
        assert_eq!(envoy.names("dynamic_warming_clusters"), [""; 0]);
        assert_eq!(envoy.names("dynamic_listeners"), ["front", "secure"]);
        let metrics = lab.xds.server().metrics();
        assert_eq!(metrics.holds_expired, 0, "{metrics:?}");
    }
}

fn cluster_field(envoy: &Envoy, name: &str, field: &str) -> Value {
    let clusters = envoy.dump("dynamic_active_clusters");
    clusters.iter().find(|c| c["cluster"]["name"] == name).map_or(json!(null), |c| c["cluster"][field].clone())
}
