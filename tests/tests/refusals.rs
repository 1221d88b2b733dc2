//! Bad input to a control plane: refused with a reason, logged once, counted; nothing else disturbed.
//!
//! The client is Google's own gRPC stack; signing requests and one certificate are OpenSSL's.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use mesh_tests::{
    client::ForeignClient,
    control_plane::{ControlPlane, token},
    wait,
};
use serde_json::{Value, json};

const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const SOON: Duration = Duration::from_secs(10);
/// More than any request that xDS reads (16 MiB).
const TOO_LARGE: usize = 17 << 20;

const UNAUTHENTICATED: &str = "mesh_ca_requests_refused_total{reason=\"unauthenticated\"}";
const DENIED: &str = "mesh_ca_requests_refused_total{reason=\"permission_denied\"}";
const INVALID: &str = "mesh_ca_requests_refused_total{reason=\"invalid_argument\"}";
const EXHAUSTED: &str = "mesh_ca_requests_refused_total{reason=\"resource_exhausted\"}";
const STREAMS_REFUSED: &str = "mesh_xds_streams_refused{port=\"tls\"}";
const VIOLATIONS: &str = "mesh_xds_violations{port=\"tls\"}";
const STALE: &str = "mesh_xds_stale_nonces{port=\"tls\"}";
const NACKS: &str = "mesh_xds_nacks{port=\"tls\"}";
const HANDSHAKES: &str = "mesh_tls_handshakes_failed_total";
/// Every counter of something bad.
const BAD: &[&str] =
    &[UNAUTHENTICATED, DENIED, INVALID, EXHAUSTED, STREAMS_REFUSED, VIOLATIONS, STALE, NACKS, HANDSHAKES];

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  ports: [{{name: http, port: 9080}}]\n")
}

fn cluster(service: &str) -> String {
    format!("outbound|9080||{service}.default.svc.cluster.local")
}

fn spiffe(account: &str) -> String {
    format!("spiffe://cluster.local/ns/default/sa/{account}")
}

fn node(id: &str, namespace: &str, account: &str) -> Value {
    let metadata = json!({"NAMESPACE": namespace, "SERVICE_ACCOUNT": account, "INTERCEPTION_MODE": "NONE"});
    json!({"id": id, "metadata": metadata})
}

const REVIEWS: &str = "sidecar~127.0.1.1~reviews-1.default~default.svc.cluster.local";

