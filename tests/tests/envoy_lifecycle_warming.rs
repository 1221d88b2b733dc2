//! Real Envoy, when what it waits for goes away before it has asked: whoever warms is not left waiting for its
//! `initial_fetch_timeout` of 15 s, and no route comes before its cluster meanwhile.

use std::time::{Duration, Instant};

use mesh_tests::{
    lab::Lab,
    load::Load,
    xds::{
        Transport,
        resources::{certificate, cluster, endpoints, listener, roots, routes, virtual_host},
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

/// A secret's name changes, and again while the cluster that refers to it warms: told that the first is gone, Envoy would go
/// on with neither.
#[test]
fn a_secret_that_goes_while_its_cluster_warms() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let lab = Lab::new(Transport::ads(variant));
        let name = |n: u64| format!("client-{n}");
        let secure = |n: u64| {
            let mut secure = lab.make.eds_cluster("secure");
            secure["transport_socket"] = lab.make.upstream_tls(&name(n), "roots");
            [cluster(secure), certificate(&name(n), &lab.authority.issue())]
        };
        let more = [endpoints("secure", &[lab.secure[0].address]), roots("roots", &lab.authority.pem())];
        lab.view.replace(lab.one_of_everything().into_iter().chain(more).chain(secure(0)));
        let envoy = lab.envoy("warm");
        lab.xds.settle("warm");
        lab.put(&envoy, [routes("r", vec![virtual_host("a.test", &[("secure", 1)])])]);
        let front = lab.target(&envoy, "front", false);
        lab.ask_until("the cluster is in use", &front, "a.test", |reply| reply.status == 200);
        let connections = vec![front; 4];
        let load = Load::start(&lab.runtime, &connections, vec!["a.test".into()], Duration::from_millis(1));
        for round in 0..40 {
            for n in [2 * round + 1, 2 * round + 2] {
                let batch: Batch = secure(n).into_iter().collect();
                lab.view.update(batch.remove(TypeUrl::SECRET, name(n - 1)));
                // Somewhere between the first push of the change and its last answer.
                std::thread::sleep(Duration::from_micros(200 * round));
            }
            lab.xds.settle("warm");
        }
        let (sent, failures) = load.finish();
        assert!(failures.is_empty(), "{} of {sent} requests failed, first {}", failures.len(), failures[0]);
        assert_eq!(lab.xds.server().metrics().holds_expired, 0);
    }
}

/// A listener changes, and with it its routes; before they are acknowledged the routes change again, to a cluster that comes.
/// The acknowledgement of the first routes looks like a request of the listener that warms; its answer must not be the second.
#[test]
fn a_route_waits_for_its_cluster_although_its_listener_warms() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let lab = Lab::new(Transport::ads(variant));
        lab.view.replace(lab.one_of_everything());
        let envoy = lab.envoy("warm");
        lab.xds.settle("warm");
        let front = lab.target(&envoy, "front", false);
        let connections = vec![front; 4];
        let load = Load::start(&lab.runtime, &connections, vec!["a.test".into()], Duration::from_millis(1));
        let pushes = || lab.xds.server().metrics().pushes;
        let mut old = "a".to_owned();
        for round in 1..=40 {
            let new = format!("c{round}");
            let mut changed = lab.make.http_listener(("other", 5), lab.make.rds("r"), vec![]);
            changed["stat_prefix"] = new.as_str().into();
            let more =
                |cluster: &str| vec![virtual_host("a.test", &[(cluster, 1)]), virtual_host(&new, &[(cluster, 1)])];
            let before = pushes();
            lab.view.update(Batch::new().put(listener(changed)).put(routes("r", more(&old))));
            let started = Instant::now();
            while pushes() < before + 2 {
                assert!(started.elapsed() < AT_ONCE, "listener and routes are not sent");
                std::thread::yield_now();
            }
            lab.view.update(
                Batch::new()
                    .put(lab.make.cluster(&new))
                    .put(endpoints(&new, &[lab.plain[0].address]))
                    .put(routes("r", more(&new)))
                    .remove(TypeUrl::CLUSTER, old.as_str())
                    .remove(TypeUrl::ENDPOINT, old.as_str()),
            );
            lab.xds.settle("warm");
            old = new;
        }
        let (sent, failures) = load.finish();
        assert!(failures.is_empty(), "{variant:?}: {} of {sent} failed, first {}", failures.len(), failures[0]);
    }
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
