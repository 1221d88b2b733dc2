//! Workload identity: who is who in a mesh, as a library.
//!
//! A CA that issues [X.509-SVIDs](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md), Istio's CSR API in
//! front of it, and the workload's half: an identity that renews itself and plugs into rustls. Each part is usable alone.
//!
//! | module | what it is for |
//! |---|---|
//! | [`spiffe`] | ids, trust domains, bundles in PEM and as JWK Sets, X.509- and JWT-SVIDs, revocation lists; verification that names the rule broken |
//! | [`issuer`] | [`CertIssuer`](issuer::CertIssuer): template → sign → verify; a self-signed root, an intermediate from files, or another CA; [`JwtIssuer`](issuer::JwtIssuer); [`KeyStore`](issuer::KeyStore) |
//! | [`issuer::rotation`] | [`RotatingCa`](issuer::RotatingCa): the root changes step by step, with proof; revocation lists; a record of what was issued |
//! | [`authn`] | [`Authenticator`](authn::Authenticator): tokens, client certificates, local processes; join tokens; node proxies that ask for others |
//! | [`server`] | `istio.v1.auth.IstioCertificateService` for tonic |
//! | [`audit`] | a record of each decision |
//! | [`health`] | readiness, warnings and metrics of what is near its end |
//! | [`agent`] | the workload's side: key, request, renewal, back-off |
//! | [`tls`] | rustls configurations whose identity changes under way |
//! | [`clock`] | time as an argument |
//! | [`federation`] | the bundle endpoint, and a client that follows those of other trust domains |
//! | [`fetch`] | small public documents over HTTPS |
//! | [`sink`] | certificates of service accounts in folders: Citadel's model |
//! | `sds` (feature `sds`) | certificates and roots for Envoy, as an SDS server |
//! | [`workload`] | the SPIFFE Workload API on a Unix socket |
//! | [`api`] | the messages and stubs of both APIs |
//!
//! # Two services with rotating mutual TLS
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use mesh_ca::{
//!     agent::{AgentConfig, IssuerSource, WorkloadIdentity},
//!     clock::SystemClock,
//!     issuer::{DirectoryStore, SelfSigned, SelfSignedConfig},
//!     spiffe::{SpiffeId, TrustDomain},
//!     tls::{self, ClientAuth, PeerPolicy},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let clock = Arc::new(SystemClock);
//! let domain = TrustDomain::parse("cluster.local")?;
//! // The CA. Its root stays in the folder: the next start finds it there.
//! let store = DirectoryStore::open(folder)?;
//! let ca = Arc::new(SelfSigned::open(&store, SelfSignedConfig::new(domain.clone()), clock.clone()).await?);
//!
//! // An identity that renews itself at half of its life. Over the network, `RemoteCa` takes the place of `IssuerSource`.
//! let reviews = SpiffeId::for_workload(&domain, "shop", "reviews")?;
//! let ratings = SpiffeId::for_workload(&domain, "shop", "ratings")?;
//! let config = AgentConfig::new(reviews.clone()).with_lifetime(Duration::from_secs(3600));
//! let identity = WorkloadIdentity::spawn(config, Arc::new(IssuerSource::new(ca)), clock);
//! let watch = identity.watch();
//! let svid = watch.ready().await.ok_or("stopped")?;
//! assert_eq!(svid.id(), &reviews);
//!
//! // Made once; each handshake uses the certificate of its time.
//! let server = tls::server_config(&watch, ClientAuth::Required, PeerPolicy::id(ratings.clone()))?;
//! let client = tls::client_config(&watch, PeerPolicy::id(ratings))?;
//! # let _ = (server, client);
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - A private key is made where it is used, and never leaves: it is not in requests, logs, errors or `Debug`, it is wiped
//!   from memory, and on disk only its owner can read it.
//! - A certificate that has ended is neither shown nor accepted, whatever the clocks do.
//! - While roots change, nobody holds a certificate that another's bundle does not verify, whoever crashes when.
//! - A certificate is on record before it is handed out, over a power cut too.
//! - Roots are never pooled: each speaks for its own trust domain.
//! - Bytes from outside give typed errors, never a panic, and cost bounded work.
//!
//! # Features
//!
//! - `sds`: secrets for Envoy; brings in mesh-xds and its server.
//! - `test-util`: doubles (a clock moved by hand, a store and an audit sink in memory) and conformance suites for those who
//!   implement the traits.
//!
//! Not here yet: Kubernetes (TokenReview, Secrets), an intermediate that renews itself at another CA.

pub mod agent;
pub mod api;
pub mod audit;
pub mod authn;
pub mod clock;
pub mod federation;
pub mod fetch;
pub mod health;
pub mod issuer;
mod refresh;
#[cfg(feature = "sds")]
pub mod sds;
pub mod server;
pub mod sink;
pub mod spiffe;
pub mod tls;
pub mod workload;
