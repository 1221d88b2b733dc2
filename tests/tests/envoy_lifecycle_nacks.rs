//! What real Envoy refuses although it is well-formed: told with all that is known, sent once, mended, and of no harm to
//! what is good.

use mesh_tests::{
    envoy::Envoy,
    fetch::Target,
    lab::{Lab, Name, runtime},
    upstream::digest,
    wait,
    xds::{
        PATIENCE, Transport,
        resources::{certificate, cluster, endpoints, header_filter, listener, resource, routes, virtual_host},
    },
};
use mesh_xds::{
    Origin, Resource, TypeUrl,
    protocol::{TypeRules, Variant, server::ResourceState},
    store::Batch,
};
use serde_json::{Value, json};

/// A second listener with TLS, whose parts are not those of the first.
const TWIN: Name = ("twin", 4);
const EXTRA: Name = ("extra", 5);

/// A type that Envoy knows, but not as an extension.
const NO_EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.Address";

/// A resource that is refused, together with one that is not.
struct Case {
    bad: Resource,
    /// Part of what Envoy says to it.
    says: &'static str,
    mended: Resource,
    /// Comes in the same update.
    good: Vec<Resource>,
    /// Whether it is in force.
    in_force: Box<dyn Fn(&Refusals) -> bool>,
    /// Another change of the same type while the refusal stands.
    later: Vec<Resource>,
}

struct Refusals {
    lab: Lab,
    envoy: Envoy,
    twin: Target,
    variant: Variant,
}

#[test]
fn what_is_refused_by_state_of_the_world_is_sent_once_and_mended() {
    Refusals::start(Variant::Sotw).run();
}

#[test]
fn what_is_refused_by_delta_is_sent_once_and_mended() {
    Refusals::start(Variant::Delta).run();
}

#[test]
fn a_whole_set_leaves_out_what_was_refused() {
    for case in [Refusals::cluster, Refusals::listener] {
        let all = Refusals::start(Variant::Sotw);
        let case = case(&all);
        let refusals = all.refused(&case);
        all.later(refusals, &case);
        all.mended(refusals, &case);
    }
}

impl Refusals {
    fn start(variant: Variant) -> Self {
        let lab = Lab::new(Transport::ads(variant));
        let mut resources = lab.one_of_everything();
        let mut twin = lab.make.http_listener(TWIN, lab.make.rds("r2"), vec![lab.make.discovered_filter("g")]);
        twin["filter_chains"][0]["transport_socket"] = lab.make.downstream_tls("server-2");
        resources.extend([
            lab.make.cluster("b"),
            endpoints("b", &[lab.plain[1].address]),
            listener(twin),
            routes("r2", vec![virtual_host("b.test", &[("b", 1)])]),
            certificate("server-2", &lab.authority.issue()),
            header_filter("g", "1"),
        ]);
        lab.view.replace(resources);
        let envoy = lab.envoy("picky");
        lab.xds.settle("picky");
        let twin = lab.target(&envoy, "twin", true);
        Self { lab, envoy, twin, variant }
    }

    fn run(&self) {
        let cases = [self.cluster(), self.endpoints(), self.listener(), self.routes(), self.secret(), self.filter()];
        for case in cases {
            let refusals = self.refused(&case);
            // Of a whole set see the test of its own.
            if self.variant == Variant::Delta || !TypeRules::of(case.bad.type_url()).whole_set {
                self.later(refusals, &case);
            }
            self.mended(refusals, &case);
        }
    }

