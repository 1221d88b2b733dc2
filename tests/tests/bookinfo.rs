//! Istio's own Bookinfo sample files, unchanged, with only the endpoints added: the traffic does what each promises.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use mesh_tests::{demo::Demo, peer, process};

const FOLLOWED: Duration = Duration::from_secs(5);

struct Bookinfo {
    demo: Demo,
}

impl Bookinfo {
    /// The demo with its own files replaced by Istio's.
    fn start(args: &[&str]) -> Self {
        let demo = Demo::start(&[&["--rate", "5"], args].concat());
        let this = Self { demo };
        this.copy("platform/kube/bookinfo.yaml", "bookinfo.yaml");
        this.copy("networking/destination-rule-all.yaml", "rules.yaml");
        for own in ["services.yaml", "destination-rules.yaml", "reviews.yaml", "security.yaml"] {
            fs::remove_file(this.demo.config().join(own)).expect("the demo's file is there");
        }
        this
    }

    fn copy(&self, sample: &str, name: &str) {
        let path = peer::corpus().join("istio-samples/bookinfo").join(sample);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.demo.write(name, &text);
    }

    /// Puts one VirtualService sample in force.
    fn apply(&self, sample: &str) {
        self.copy(&format!("networking/{sample}"), "virtual-service.yaml");
    }

    fn becomes(&self, what: &str, check: impl Fn(&Demo) -> bool) {
        let end = Instant::now() + FOLLOWED;
        while !check(&self.demo) {
            let answer = self.demo.call("productpage-v1", "reviews", "/reviews/0", &[]);
            assert!(
                Instant::now() < end,
                "{what}: not within {FOLLOWED:?}; reviews says {answer:?}; {:#?}",
                self.demo.findings()
            );
            thread::sleep(Duration::from_millis(20));
        }
        assert!(check(&self.demo), "{what}: did not stay");
    }

    fn versions(&self, jason: bool, requests: usize) -> Vec<String> {
        let headers: &[(&str, &str)] = if jason { &[("end-user", "jason")] } else { &[] };
        let mut found: Vec<String> =
            (0..requests).map(|_| self.demo.reviews_version(headers).unwrap_or_else(|| "failed".into())).collect();
        found.sort();
        found.dedup();
        found
    }

    fn reviews_become(&self, sample: &str, others: &[&str], jason: &[&str]) {
        self.apply(sample);
        self.becomes(sample, |_| self.versions(false, 30) == others && self.versions(true, 30) == jason);
    }
}

fn status(demo: &Demo, from: &str, service: &str, headers: &[(&str, &str)]) -> u16 {
    demo.call(from, service, &format!("/{service}/0"), headers).status
}

#[test]
fn every_sample_does_what_it_promises() {
    promises(&[]);
}

/// The same with Envoy as every sidecar: what the samples promise is told by the reference, not by our reading of them.
#[test]
fn every_sample_does_what_it_promises_with_envoy() {
    let envoy = peer::envoy();
    promises(&["--envoy", envoy.to_str().expect("a path in UTF-8"), "--envoy-workload", "all"]);
}

fn promises(args: &[&str]) {
    let bookinfo = Bookinfo::start(args);
    let demo = &bookinfo.demo;
    let jason: &[(&str, &str)] = &[("end-user", "jason")];

    bookinfo.reviews_become("virtual-service-all-v1.yaml", &["v1"], &["v1"]);
    for service in ["details", "ratings"] {
        assert_eq!(status(demo, "productpage-v1", service, &[]), 200, "{service}");
    }
    bookinfo.reviews_become("virtual-service-reviews-v3.yaml", &["v3"], &["v3"]);
    bookinfo.reviews_become("virtual-service-reviews-test-v2.yaml", &["v1"], &["v2"]);
    bookinfo.reviews_become("virtual-service-reviews-jason-v2-v3.yaml", &["v3"], &["v2"]);
    bookinfo.reviews_become("virtual-service-reviews-50-v3.yaml", &["v1", "v3"], &["v1", "v3"]);
    bookinfo.reviews_become("virtual-service-reviews-80-20.yaml", &["v1", "v2"], &["v1", "v2"]);
    bookinfo.reviews_become("virtual-service-reviews-90-10.yaml", &["v1", "v2"], &["v1", "v2"]);
    bookinfo.reviews_become("virtual-service-reviews-v2-v3.yaml", &["v2", "v3"], &["v2", "v3"]);

    // A fault for everybody on details.
    bookinfo.apply("fault-injection-details-v1.yaml");
    bookinfo.becomes("details is aborted with 555", |d| status(d, "productpage-v1", "details", &[]) == 555);

    // Faults for jason only on ratings.
    bookinfo.apply("virtual-service-ratings-test-abort.yaml");
    bookinfo.becomes("ratings is aborted for jason", |d| {
        status(d, "reviews-v2", "ratings", jason) == 500 && status(d, "reviews-v2", "ratings", &[]) == 200
    });
    bookinfo.apply("virtual-service-ratings-test-delay.yaml");
    bookinfo.becomes("ratings is delayed for jason", |d| {
        let start = Instant::now();
        status(d, "reviews-v2", "ratings", jason) == 200 && start.elapsed() > Duration::from_millis(6900)
    });
    let start = Instant::now();
    assert_eq!(status(demo, "reviews-v2", "ratings", &[]), 200);
    assert!(start.elapsed() < Duration::from_secs(5), "delayed for others too");

    // Versions that have no endpoints: nobody else answers for them.
    for (sample, service) in [
        ("virtual-service-details-v2.yaml", "details"),
        ("virtual-service-ratings-db.yaml", "ratings"),
        ("virtual-service-ratings-mysql.yaml", "ratings"),
        ("virtual-service-ratings-mysql-vm.yaml", "ratings"),
    ] {
        bookinfo.apply(sample);
        bookinfo.becomes(sample, |d| {
            let answer = d.call("reviews-v2", service, &format!("/{service}/0"), &[]);
            answer.status == 503 && answer.body == "no healthy upstream"
        });
    }

    // Mutual TLS asked for by DestinationRules, and a load balancer by another.
    bookinfo.copy("networking/destination-rule-all-mtls.yaml", "rules.yaml");
    bookinfo.reviews_become("virtual-service-all-v1.yaml", &["v1"], &["v1"]);
    bookinfo.copy("networking/destination-rule-reviews.yaml", "rules.yaml");
    bookinfo.reviews_become("virtual-service-reviews-v3.yaml", &["v3"], &["v3"]);

    // What stands beside: an external service, and gateways.
    bookinfo.copy("networking/egress-rule-google-apis.yaml", "egress.yaml");
    bookinfo.copy("networking/bookinfo-gateway.yaml", "gateway.yaml");
    bookinfo.copy("networking/certmanager-gateway.yaml", "certmanager.yaml");
    bookinfo.reviews_become("virtual-service-reviews-test-v2.yaml", &["v1"], &["v2"]);
    let (_gateway, ip) = demo.gateway();
    let through = |path: &str| process::get((ip, 8080).into(), "any.example", path, &[]).map(|a| a.status).ok();
    bookinfo.becomes("the gateway leads to the front page, and nowhere else", |_| {
        through("/productpage") == Some(200) && through("/reviews/0") == Some(404)
    });
    let errors: Vec<_> = demo.findings().into_iter().filter(|f| f["level"] == "error").collect();
    // The certificate manager's resolver is no part of the samples.
    assert!(
        errors.iter().all(|f| f["message"].as_str().is_some_and(|m| m.contains("cert-manager-resolver"))),
        "{errors:#?}"
    );
}
