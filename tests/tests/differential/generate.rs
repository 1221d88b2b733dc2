//! Requests from a stream of random numbers: hosts, paths and headers that the file's matchers are about, and near misses.

use crate::{
    case::{Case, Listener, Payload},
    random::Random,
};

/// Makes requests.
pub(crate) struct Generator {
    random: Random,
}

/// A virtual host's name, and paths that its routes are about.
struct Area {
    /// How often, of all.
    share: usize,
    listener: Listener,
    hosts: &'static [&'static str],
    paths: &'static [&'static str],
    /// Commands to the back ends.
    commands: &'static [&'static str],
}

const AREAS: &[Area] = &[
    Area {
        share: 10,
        listener: Listener::Front,
        hosts: &[
            "exact.test",
            "EXACT.Test",
            "exact.test:8080",
            "exact.test:81",
            "exact.test.",
            "a.suffix.test",
            ".suffix.test",
            "suffix.test",
            "A.B-Dash.Suffix.TEST",
            "-dash.suffix.test",
            "prefix.x",
            "prefix.",
            "prefix",
            "prefix.longer.x",
            "prefix.suffix.test",
            "[::1]",
            "[::1]:8080",
            "[::1]:81",
            "unknown.test",
            "127.0.0.1",
            "x:y",
            "match.test:81",
        ],
        paths: &[
            "/",
            "/?q",
            "/x",
            "/a",
            "/ab",
            "/A",
            "/none",
            "/http2/x",
            "/mixed/x",
            "//",
            "/a//b",
            "/a/../b",
            "/a/%2e%2E/b",
        ],
        commands: &["", "", "status=404", "slow=20"],
    },
    Area {
        share: 30,
        listener: Listener::Front,
        hosts: &["match.test", "match.test", "MATCH.test", "match.test:81"],
        paths: &[
            "/exact",
            "/exact/",
            "/exac",
            "/Exact",
            "/exact%20",
            "/ex%61ct",
            "/folded/PATH",
            "/FOLDED/path/",
            "/fold",
            "/Folding",
            "/sep/arated",
            "/sep/arated/x",
            "/sep/aratedx",
            "/sep/arated%2fx",
            "/SEP/arated",
            "/sep/FOLDED/x",
            "/sep/foldedx",
            "/re/abc/12",
            "/re/abc/12/",
            "/re/abc/12x",
            "/re/ABC/1",
            "/any/x",
            "/any/x/y/x",
            "/any/xy",
            "/any/%0ax",
            "/tpl/de/german/end",
            "/tpl/de/end",
            "/tpl/de/ger/man/end",
            "/tpl//german/end",
            "/tpl/d%20e/g~/end",
            "/tpl/de/german/end/",
            "/media/v1/a/b.mp4",
            "/media/w1/a.mp4",
            "/media/v1/.mp4",
            "/media/v1/a.mp3",
            "/headers",
            "/headers/absent",
            "/headers/inverted",
            "/headers/empty",
            "/headersx",
            "/pseudo",
            "/pseudo/scheme",
            "/query",
            "/query/absent",
            "/cookie",
            "/svc/Method",
            "/tls",
            "/fraction",
            "/odd",
            "/o%64d",
            "/o%64d/x",
        ],
        commands: &["", "", "", "x-secret=1", "grpc-status=5;content-type=application/grpc"],
    },
    Area {
        share: 30,
        listener: Listener::Front,
        hosts: &["actions.test", "actions.test", "Actions.Test"],
        paths: &[
            "/rw/prefix",
            "/rw/prefix/x",
            "/rw/prefixed",
            "/rw/slash/",
            "/rw/slash/x//y",
            "/rw/slash",
            "/rw/folded/X",
            "/rw/exact",
            "/rw/exact/",
            "/rw/sep",
            "/rw/sep/",
            "/rw/sep/x",
            "/rw/regex",
            "/rw/regex/x/y",
            "/rw/regex%2f/x",
            "/rw/full/x",
            "/rw/tpl/one/two/three",
            "/rw/tpl/one/",
            "/rw/tpl/one/t%20o",
            "/host/literal",
            "/host/header/x",
            "/host/path/name/x",
            "/host/path/",
            "/host/auto",
            "/cluster/header",
            "/cluster/missing",
            "/cluster/404",
            "/cluster/empty",
            "/cluster/dead",
            "/weighted/x",
            "/chosen/x",
            "/edits",
            "/edits/x",
            "/to/https",
            "/to/https/x",
            "/to/scheme/x",
            "/to/host/x",
            "/to/port/x",
            "/to/all/x",
            "/to/path/x",
            "/to/strip/x",
            "/to/prefix/x",
            "/to/prefix",
            "/to/cut/x",
            "/to/regex/x/y",
            "/to/regex",
            "/direct/text",
            "/direct/empty",
            "/direct/204",
            "/direct/type",
            "/filter/action",
            "/non/forwarding",
            "/limits",
            "/nothing",
        ],
        commands: &[
            "",
            "",
            "",
            "status=500",
            "status=204",
            "status=304",
            "status=418",
            "break",
            "x-drop=1;x-order=backend",
            "x-over=backend",
            "x-envoy-overloaded=true",
            "content-type=application/json",
            "x-secret=1",
        ],
    },
    Area {
        share: 12,
        listener: Listener::Front,
        hosts: &["retry.test"],
        paths: &["/none", "/gateway", "/4xx", "/reset", "/grpc", "/dead", "/asked", "/asked", "/asked", "/x"],
        commands: &[
            "",
            "status=500",
            "status=503@1",
            "status=502@2",
            "status=409@1",
            "status=418@2",
            "status=429@1",
            "break@1",
            "break",
            "x-again=yes@1",
            "x-again=yes",
            "grpc-status=14@1;content-type=application/grpc",
            "grpc-status=1;content-type=application/grpc",
            "status=429@1;x-envoy-ratelimited=1@1",
            "status=503@1;x-envoy-ratelimited=1@1",
            "x-name=1@1",
            "status=200",
        ],
    },
    Area {
        share: 8,
        listener: Listener::Front,
        hosts: &["hash.test"],
        paths: &["/header", "/regex", "/query", "/source", "/cookie", "/several", "/weighted"],
        commands: &[""],
    },
    Area {
        share: 4,
        listener: Listener::Front,
        hosts: &["mirror.test", "mirror.test:81"],
        paths: &["/plain/x", "/never", "/missing", "/header", "/no-suffix", "/mutated/x"],
        commands: &["", "status=500"],
    },
    Area {
        share: 3,
        listener: Listener::Front,
        hosts: &["tls-all.test", "tls-all.test:80", "tls-all.test:8080", "tls-external.test"],
        paths: &["/", "/x/y", "/x#frag"],
        commands: &[""],
    },
    Area {
        share: 8,
        listener: Listener::Front,
        hosts: &["internal.test"],
        paths: &["/once", "/twice", "/previous", "/allowed", "/safe", "/other"],
        commands: &[
            "status=302;location=http://internal.test/target/x?new",
            "status=302;location=/target",
            "status=302;location=http://internal.test/other",
            "status=303;location=http://internal.test/target",
            "status=307@1;location=http://internal.test/twice/again",
            "status=302;location=http://internal.test/twice",
            "status=302;location=https://internal.test/target",
            "status=302",
            "status=302;location=",
            "status=302;location=ftp://x/",
            "status=302;location=http://internal.test",
            "status=302;location=http://internal.test/none",
            "status=302;location=http://internal.test/answer",
            "status=302;location=http://unknown.test/a;x-copied=1;x-copied=2",
            "status=302@1;location=http://internal.test/previous/2",
            "status=308;location=http://exact.test/;x-one=copied",
            "status=302;location=http://internal.test/target#frag",
            "status=200;location=/x",
        ],
    },
    Area {
        share: 12,
        listener: Listener::Other,
        hosts: &["other.test", "named"],
        paths: &[
            "/exact",
            "/exact;v=1",
            "/exact/;v=1",
            "/two;a=1/parts;b",
            "/two/parts/;",
            "/two;parts",
            "/prefix/x;y",
            "/prefix;a/b",
            "/weighted",
            "/weighted;x",
            "/weighted/x",
            "/redirect/x",
            "/tpl/xy/a/b/c",
            "/tpl/x/a/b",
            "/tpl/xy/a/",
            "/tpl/xy/b",
            "/",
        ],
        commands: &[
            "",
            "",
            "status=503@1",
            "status=503@1;retry-after=0",
            "status=503@1;retry-after=9",
            "x-order=backend;x-over=backend",
        ],
    },
    Area {
        share: 12,
        listener: Listener::Front,
        hosts: &["random.test"],
        paths: &["/weighted", "/fraction", "/mirror", "/hosts", "/other"],
        commands: &["", "status=503@1"],
    },
    Area {
        share: 1,
        listener: Listener::Front,
        hosts: &["retry.test"],
        paths: &["/per-try"],
        commands: &["slow=400@1", "slow=400"],
    },
    Area {
        share: 1,
        listener: Listener::Front,
        hosts: &["actions.test"],
        paths: &["/timeout", "/limits"],
        commands: &["slow=600", "slow=5"],
    },
];

