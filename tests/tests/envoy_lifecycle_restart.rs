//! Real Envoy when its management server dies, comes back, or is another one; and when something it was told to wait for
//! does not exist.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_tests::{
    envoy::Envoy,
    lab::{FRONT, Lab, runtime},
    load::Load,
    wait,
    xds::{
        PATIENCE, Transport, Xds,
        resources::{certificate, cluster, endpoints, header_filter, listener, routes, virtual_host},
    },
};
use mesh_xds::{
    Resource, TypeUrl,
    protocol::Variant,
    store::{Batch, View},
};

const BOTH: [Variant; 2] = [Variant::Sotw, Variant::Delta];

/// A lab with one of everything, an Envoy, and traffic to `a.test`.
fn busy(variant: Variant, more: impl FnOnce(&Lab) -> Vec<Resource>) -> (Lab, Envoy, Load) {
    let lab = Lab::new(Transport::ads(variant));
    lab.view.replace(lab.one_of_everything().into_iter().chain(more(&lab)));
    let envoy = lab.envoy("lasting");
    lab.xds.settle("lasting");
    let targets = [lab.target(&envoy, "front", false), lab.target(&envoy, "secure", true)];
    let load = Load::start(&lab.runtime, &targets, vec!["a.test".into()], Duration::from_millis(5));
    (lab, envoy, load)
}

fn nothing_failed(load: Load) {
    flowing(&load, 20);
    let (sent, failures) = load.finish();
    assert!(failures.is_empty(), "{} of {sent} requests failed, first {}", failures.len(), failures[0]);
}

/// Waits until so many more requests were sent.
fn flowing(load: &Load, more: u64) {
    let enough = load.sent() + more;
    wait::until("traffic flows", PATIENCE, || (load.sent() >= enough).then_some(()));
}

#[test]
fn a_server_that_comes_back_sends_what_changed_meanwhile() {
    for variant in BOTH {
        let (mut lab, envoy, load) = busy(variant, |_| vec![]);
        let address = lab.xds.address();
        let down = Xds::start(&View::new());
        let killed = std::mem::replace(&mut lab.xds, down);
        assert_eq!(killed.kill(), address);
        let disconnected = || (envoy.stat("control_plane.connected_state") == 0).then_some(());
        wait::until("Envoy has noticed", PATIENCE, disconnected);
        flowing(&load, 20);
        lab.view.update(Batch::new().put(endpoints("a", &[lab.plain[1].address])));
        lab.xds = Xds::start_at(address, &lab.view);
        lab.xds.settle("lasting");
        let wanted = lab.plain[1].address.to_string();
        lab.ask_until("the change is in force", &lab.target(&envoy, "front", false), "a.test", |r| r.body == wanted);
        if variant == Variant::Delta {
            // A client of delta tells what it holds, and is sent what differs.
            assert_eq!(lab.xds.server().metrics().resources_pushed, 1, "{:?}", lab.xds.server().metrics());
        }
        assert_eq!(lab.xds.nacks(), []);
        nothing_failed(load);
    }
}

#[test]
fn a_server_at_another_version_takes_away_what_it_does_not_have() {
    for variant in BOTH {
        let (mut lab, envoy, load) = busy(variant, |lab| {
            vec![
                lab.make.cluster("old"),
                endpoints("old", &[lab.plain[1].address]),
                listener(lab.make.http_listener(
                    ("old", 5),
                    lab.make.rds("old"),
                    vec![lab.make.discovered_filter("old")],
                )),
                routes("old", vec![virtual_host("old.test", &[("old", 1)])]),
                header_filter("old", "old"),
            ]
        });
        let old = lab.target(&envoy, "old", false);
        assert_eq!(lab.ask(&old, "old.test", &[]).status, 200);

        let view = View::new();
        let mut changed = lab.make.eds_cluster("a");
        changed["connect_timeout"] = "1s".into();
        view.replace([
            cluster(changed),
            endpoints("a", &[lab.plain[0].address]),
            lab.make.cluster("new"),
            endpoints("new", &[lab.plain[2].address]),
            listener(lab.make.http_listener(FRONT, lab.make.rds("r"), vec![lab.make.discovered_filter("f")])),
            lab.secure_listener(mesh_tests::lab::SECURE, "server", "r"),
            listener(lab.make.http_listener(("new", 6), lab.make.rds("new"), vec![])),
            routes("r", vec![virtual_host("a.test", &[("new", 1), ("a", 1)])]),
            routes("new", vec![virtual_host("new.test", &[("new", 1)])]),
            certificate("server", &lab.authority.issue()),
            header_filter("f", "2"),
            runtime(2),
        ]);
        restart(&mut lab, &view);
        assert_eq!(envoy.names("dynamic_active_clusters"), ["a", "new"]);
        wait::until("the old listener is closed", PATIENCE, || lab.runtime.block_on(old.connect()).err());
        let left = || ["dynamic_listeners", "dynamic_route_configs", "ecds_filters"].map(|list| envoy.names(list));
        let wanted = [vec!["front", "new", "secure"], vec!["new", "r"], vec!["f"]];
        wait::until("what drains is gone", PATIENCE, || (left() == wanted).then_some(()));
        let front = lab.target(&envoy, "front", false);
        assert_eq!(lab.ask(&front, "a.test", &[]).header("x-filter"), Some("2"));
        assert_eq!(lab.ask(&lab.target(&envoy, "new", false), "new.test", &[]).body, lab.plain[2].address.to_string());
        assert_eq!(lab.xds.nacks(), []);
        // A changed cluster is warm, and so acknowledged, when its endpoints are supplied anew, changed or not.
        assert_eq!(lab.xds.server().metrics().holds_expired, 0, "{variant:?}");
        nothing_failed(load);
    }
}

