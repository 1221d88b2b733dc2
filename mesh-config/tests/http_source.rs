//! The source that reads a URL, against a server that says what a test has it say.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use mesh_config::{
    Code, ConfigSource, Event, HttpOptions, HttpSource, InvalidUrl, Object, ObjectChange, ObjectKey,
    model::ServiceEntry,
    source::conformance::{Harness, check},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What the server says, and what it was asked.
#[derive(Debug, Default)]
struct Script {
    /// Head and body of the answer.
    answer: (String, String),
    /// The tag that is answered with 304.
    etag: Option<String>,
    modified: Option<String>,
    /// Says nothing at all.
    silent: bool,
    requests: Vec<String>,
    not_modified: usize,
}

#[derive(Clone, Debug)]
struct Server {
    script: Arc<Mutex<Script>>,
    address: SocketAddr,
}

impl Server {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { script: Arc::default(), address: listener.local_addr().unwrap() };
        let own = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (own, tls) = (own.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => own.serve(socket).await,
                        // A client that does not trust us ends the handshake.
                        Some(tls) => match tls.accept(socket).await {
                            Ok(socket) => own.serve(socket).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        server
    }

    fn say(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn text(&self, text: &str) {
        self.say(|script| script.answer = ("HTTP/1.1 200 OK".to_owned(), text.to_owned()));
    }

    fn url(&self) -> String {
        format!("http://{}/config?all", self.address)
    }

    async fn serve<I: AsyncRead + AsyncWrite + Unpin>(&self, mut io: I) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let answer = {
            let mut script = self.script.lock().unwrap();
            script.requests.push(head.clone());
            let known = [("if-none-match", &script.etag), ("if-modified-since", &script.modified)];
            let same = known.iter().any(|(name, value)| {
                value
                    .as_ref()
                    .is_some_and(|value| head.contains(&format!("{name}: {}\r\n", value.to_ascii_lowercase())))
            });
            let etag = script.etag.iter().map(|tag| format!("\r\netag: {tag}")).collect::<String>();
            let modified = script.modified.iter().map(|time| format!("\r\nlast-modified: {time}")).collect::<String>();
            if same {
                script.not_modified += 1;
                format!("HTTP/1.1 304 Not Modified{etag}{modified}\r\n\r\n")
            } else {
                let (status, body) = &script.answer;
                format!("{status}{etag}{modified}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            }
        };
        if self.script.lock().unwrap().silent {
            std::future::pending::<()>().await;
        }
        io.write_all(answer.as_bytes()).await.ok()?;
        io.shutdown().await.ok()
    }
}

fn often() -> HttpOptions {
    let mut options = HttpOptions::default();
    options.interval = Duration::from_millis(2);
    options
}

fn entry(name: &str, host: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {{hosts: [{host}]}}\n"
    )
}

async fn next(source: &mut HttpSource) -> Event {
    tokio::time::timeout(Duration::from_secs(10), source.next()).await.expect("an event in time").unwrap()
}

fn shape(event: &Event) -> Vec<String> {
    let (kind, changes) = match event {
        Event::Snapshot(changes) => ("all", changes),
        Event::Changes(changes) => ("some", changes),
        Event::Failed(found) => return found.iter().map(|found| format!("{} {}", found.code, found.message)).collect(),
        other => panic!("unknown event {other:?}"),
    };
    let shape = |change: &ObjectChange| match change {
        ObjectChange::Applied(object) => format!("+{}", object.name()),
        ObjectChange::Deleted(key) => format!("-{}", key.name),
        ObjectChange::Refused { key, .. } => format!("!{}", key.name),
        ObjectChange::Findings { diagnostics, .. } => format!("findings {}", diagnostics.len()),
        other => panic!("unknown change {other:?}"),
    };
    std::iter::once(kind.to_owned()).chain(changes.iter().map(shape)).collect()
}

#[tokio::test]
async fn a_text_that_did_not_change_is_not_sent_again() {
    let server = Server::start(None).await;
    server.text(&entry("a", "h"));
    server.say(|script| script.etag = Some("\"one\"".to_owned()));
    let mut source = HttpSource::new(&server.url(), often()).unwrap();
    assert_eq!(shape(&next(&mut source).await), ["all", "+a"]);
    // Nothing is told while nothing changes, and the server is asked again and again.
    let quiet = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            tokio::select! {
                event = source.next() => panic!("{event:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            if server.script.lock().unwrap().not_modified > 3 {
                return;
            }
        }
    });
    quiet.await.unwrap();
    server.text(&(entry("a", "h") + &entry("b", "h")));
    server.say(|script| script.etag = Some("\"two\"".to_owned()));
    assert_eq!(shape(&next(&mut source).await), ["some", "+a", "+b"]);
    let asked = server.script.lock().unwrap().requests[0].clone();
    assert!(asked.starts_with("get /config?all http/1.1\r\n"), "{asked}");
    assert!(
        asked.contains(&format!("host: {}\r\n", server.address)) && asked.contains("accept-encoding: identity\r\n")
    );
}