const METHODS: &[&str] = &["GET", "GET", "GET", "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"];
const QUERIES: &[&str] = &[
    "?",
    "?k=v",
    "?k=v&k=w",
    "?k=w&k=v",
    "?k",
    "?k=",
    "?present",
    "?present=&x",
    "?K=v",
    "?k=PREfix&l",
    "?k=prefix",
    "?l=1&k=pre",
    "?enc=a%20b",
    "?enc=a b",
    "?enc=a+b",
    "?=v",
    "?&&k=v",
    "?k=v#frag",
    "?k=v?x",
    "?a=1;k=v",
    "?%6b=v",
    "?k=v%00",
    "?k=/../x",
];
const HEADERS: &[(&str, &[&str])] = &[
    ("x-one", &["1", "abc", "xYZ", "amidst", "12,34", "12", "34", "", "a 7 b 8"]),
    ("x-two", &["two", "2", ""]),
    ("x-number", &["5", "-10", "10", "150", "+5", " 7", "5x", "99999999999999999999", "0x1"]),
    (
        "cookie",
        &[
            "session=abc",
            "session=\"abc\"",
            "a=b; session=abc; user=u1",
            "user=u2; session=no",
            "session",
            "session=x; user=u",
        ],
    ),
    ("content-type", &["application/grpc", "application/grpc+proto", "application/grpc-web", "text/plain"]),
    ("x-order", &["client"]),
    ("x-absent", &["client"]),
    ("x-over", &["client"]),
    ("x-only-over", &["client"]),
    ("x-remove-table", &["1"]),
    ("x-remove-host", &["1"]),
    ("x-host", &["other.test", "other.test:99", ""]),
    ("x-cluster", &["a", "b", "nowhere", "empty", ""]),
    ("x-pick", &["0", "29", "30", "99", "100", "18446744073709551615"]),
    ("x-mirror", &["mirror", "nowhere", ""]),
    ("x-may-retry", &["1"]),
    (
        "x-want-retry-on",
        &["5xx", "gateway-error", "retriable-4xx,5xx", "retriable-status-codes", "retriable-headers", "bogus"],
    ),
    ("x-want-max-retries", &["0", "2", "3", "x", "-1"]),
    ("x-want-codes", &["418", "409,418", "x,429"]),
    ("x-want-names", &["x-name", "x-name,x-backend"]),
    ("x-want-grpc", &["unavailable", "cancelled,unavailable"]),
    ("x-forwarded-proto", &["https", "http", "ftp"]),
    ("x-forwarded-for", &["1.2.3.4", "1.2.3.4, 5.6.7.8", "x"]),
    ("x-forwarded-host", &["before.test"]),
    ("x-envoy-retry-on", &["5xx"]),
    ("x-envoy-max-retries", &["3"]),
    ("x-envoy-upstream-rq-timeout-ms", &["1"]),
    ("x-envoy-original-path", &["/was"]),
    ("x-envoy-attempt-count", &["7"]),
    ("x-envoy-internal", &["true"]),
    ("x-envoy-expected-rq-timeout-ms", &["9"]),
    ("grpc-timeout", &["100m", "1S", "x", "50000u"]),
    ("accept", &["*/*"]),
    ("user-agent", &["test"]),
];