    /// Gives how many refusals there have been.
    fn refused(&self, case: &Case) -> usize {
        let Self { lab, envoy, .. } = self;
        let key = case.bad.key();
        let before = lab.xds.nacks().len();
        lab.view.update([case.bad.clone()].into_iter().chain(case.good.clone()).collect());
        let nacks = wait::until(&format!("{key:?} is refused"), PATIENCE, || {
            Some(lab.xds.nacks()).filter(|nacks| nacks.len() > before)
        });
        let (node, nack) = &nacks[before];
        assert_eq!((node.as_str(), &nack.type_url), (envoy.node(), &key.type_url));
        assert!(nack.message.contains(case.says), "{}", nack.message);
        let told = nack.resources.iter().find(|r| r.name == key.name).expect("the refusal tells what was refused");
        assert_eq!(told.version.as_ref(), Some(case.bad.version()));
        assert_eq!(told.origin, Some(Origin::object("Test", "default", key.name.as_str())));
        assert!(nack.culprits().any(|r| r.name == key.name), "{nack:?}");
        if nack.resources.iter().any(|r| r.named) {
            let state = lab.xds.reports(node, &key.type_url)[0].state();
            assert_eq!(state, ResourceState::Nacked(nack.message.clone()));
        }
        wait::until(&format!("what came with {key:?} is in force"), PATIENCE, || (case.in_force)(self).then_some(()));
        wait::until(&format!("what came with {key:?} is accepted"), PATIENCE, || {
            let report = lab.xds.reports(node, &key.type_url).pop()?;
            let mut refused = report.resources.iter().filter(|r| r.state != ResourceState::Acked);
            // Envoy accepts a secret that it has refused before, without using it.
            (!report.in_flight && refused.all(|r| r.name == key.name)).then_some(())
        });
        // Where Envoy does not say which it means, it is asked once more, with half of them.
        let refusals = &lab.xds.nacks()[before..];
        let named = refusals[0].1.resources.iter().any(|r| r.named);
        assert!(refusals.len() <= if named { 1 } else { 2 }, "{refusals:?}");
        before + refusals.len()
    }

    /// While the refusal stands, what else changes is sent without the refused bytes.
    fn later(&self, refusals: usize, case: &Case) {
        self.lab.view.update(case.later.iter().cloned().collect());
        case.later.iter().for_each(|later| self.acknowledged(later));
        self.nothing_else_was_refused(refusals, case);
    }

    fn mended(&self, refusals: usize, case: &Case) {
        self.lab.view.update(Batch::new().put(case.mended.clone()));
        self.acknowledged(&case.mended);
        self.nothing_else_was_refused(refusals, case);
    }

    fn acknowledged(&self, resource: &Resource) {
        let (lab, node) = (&self.lab, self.envoy.node());
        wait::until(&format!("{resource:?} is acknowledged"), PATIENCE, || {
            let reports = lab.xds.reports(node, resource.type_url());
            let told = reports.iter().flat_map(|r| &r.resources).find(|r| r.name == *resource.name())?;
            (told.version == *resource.version() && told.state == ResourceState::Acked).then_some(())
        });
    }

    fn nothing_else_was_refused(&self, refusals: usize, case: &Case) {
        let nacks = self.lab.xds.nacks();
        assert_eq!(nacks.len(), refusals, "{:?} was not the only one: {nacks:?}", case.bad);
    }

    fn cluster(&self) -> Case {
        let make = &self.lab.make;
        let mut bad = make.eds_cluster("bad");
        bad["transport_socket"] = json!({ "name": "none", "typed_config": no_extension() });
        let good = vec![make.cluster("good"), endpoints("good", &[]), endpoints("bad", &[])];
        Case {
            bad: cluster(bad),
            says: "Didn't find a registered implementation",
            mended: make.cluster("bad"),
            good,
            in_force: Box::new(|all| all.envoy.names("dynamic_active_clusters").contains(&"good".to_owned())),
            later: vec![make.cluster("later"), endpoints("later", &[])],
        }
    }