/// By delta the new server knows what its client still uses. By state of the world it cannot: it has not the cluster that
/// it would have to repeat.
#[test]
fn a_server_at_another_version_takes_nothing_away_that_routes_still_use() {
    let (mut lab, envoy, load) = busy(Variant::Delta, |_| vec![]);
    let view = View::new();
    let other = |r: &Resource| match r.type_url().short() {
        Some("CDS") => lab.make.cluster("new"),
        Some("EDS") => endpoints("new", &[lab.plain[2].address]),
        Some("RDS") => routes("r", vec![virtual_host("a.test", &[("new", 1)])]),
        _ => r.clone(),
    };
    view.replace(lab.view.snapshot().values().map(|r| other(r)));
    restart(&mut lab, &view);
    assert_eq!(envoy.names("dynamic_active_clusters"), ["new"]);
    nothing_failed(load);
}

fn restart(lab: &mut Lab, view: &Arc<View>) {
    let down = Xds::start(&View::new());
    let address = std::mem::replace(&mut lab.xds, down).kill();
    lab.view = view.clone();
    lab.xds = Xds::start_at(address, view);
    lab.xds.settle("lasting");
}

#[test]
fn a_cluster_without_endpoints_does_not_hold_up_the_others() {
    for variant in BOTH {
        let (lab, envoy, load) = busy(variant, |_| vec![]);
        let mut lost = lab.make.eds_cluster("lost");
        lost["eds_cluster_config"]["eds_config"]["initial_fetch_timeout"] = "1s".into();
        let started = Instant::now();
        let routes = routes("r", vec![virtual_host("a.test", &[("a", 1)]), virtual_host("lost.test", &[("lost", 1)])]);
        lab.view.update(Batch::new().put(cluster(lost)).put(routes));
        let warm = || envoy.names("dynamic_active_clusters").contains(&"lost".to_owned()).then_some(());
        wait::until("the cluster is warm", PATIENCE, warm);
        let took = started.elapsed();
        match variant {
            // Absence is told, and ends the waiting.
            Variant::Delta => assert!(took < Duration::from_millis(800), "{took:?}"),
            // It cannot be told; the waiting ends with its time.
            Variant::Sotw => assert!(took >= Duration::from_millis(800), "{took:?}"),
        }
        let front = lab.target(&envoy, "front", false);
        lab.ask_until("the routes are in force", &front, "lost.test", |reply| reply.status == 503);
        lab.put(&envoy, [endpoints("lost", &[lab.plain[3].address])]);
        lab.ask_until("the endpoints are in force", &front, "lost.test", |reply| reply.status == 200);
        assert_eq!(lab.xds.nacks(), []);
        nothing_failed(load);
    }
}

/// Endpoints may go while their cluster stays: Envoy keeps what it has ("Deleting resources": a client of EDS does not
/// delete by itself).
#[test]
fn endpoints_that_vanish_stay_in_use() {
    for variant in BOTH {
        let (lab, envoy, load) = busy(variant, |_| vec![]);
        lab.step(&envoy, Batch::new().remove(TypeUrl::ENDPOINT, "a"));
        assert_eq!(envoy.stat("cluster.a.membership_total"), 1);
        lab.put(&envoy, [endpoints("a", &[lab.plain[1].address])]);
        let wanted = lab.plain[1].address.to_string();
        lab.ask_until("they are back", &lab.target(&envoy, "front", false), "a.test", |reply| reply.body == wanted);
        assert_eq!(lab.xds.nacks(), []);
        nothing_failed(load);
    }
}