impl Generator {
    pub(crate) fn new(random: Random) -> Self {
        Self { random }
    }

    pub(crate) fn case(&mut self, id: usize) -> Case {
        let random = &mut self.random;
        let area = pick(random);
        let http2 = random.percent(40);
        let host = random.one(area.hosts).to_owned();
        let mut path = random.one(area.paths).to_owned();
        if random.percent(5) {
            path.push_str(random.one(&["/", "//x", "/%2F", "/ü", "/%zz", "/a;b=c", "/~", "/.", "/..", "#frag"]));
        }
        if random.percent(40) && !path.contains('?') {
            path.push_str(random.one(QUERIES));
        }
        let mut headers = Vec::new();
        let command = random.one(area.commands);
        if !command.is_empty() {
            headers.push(("x-do".to_owned(), command.to_owned()));
        }
        for _ in 0..random.below(4) {
            let (name, values) = HEADERS[random.below(HEADERS.len())];
            for _ in 0..=usize::from(random.percent(15)) {
                headers.push((name.to_owned(), random.one(values).to_owned()));
            }
        }
        for (prefix, wanted) in WANTED {
            if path.starts_with(prefix) && random.percent(70) {
                for name in *wanted {
                    let values = HEADERS.iter().find(|(n, _)| n == name).map_or(&[][..], |(_, v)| v);
                    if random.percent(60) {
                        headers.push(((*name).to_owned(), random.one(values).to_owned()));
                    }
                }
            }
        }
        if host == "hash.test" {
            // Without anything to hash, hosts are drawn by lot.
            headers.retain(|(name, _)| name != "x-one" && name != "x-two");
            headers.push(("x-one".to_owned(), random.below(1000).to_string()));
            headers.push(("x-two".to_owned(), random.below(1000).to_string()));
            path = format!("{}?k={}", path.split(['?', '#']).next().unwrap_or_default(), random.below(1000));
        }
        if path.starts_with("/chosen") && !headers.iter().any(|(name, _)| name == "x-pick") {
            headers.push(("x-pick".to_owned(), random.below(200).to_string()));
        }
        if area.listener == Listener::Other {
            // A value with spaces would make a path that HTTP/2 cannot carry.
            headers.retain(|(name, _)| name != "x-one");
            for (name, values) in OTHER_HEADERS {
                if random.percent(75) {
                    headers.push(((*name).to_owned(), random.one(values).to_owned()));
                }
            }
        }
        let method = random.one(METHODS).to_owned();
        let body = match random.below(8) {
            0 if method != "HEAD" => Payload::Sized("a body".repeat(random.below(40))),
            1 if method != "HEAD" => Payload::Streamed("streamed ".repeat(1 + random.below(40))),
            _ => Payload::None,
        };
        let mut case = Case { id, listener: area.listener, http2, method, host, path, headers, body };
        if http2 && !fits_http2(&case) {
            case.http2 = false;
        }
        case
    }
}