    fn endpoints(&self) -> Case {
        let plain = &self.lab.plain;
        let hostname = json!({ "socket_address": { "address": "no-address", "port_value": 80 } });
        let bad = json!({ "cluster_name": "a", "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": hostname } }] }] });
        let wanted = plain[2].address.to_string();
        Case {
            bad: resource("envoy.config.endpoint.v3.ClusterLoadAssignment", bad),
            says: "malformed IP address",
            mended: endpoints("a", &[plain[0].address]),
            good: vec![endpoints("b", &[plain[2].address])],
            in_force: Box::new(move |all| all.lab.ask(&all.twin, "b.test", &[]).body == wanted),
            later: vec![endpoints("b", &[plain[1].address])],
        }
    }

    fn listener(&self) -> Case {
        let make = &self.lab.make;
        let mut bad = make.http_listener(("bad", 6), make.rds("r"), vec![]);
        bad["filter_chains"][0]["filters"][0]["typed_config"] = no_extension();
        Case {
            bad: listener(bad),
            says: "Didn't find a registered implementation",
            mended: listener(make.http_listener(("bad", 6), make.rds("r"), vec![])),
            good: vec![listener(make.http_listener(EXTRA, make.rds("r"), vec![]))],
            in_force: Box::new(|all| all.envoy.listener("extra").is_some()),
            later: vec![listener(make.http_listener(("later", 7), make.rds("r"), vec![]))],
        }
    }

    fn routes(&self) -> Case {
        let mut host = virtual_host("a.test", &[("a", 1)]);
        host["routes"][0]["match"] = json!({ "safe_regex": { "regex": "(" } });
        let good =
            |other: &str| routes("r2", vec![virtual_host("b.test", &[("b", 1)]), virtual_host(other, &[("b", 1)])]);
        Case {
            bad: routes("r", vec![host]),
            says: "missing )",
            mended: routes("r", vec![virtual_host("a.test", &[("a", 2)])]),
            good: vec![good("c.test")],
            in_force: Box::new(|all| all.lab.ask(&all.twin, "c.test", &[]).status == 200),
            later: vec![good("d.test")],
        }
    }

    fn secret(&self) -> Case {
        let authority = &self.lab.authority;
        let (mut odd, next) = (authority.issue(), authority.issue());
        odd.key = authority.issue().key;
        let wanted = digest(&next.der());
        Case {
            bad: certificate("server", &odd),
            says: "private key",
            mended: certificate("server", &authority.issue()),
            good: vec![certificate("server-2", &next)],
            in_force: Box::new(move |all| all.lab.ask(&all.twin, "b.test", &[]).certificate.as_ref() == Some(&wanted)),
            later: vec![certificate("server-2", &authority.issue())],
        }
    }

    fn filter(&self) -> Case {
        let cors = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors" });
        Case {
            bad: resource("envoy.config.core.v3.TypedExtensionConfig", json!({ "name": "f", "typed_config": cors })),
            says: "filter config has type URL",
            mended: header_filter("f", "2"),
            good: vec![header_filter("g", "2")],
            in_force: Box::new(|all| all.lab.ask(&all.twin, "b.test", &[]).header("x-filter") == Some("2")),
            later: vec![header_filter("g", "3")],
        }
    }
}

/// Runtime under another name than was asked for.
#[test]
fn runtime_of_another_name_is_refused_by_delta() {
    let lab = Lab::new(Transport::ads(Variant::Delta));
    lab.view.replace(lab.one_of_everything());
    let envoy = lab.envoy("picky");
    lab.xds.settle("picky");
    let other = resource("envoy.service.runtime.v3.Runtime", json!({ "name": "other", "layer": {} }));
    lab.view.update(Batch::new().put(Resource::new("runtime", other.any().clone())));
    let nacks = wait::until("it is refused", PATIENCE, || Some(lab.xds.nacks()).filter(|n| !n.is_empty()));
    assert_eq!((nacks.len(), &nacks[0].1.type_url), (1, &TypeUrl::RUNTIME));
    lab.put(&envoy, [runtime(2)]);
    assert_eq!(envoy.admin("/runtime")["entries"]["tests.answer"]["final_value"], "2");
    assert_eq!(lab.xds.nacks().len(), 1);
}

fn no_extension() -> Value {
    json!({ "@type": NO_EXTENSION, "pipe": { "path": "/nowhere" } })
}
