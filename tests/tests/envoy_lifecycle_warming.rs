//! Real Envoy, when what it waits for goes away before it has asked: whoever warms is not left waiting for its
//! `initial_fetch_timeout` of 15 s, and no route comes before its cluster meanwhile.

use std::time::{Duration, Instant};

use mesh_tests::{
    lab::Lab,
    load::Load,
    xds::{
        Transport,
        resources::{certificate, cluster, endpoints, roots, routes, virtual_host},
    },
};
use mesh_xds::{TypeUrl, protocol::Variant, store::Batch};

/// A third of the time after which Envoy gives up.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_cluster_that_goes_while_it_warms_by_state_of_the_world() {
    goes_while_it_warms(Variant::Sotw, false);
}

#[test]
fn a_cluster_that_goes_while_it_warms_by_delta() {
    goes_while_it_warms(Variant::Delta, false);
}

#[test]
fn a_cluster_that_goes_with_its_secrets_while_it_warms_by_state_of_the_world() {
    goes_while_it_warms(Variant::Sotw, true);
}

#[test]
fn a_cluster_that_goes_with_its_secrets_while_it_warms_by_delta() {
    goes_while_it_warms(Variant::Delta, true);
}

fn goes_while_it_warms(variant: Variant, tls: bool) {
    let lab = Lab::new(Transport::ads(variant));
    lab.view.replace(lab.one_of_everything());
    let envoy = lab.envoy("warm");
    lab.xds.settle("warm");
    let front = lab.target(&envoy, "front", false);
    let load = Load::start(&lab.runtime, std::slice::from_ref(&front), vec!["a.test".into()], Duration::from_millis(5));

    let mut brief = lab.make.eds_cluster("brief");
    let mut coming = Batch::new().put(endpoints("brief", &[lab.plain[1].address]));
    let mut going = Batch::new().remove(TypeUrl::CLUSTER, "brief").remove(TypeUrl::ENDPOINT, "brief");
    if tls {
        brief["transport_socket"] = lab.make.upstream_tls("client", "roots");
        let pair = lab.authority.issue();
        coming = coming.put(certificate("client", &pair)).put(roots("roots", &lab.authority.pem()));
        going = going.remove(TypeUrl::SECRET, "client").remove(TypeUrl::SECRET, "roots");
    }
    let pushes = || lab.xds.server().metrics().pushes;
    let before = pushes();
    lab.view.update(coming.put(cluster(brief)));
    // The cluster is on its way, and what it needs is not asked for yet.
    let started = Instant::now();
    while pushes() == before {
        assert!(started.elapsed() < AT_ONCE, "the cluster is not sent");
        std::thread::yield_now();
    }
    lab.view.update(
        going
            .put(lab.make.cluster("next"))
            .put(endpoints("next", &[lab.plain[2].address]))
            .put(routes("r", vec![virtual_host("a.test", &[("next", 1)])])),
    );
    lab.xds.settle("warm");
    assert!(started.elapsed() < AT_ONCE, "it took {:?}", started.elapsed());
    let wanted = lab.plain[2].address.to_string();
    lab.ask_until("the next cluster is in use", &front, "a.test", |reply| reply.body == wanted);
    let (sent, failures) = load.finish();
    assert!(failures.is_empty(), "{} of {sent} requests failed, first {}", failures.len(), failures[0]);
    assert_eq!(envoy.names("dynamic_active_clusters"), ["a", "next"]);
    assert_eq!(lab.xds.nacks(), []);
}