/// Headers that the other listener's table looks at.
const OTHER_HEADERS: &[(&str, &[&str])] = &[
    ("x-vhost", &["named", "named", "Named", "a.named", "other", ""]),
    ("x-one", &["1", "abc"]),
    ("x-internal-only", &["1"]),
    ("x-envoy-decorator-operation", &["op"]),
];

/// Headers that the routes below a path look at.
const WANTED: &[(&str, &[&str])] = &[
    ("/headers", &["x-one", "x-two", "x-number"]),
    ("/cookie", &["cookie", "x-two"]),
    ("/svc", &["content-type"]),
    ("/asked", &["x-want-retry-on", "x-want-max-retries", "x-want-codes", "x-want-names", "x-want-grpc"]),
    ("/4xx", &["x-may-retry"]),
    ("/chosen", &["x-pick", "x-cluster"]),
    ("/cluster/header", &["x-cluster"]),
    ("/host/header", &["x-host", "x-forwarded-host"]),
    ("/header", &["x-one", "x-mirror"]),
    ("/regex", &["x-one"]),
    ("/several", &["x-one", "x-two"]),
    ("/weighted", &["x-one"]),
    ("/limits", &["grpc-timeout", "content-type"]),
    ("/mutated", &["x-one", "x-two"]),
    ("/edits", &["x-one", "x-two", "x-over", "x-order", "x-only-over"]),
    ("/pseudo", &["x-forwarded-proto"]),
];

fn pick(random: &mut Random) -> &'static Area {
    let total: usize = AREAS.iter().map(|a| a.share).sum();
    let mut at = random.below(total);
    for area in AREAS {
        match at.checked_sub(area.share) {
            Some(rest) => at = rest,
            None => return area,
        }
    }
    &AREAS[0]
}

/// The HTTP/2 client builds what it can write down only.
fn fits_http2(case: &Case) -> bool {
    let uri = http::Uri::builder().scheme("http").authority(case.host.as_str()).path_and_query(case.path.as_str());
    uri.build().is_ok_and(|uri| uri.path_and_query().is_some_and(|p| p.as_str() == case.path))
}
