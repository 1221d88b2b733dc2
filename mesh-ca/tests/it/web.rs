//! HTTPS servers of a test, with certificates of an authority made for it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use mesh_ca::fetch::{HttpsUrl, WebRoots};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a path answers, and how often it was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) asked: usize,
}

/// A server for `localhost`.
#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    pub(crate) roots: WebRoots,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A public authority, and a server's configuration for `localhost` by it.
pub(crate) fn authority() -> (WebRoots, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (WebRoots::from_pem(issuer.pem().as_bytes()).unwrap(), config)
}

impl Web {
    pub(crate) async fn start() -> Self {
        let (roots, config) = authority();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers: Arc<Mutex<HashMap<String, Answer>>> = Arc::default();
        let (acceptor, shared) = (TlsAcceptor::from(Arc::new(config)), answers.clone());
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| std::future::ready(answer(&shared, &request)));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, roots, answers, task }
    }

    pub(crate) fn url(&self, path: &str) -> HttpsUrl {
        HttpsUrl::parse(&format!("https://localhost:{}{path}", self.address.port())).unwrap()
    }

    pub(crate) fn set(&self, path: &str, status: u16, headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) {
        let headers = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        let mut answers = self.answers.lock().unwrap();
        let asked = answers.get(path).map_or(0, |a| a.asked);
        answers.insert(path.to_owned(), Answer { status, headers, body: body.into(), asked });
    }

    pub(crate) fn asked(&self, path: &str) -> usize {
        self.answers.lock().unwrap().get(path).map_or(0, |a| a.asked)
    }
}

fn answer(
    answers: &Mutex<HashMap<String, Answer>>,
    request: &Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let mut answers = answers.lock().unwrap();
    let mut response = Response::builder();
    let Some(answer) = answers.get_mut(request.uri().path()) else {
        return Ok(response.status(404).body(Full::default()).unwrap());
    };
    answer.asked += 1;
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    Ok(response.status(answer.status).body(Full::new(answer.body.clone().into())).unwrap())
}