fn reviews() -> Value {
    node(REVIEWS, "default", "reviews")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn openssl(args: &[&str]) -> String {
    let out = Command::new("openssl").args(args).stdin(Stdio::null()).output();
    let out = out.expect("openssl is needed: install it (Debian: apt-get install openssl)");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Makes FILE.key, and with it what `openssl req ARGS` makes, for an id.
fn req(file: &Path, id: &str, args: &[&str]) -> String {
    let (key, name) = (file.with_extension("key"), format!("subjectAltName=URI:{id}"));
    let mut all = vec!["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/O=x"];
    all.extend(["-keyout", path(&key), "-addext", &name]);
    all.extend(args);
    openssl(&all)
}

/// The same signing request with one bit of its signature changed.
fn forged(csr: &str, folder: &Path) -> String {
    let (pem, der) = (folder.join("csr.pem"), folder.join("csr.der"));
    fs::write(&pem, csr).expect("a file can be written");
    openssl(&["req", "-in", path(&pem), "-outform", "DER", "-out", path(&der)]);
    let mut bytes = fs::read(&der).expect("the request can be read");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&der, bytes).expect("a file can be written");
    openssl(&["req", "-inform", "DER", "-in", path(&der)])
}

/// One bad call: what is asked, the status and words of the answer, and the counter that counts it.
struct Case {
    what: &'static str,
    ask: Value,
    code: &'static str,
    words: &'static str,
    counter: &'static str,
}

fn case(what: &'static str, ask: Value, code: &'static str, words: &'static str, counter: &'static str) -> Case {
    Case { what, ask, code, words, counter }
}

struct Bench {
    plane: ControlPlane,
    client: ForeignClient,
}

impl Bench {
    fn start() -> Self {
        let plane = ControlPlane::start(&[("reviews.yaml", &service("reviews"))]);
        let client = ForeignClient::start(plane.listen, &plane.roots());
        Self { plane, client }
    }

    fn bad(&self) -> BTreeMap<String, u64> {
        let mut metrics = self.plane.metrics();
        assert!(BAD.iter().all(|name| metrics.contains_key(*name)), "{metrics:?}");
        metrics.retain(|name, _| BAD.contains(&name.as_str()));
        metrics
    }

    /// Lines logged since the log had `from` bytes that hold all of `words`.
    fn logged(&self, from: usize, words: &[&str]) -> Vec<String> {
        let log = self.plane.log();
        log[from..].lines().filter(|l| words.iter().all(|w| l.contains(w))).map(str::to_owned).collect()
    }

    /// Does something bad: only `counter` counts it, once, and one line of `level` with `words` is logged of it.
    fn counted_once<T>(
        &mut self,
        what: &str,
        (counter, level, words): (&str, &str, &str),
        act: impl FnOnce(&mut ForeignClient) -> T,
    ) -> T {
        let (mut expected, from) = (self.bad(), self.plane.log().len());
        let answer = act(&mut self.client);
        *expected.entry(counter.to_owned()).or_default() += 1;
        wait::until(&format!("{what}: a line in the log"), SOON, || {
            (!self.logged(from, &[level, words]).is_empty()).then_some(())
        });
        wait::until(&format!("{what}: one more of {counter}"), SOON, || (self.bad() == expected).then_some(()));
        let lines = self.logged(from, &[level]);
        assert_eq!(lines.len(), 1, "{what}: logged once: {lines:#?}");
        answer
    }

    fn csr(&mut self, token: &str, csr: &str) -> Value {
        self.client.ask(&json!({"do": "csr", "token": token, "csr": csr}))
    }

    /// A certificate for an account, in FOLDER/ACCOUNT.pem with its key, verified by OpenSSL.
    fn certificate(&mut self, account: &str) -> PathBuf {
        let file = self.plane.folder().join(account);
        let csr = req(&file, &spiffe(account), &["-new"]);
        let answer = self.csr(&token(&self.plane.state(), account), &csr);
        let chain: Vec<String> = serde_json::from_value(answer["chain"].clone()).unwrap_or_else(|_| panic!("{answer}"));
        let pem = file.with_extension("pem");
        fs::write(&pem, chain.concat()).expect("a file can be written");
        openssl(&["verify", "-CAfile", path(&self.plane.roots()), path(&pem)]);
        let text = openssl(&["x509", "-in", path(&pem), "-noout", "-ext", "subjectAltName"]);
        assert!(text.contains(&format!("URI:{}", spiffe(account))), "{text}");
        file
    }

    /// Opens a stream, sends its first request, and gives what comes.
    fn stream(&mut self, name: &str, variant: &str, identity: Option<&Path>, request: &Value) -> Value {
        self.client.ask(&json!({"do": "open", "stream": name, "variant": variant, "as": identity}));
        self.send(name, request);
        self.next(name)
    }

    fn send(&mut self, stream: &str, request: &Value) {
        let mut ask = request.clone();
        ask["do"] = "send".into();
        ask["stream"] = stream.into();
        self.client.ask(&ask);
    }

    fn next(&mut self, stream: &str) -> Value {
        self.client.ask(&json!({"do": "next", "stream": stream, "seconds": 10}))
    }

    /// Accepts what came.
    fn accept(&mut self, stream: &str, push: &Value) {
        let ack = json!({"type": push["type"], "nonce": push["nonce"], "version": push["version"]});
        self.send(stream, &ack);
    }

    /// Configures one more service: the stream is told of it, and accepts.
    fn sees_change(&mut self, stream: &str, name: &str) -> Value {
        self.plane.configure(&format!("{name}.yaml"), &service(name));
        self.is_told_of(stream, name)
    }

    fn is_told_of(&mut self, stream: &str, name: &str) -> Value {
        let push = self.next(stream);
        assert_eq!(push["type"], CDS, "{push}\n{}", self.plane.log());
        assert!(has(&push, &cluster(name)), "{push}");
        self.accept(stream, &push);
        push
    }

    /// The control plane's view of the streams of a node.
    fn status(&self, id: &str) -> Vec<Value> {
        let all = self.plane.get("/debug/syncz").json();
        all.as_array().expect("a list").iter().filter(|p| p["node"] == id).cloned().collect()
    }
}

fn has(push: &Value, name: &str) -> bool {
    push["names"].as_array().is_some_and(|names| names.iter().any(|n| n == name))
}

fn assert_refused(case: &Case, answer: &Value) {
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(answer["code"] == case.code && message.contains(case.words), "{}: {answer}", case.what);
}

#[test]
fn certificates_are_refused_by_name() {
    let mut bench = Bench::start();
    let folder = bench.plane.folder().to_owned();
    let state = bench.plane.state();
    let (good, csr) = (token(&state, "reviews"), req(&folder.join("a"), &spiffe("reviews"), &["-new"]));
    let foreign = token(&folder.join("other-authority"), "reviews");
    let key = state.join("token-key.pem");
    let mut like = |claims: Value| {
        let answer = bench.client.ask(&json!({"do": "jwt", "key": key, "like": good, "claims": claims}));
        answer["token"].as_str().expect("a token").to_owned()
    };
    // The same maker with nothing changed is accepted, so that each refusal is for what was changed.
    let same = like(json!({}));
    let (expired, early) = (like(json!({"exp": 1_700_000_000, "nbf": 1})), like(json!({"nbf": 9_999_999_999_u64})));
    let (audience, issuer) = (like(json!({"aud": ["vault"]})), like(json!({"iss": "elsewhere"})));
    let subject = like(json!({"sub": "system:node:a"}));
    assert_eq!(bench.csr(&same, &csr)["code"], "OK");

    let ask = |token: &str, csr: &str| json!({"do": "csr", "token": token, "csr": csr});
    let other = req(&folder.join("b"), &spiffe("ratings"), &["-new"]);
    let domain = req(&folder.join("c"), "spiffe://elsewhere/ns/default/sa/reviews", &["-new"]);
    let authority =
        req(&folder.join("d"), &spiffe("reviews"), &["-new", "-addext", "basicConstraints=critical,CA:TRUE"]);
    // Names besides the own one: of a host, of an address, of somebody else.
    let beside = |file: &str, name: &str| req(&folder.join(file), &format!("{},{name}", spiffe("reviews")), &["-new"]);
    let (host, ip) = (beside("e", "DNS:example.com"), beside("f", "IP:192.0.2.1"));
    let two = beside("g", &format!("URI:{}", spiffe("ratings")));
    let curve = req(&folder.join("h"), &spiffe("reviews"), &["-new", "-pkeyopt", "ec_paramgen_curve:P-521"]);
    let cases = [
        case("no token", json!({"do": "csr", "csr": csr}), "UNAUTHENTICATED", "no credential", UNAUTHENTICATED),
        case("garbage", ask("garbage", &csr), "UNAUTHENTICATED", "not a signed JWT", UNAUTHENTICATED),
        case("foreign", ask(&foreign, &csr), "UNAUTHENTICATED", "no known key", UNAUTHENTICATED),
        case("expired", ask(&expired, &csr), "UNAUTHENTICATED", "expired", UNAUTHENTICATED),
        case("not yet valid", ask(&early, &csr), "UNAUTHENTICATED", "not valid yet", UNAUTHENTICATED),
        case("other audience", ask(&audience, &csr), "UNAUTHENTICATED", "audience", UNAUTHENTICATED),
        case("other issuer", ask(&issuer, &csr), "UNAUTHENTICATED", "issuer", UNAUTHENTICATED),
        case("no service account", ask(&subject, &csr), "UNAUTHENTICATED", "subject", UNAUTHENTICATED),
        case("other account", ask(&good, &other), "PERMISSION_DENIED", "default/sa/ratings", DENIED),
        case("other trust domain", ask(&good, &domain), "PERMISSION_DENIED", "spiffe://elsewhere", DENIED),
        case("an authority", ask(&good, &authority), "PERMISSION_DENIED", "CA certificate", DENIED),
        case("a host's name", ask(&good, &host), "PERMISSION_DENIED", "example.com", DENIED),
        case("an address", ask(&good, &ip), "PERMISSION_DENIED", "neither URI nor DNS", DENIED),
        case("a second id", ask(&good, &two), "PERMISSION_DENIED", "default/sa/ratings", DENIED),
        case("another curve", ask(&good, &curve), "INVALID_ARGUMENT", "EC with curve", INVALID),
        case("no PEM", ask(&good, "hello"), "INVALID_ARGUMENT", "not a PKCS #10", INVALID),
        case("forged", ask(&good, &forged(&csr, &folder)), "INVALID_ARGUMENT", "proof of possession", INVALID),
        case("large CSR", ask(&good, &"x".repeat(20_000)), "INVALID_ARGUMENT", "at most 16384", INVALID),
        case("large message", ask(&good, &"x".repeat(1 << 20)), "RESOURCE_EXHAUSTED", "too large", EXHAUSTED),
        case("no protobuf", json!({"do": "csr", "raw": "ffff"}), "INVALID_ARGUMENT", "cannot be read", INVALID),
    ];
    let issued = |bench: &Bench| bench.plane.metrics()["citadel_server_success_cert_issuance_count"];
    let before = issued(&bench);
    for case in &cases {
        let answer = bench.counted_once(case.what, (case.counter, "WARN", case.words), |client| client.ask(&case.ask));
        assert_refused(case, &answer);
    }
    assert_eq!(issued(&bench), before, "nothing was issued");
    // Neither a token nor a key is in the log.
    let log = bench.plane.log();
    assert!([&good, &foreign, &expired].iter().all(|t| !log.contains(t.as_str())) && !log.contains("PRIVATE"), "{log}");

    bench.certificate("reviews");
    assert_eq!(issued(&bench), before + 1);
}

#[test]
fn streams_are_refused_by_name_and_others_go_on() {
    let mut bench = Bench::start();
    let (reviews_cert, ratings_cert) = (bench.certificate("reviews"), bench.certificate("ratings"));
    let stranger = bench.plane.folder().join("stranger");
    req(&stranger, &spiffe("reviews"), &["-x509", "-days", "1", "-out", path(&stranger.with_extension("pem"))]);

    // Two good streams, opened first, that must see nothing of what follows.
    for (stream, variant) in [("good", "sotw"), ("good-delta", "delta")] {
        let push = bench.stream(stream, variant, Some(&reviews_cert), &json!({"type": CDS, "node": reviews()}));
        assert!(has(&push, &cluster("reviews")), "{stream}: {push}");
        bench.accept(stream, &push);
        bench.send(stream, &json!({"type": LDS}));
        let push = bench.next(stream);
        assert!(push["type"] == LDS && has(&push, "127.0.0.1_9080"), "{stream}: {push}");
        bench.accept(stream, &push);
    }
    let since = connected(&bench);

    refuse_streams(&mut bench, &reviews_cert, &ratings_cert);

    // A certificate of an unknown authority does not even get through TLS.
    let (from, before) = (bench.plane.log().len(), bench.bad()[HANDSHAKES]);
    let answer = bench.stream("stranger", "sotw", Some(&stranger), &json!({"type": CDS, "node": reviews()}));
    assert_eq!(answer["code"], "UNAVAILABLE", "{answer}");
    wait::until("the failed handshake is logged", SOON, || {
        (!bench.logged(from, &["WARN", "TLS handshake failed"]).is_empty()).then_some(())
    });
    assert!(bench.bad()[HANDSHAKES] > before);

    too_large(&mut bench, &reviews_cert);

    // The good streams: still the same ones, and told of a change.
    assert_eq!(connected(&bench), since);
    for stream in ["good", "good-delta"] {
        let push =
            if stream == "good" { bench.sees_change(stream, "ratings") } else { bench.is_told_of(stream, "ratings") };
        assert!(push["nonce"].as_str().is_some_and(|n| !n.is_empty()));
    }
    replay(&mut bench);
    assert_eq!(connected(&bench), since);
}

/// When the streams of the good node were opened.
fn connected(bench: &Bench) -> Vec<f64> {
    let mut times: Vec<f64> = bench.status(REVIEWS).iter().filter_map(|p| p["connected_at"].as_f64()).collect();
    times.sort_by(f64::total_cmp);
    assert_eq!(times.len(), 2, "{:?}", bench.status(REVIEWS));
    times
}

/// Whoever is not what it says does not get a stream, whichever variant it speaks.
fn refuse_streams(bench: &mut Bench, reviews_cert: &Path, ratings_cert: &Path) {
    let elsewhere = "sidecar~127.0.1.1~reviews-1.elsewhere~elsewhere.svc.cluster.local";
    let mut interception = reviews();
    interception["metadata"]["INTERCEPTION_MODE"] = "MAYBE".into();
    let denied = "PERMISSION_DENIED";
    let two_lines = node("reviews\nWARN xDS stream refused", "default", "reviews");
    let cases: [(&str, Option<&Path>, Value, &str, &str); 9] = [
        ("no certificate", None, reviews(), "UNAUTHENTICATED", "client certificate"),
        ("another's account", Some(ratings_cert), reviews(), denied, "claims SERVICE_ACCOUNT reviews"),
        ("another namespace", Some(reviews_cert), node(elsewhere, "elsewhere", "reviews"), denied, "claims NAMESPACE"),
        ("id of another namespace", Some(reviews_cert), node(elsewhere, "default", "reviews"), denied, "node id"),
        ("no metadata", Some(reviews_cert), json!({"id": REVIEWS}), denied, "no metadata NAMESPACE"),
        ("malformed id", Some(reviews_cert), node("reviews", "default", "reviews"), denied, "TYPE~IP~NAME.NAMESPACE"),
        ("line in the id", Some(reviews_cert), two_lines, denied, "TYPE~IP~NAME.NAMESPACE"),
        ("bad metadata", Some(reviews_cert), interception, denied, "INTERCEPTION_MODE"),
        (
            "id too long",
            Some(reviews_cert),
            node(&"x".repeat(100_000), "default", "reviews"),
            "INVALID_ARGUMENT",
            "node.id",
        ),
    ];
    for variant in ["sotw", "delta"] {
        for (what, identity, node, code, words) in &cases {
            let request = json!({"do": "send", "stream": what, "type": CDS, "node": node});
            let answer = bench.counted_once(what, (STREAMS_REFUSED, "WARN", words), |client| {
                client.ask(&json!({"do": "open", "stream": what, "variant": variant, "as": identity}));
                client.ask(&request);
                client.ask(&json!({"do": "next", "stream": what, "seconds": 10}))
            });
            let message = answer["message"].as_str().unwrap_or_default();
            assert!(answer["code"] == *code && message.contains(words), "{variant}, {what}: {answer}");
        }
    }
}

/// A message over the limit ends its own stream, not the others of the same connection.
fn too_large(bench: &mut Bench, identity: &Path) {
    let huge = json!({"do": "send", "stream": "huge", "type": CDS, "node": reviews(), "pad": TOO_LARGE});
    let next = json!({"do": "next", "stream": "huge", "seconds": 10});
    let open = json!({"do": "open", "stream": "huge", "as": identity});
    let case = |what| case(what, Value::Null, "RESOURCE_EXHAUSTED", "too large", "");

    let answer = bench.counted_once("first message", (STREAMS_REFUSED, "WARN", "too large"), |client| {
        client.ask(&open);
        client.ask(&huge);
        client.ask(&next)
    });
    assert_refused(&case("first message"), &answer);

    let push = bench.stream("huge", "sotw", Some(identity), &json!({"type": CDS, "node": reviews()}));
    assert!(has(&push, &cluster("reviews")), "{push}");
    let answer = bench.counted_once("later message", (VIOLATIONS, "WARN", "too large"), |client| {
        client.ask(&huge);
        client.ask(&next)
    });
    assert_refused(&case("later message"), &answer);
}

/// An answer with an old nonce, or one that never was, changes nothing. A refusal is told and changes nothing either.
fn replay(bench: &mut Bench) {
    let old = bench.sees_change("good", "details");
    bench.is_told_of("good-delta", "details");
    let push = bench.sees_change("good", "productpage");
    bench.is_told_of("good-delta", "productpage");
    assert_ne!(old["nonce"], push["nonce"]);
    for (what, nonce) in [("replayed", &old["nonce"]), ("made up", &json!("made-up\nstale nonce"))] {
        // It would be a refusal if it counted.
        let request = json!({"do": "send", "stream": "good", "type": CDS, "nonce": nonce, "error": "replayed"});
        bench.counted_once(what, (STALE, "stale nonce", "answer dropped"), |client| client.ask(&request));
    }
    let status = bench.status(REVIEWS);
    let stale = status.iter().find(|p| p["variant"] == "sotw").map(|p| p["types"]["CDS"].clone());
    let stale = stale.unwrap_or_else(|| panic!("{status:?}"));
    assert_eq!((&stale["stale_nonces"], &stale["nacks"], &stale["state"]), (&json!(2), &json!(0), &json!("ACKED")));

    bench.plane.configure("last.yaml", &service("last"));
    let push = bench.next("good");
    assert!(has(&push, &cluster("last")), "{push}");
    let nack =
        json!({"do": "send", "stream": "good", "type": CDS, "nonce": push["nonce"], "error": "not this one\nWARN"});
    bench.counted_once("refused push", (NACKS, "WARN", "not this one"), |client| client.ask(&nack));
    bench.is_told_of("good-delta", "last");
    bench.sees_change("good", "after");
    bench.is_told_of("good-delta", "after");
}