#[tokio::test]
async fn a_time_serves_where_there_is_no_tag() {
    let server = Server::start(None).await;
    server.text(&entry("a", "h"));
    server.say(|script| script.modified = Some("Wed, 21 Oct 2015 07:28:00 GMT".to_owned()));
    let mut source = HttpSource::new(&server.url(), often()).unwrap();
    assert_eq!(shape(&next(&mut source).await), ["all", "+a"]);
    server.say(|script| script.answer = ("HTTP/1.1 500 Not Asked".to_owned(), String::new()));
    let quiet = tokio::time::timeout(Duration::from_millis(200), source.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert!(server.script.lock().unwrap().not_modified > 0);
}

#[tokio::test]
async fn trouble_is_told_once_and_takes_nothing_away() {
    let server = Server::start(None).await;
    server.text(&entry("a", "h"));
    let mut options = often();
    (options.max_bytes, options.timeout) = (500, Duration::from_millis(300));
    let mut source = HttpSource::new(&server.url(), options).unwrap();
    let health = source.health();
    assert_eq!(shape(&next(&mut source).await), ["all", "+a"]);
    let answers = [
        ("HTTP/1.1 404 Not Found", String::new(), "MESH0002 cannot be read: the server answers 404 Not Found"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://elsewhere/",
            String::new(),
            "MESH0002 cannot be read: the server answers 302 Found to \"http://elsewhere/\", which is not followed: name \
             the URL that configuration comes from",
        ),
        ("HTTP/1.1 304 Not Modified", String::new(), "MESH0002 cannot be read: the server answers 304 Not Modified"),
        ("HTTP/1.1 200 OK", "# ".repeat(300), "MESH0002 cannot be read: the text is larger than 500 bytes"),
        (
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip",
            String::new(),
            "MESH0002 cannot be read: the text has content coding \"gzip\", though none was asked for",
        ),
    ];
    for (head, body, expected) in answers {
        server.say(|script| script.answer = (head.to_owned(), body));
        assert_eq!(shape(&next(&mut source).await), [expected]);
        assert!(health.now().is_failing() && health.now().ready);
        server.text(&entry("a", "h"));
        // The text is parsed anew, and so told anew.
        assert_eq!(shape(&next(&mut source).await)[0], "some");
        assert!(!health.now().is_failing());
    }
    server.say(|script| script.silent = true);
    assert_eq!(shape(&next(&mut source).await), ["MESH0002 cannot be read: there was no whole answer within 300ms"]);
    server.say(|script| script.silent = false);
    next(&mut source).await;
    server.text("a: [");
    assert_eq!(shape(&next(&mut source).await), ["some", "findings 1"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let mut source = HttpSource::new(&url, often()).unwrap();
    let told = shape(&next(&mut source).await);
    assert!(told[0].starts_with("MESH0002 cannot be read: the server cannot be reached"), "{told:?}");
    assert!(!source.health().now().ready);
}

#[test]
fn readings_are_spread_and_urls_are_checked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let refused = |url: &str| HttpSource::new(url, HttpOptions::default()).unwrap_err();
    assert!(matches!(refused("https://a.example"), InvalidUrl::NoTls(_)));
    assert!(matches!(refused("ftp://a.example/x"), InvalidUrl::Scheme(_)));
    assert!(matches!(refused("/etc/passwd"), InvalidUrl::Malformed(_)));
    let mut options = HttpOptions::default();
    options.jitter = 2.0;
    assert!(matches!(HttpSource::new("http://a", options), Err(InvalidUrl::Option(_))));
    let chance = HttpOptions::default().chance;
    assert!((0..1000).all(|_| (0.0..1.0).contains(&chance())));
}

#[tokio::test]
async fn over_tls_the_server_must_be_trusted() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let server = rustls::ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
    let server = Server::start(Some(TlsAcceptor::from(Arc::new(server)))).await;
    server.text(&entry("a", "h"));
    let url = server.url().replace("http:", "https:");
    let trusting = |certificates: &[CertificateDer<'static>]| {
        let mut roots = rustls::RootCertStore::empty();
        certificates.iter().for_each(|one| roots.add(one.clone()).unwrap());
        let mut options = often();
        options.tls =
            Some(Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()));
        options.authorization = Some("Bearer secret".parse().unwrap());
        options
    };
    assert!(!format!("{:?}", trusting(&[])).contains("secret"));
    let mut source = HttpSource::new(&url, trusting(&[certificate])).unwrap();
    assert_eq!(shape(&next(&mut source).await), ["all", "+a"]);
    assert!(server.script.lock().unwrap().requests[0].contains("authorization: bearer secret\r\n"));
    let mut source = HttpSource::new(&url, trusting(&[])).unwrap();
    let Event::Failed(found) = next(&mut source).await else { panic!("an unknown server was trusted") };
    assert_eq!(found[0].code, Code::UnreadableFile);
}

#[derive(Debug)]
struct Url {
    server: Server,
    objects: BTreeMap<ObjectKey, serde_json::Value>,
}

impl Url {
    fn publish(&self) {
        let items: Vec<_> = self.objects.values().collect();
        self.server.text(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    }
}

impl Harness for Url {
    type Source = HttpSource;

    fn source(&mut self) -> HttpSource {
        HttpSource::new(&self.server.url(), often()).unwrap()
    }

    async fn put(&mut self, object: &Object) {
        let value = serde_json::json!({
            "apiVersion": object.api_version, "kind": object.kind().as_str(), "metadata": object.meta,
            "spec": {"hosts": object.spec_as::<ServiceEntry>().unwrap().hosts},
        });
        self.objects.insert(object.key().clone(), value);
        self.publish();
    }

    async fn remove(&mut self, key: &ObjectKey) {
        self.objects.remove(key);
        self.publish();
    }
}

#[tokio::test]
async fn conforms() {
    check(Url { server: Server::start(None).await, objects: BTreeMap::new() }).await;
}
