//! Configuration of a service mesh: read, checked, and followed as it changes.
//!
//! This crate reads Istio's kinds (and the few platform kinds that a mesh needs) from YAML or JSON, and says what is wrong
//! with them: where, and what to do. It does not talk to proxies and does not know what becomes of the configuration.
//!
//! ```text
//!  files, memory, ...  ── ConfigSource ──▶  Store  ──▶  State { snapshot, change, diagnostics }
//!         │                                  │ one object: Validators
//!         └── parse ──▶ Object + positions   │ many objects: Analyzers
//! ```
//!
//! # Checking files
//!
//! ```
//! use mesh_config::{TextRenderer, analyze_all, load_str};
//!
//! let text = "\
//! apiVersion: networking.istio.io/v1
//! kind: VirtualService
//! metadata:
//!   name: reviews
//! spec:
//!   hosts: [reviews]
//!   http:
//!   - timeout: 0.5ms
//!     route:
//!     - destination: {host: reviews}
//! ";
//! let mut loaded = load_str("reviews.yaml", text); // load_path reads files and folders
//! loaded.diagnostics.extend(analyze_all(loaded.all_objects()));
//!
//! let shown = TextRenderer::new().render(&loaded.diagnostics, |_| Some(text.to_owned()));
//! assert_eq!(shown, "\
//! error[IST0106]: the duration must be at least 1ms
//!  --> reviews.yaml:8:14 (VirtualService reviews, spec.http[0].timeout)
//!   |
//! 8 |   - timeout: 0.5ms
//!   |              ^
//!   = see: https://istio.io/latest/docs/reference/config/analysis/ist0106/
//!
//! error[IST0101]: referenced host not found: \"reviews\"
//!   --> reviews.yaml:10:27 (VirtualService reviews, spec.http[0].route[0].destination.host)
//!    |
//! 10 |     - destination: {host: reviews}
//!    |                           ^
//!    = help: add a Service or ServiceEntry with this host, or correct the name
//!    = see: https://istio.io/latest/docs/reference/config/analysis/ist0101/
//!
//! ");
//! ```
//!
//! # Following a folder
//!
//! [`watch()`] keeps the last good version of every object in force: a file that is broken for a while, or an object that
//! does not fit the others, costs nothing but a finding.
//!
//! ```no_run
//! # async fn run() {
//! use mesh_config::{DirectorySource, StoreOptions, model::VirtualService, watch};
//!
//! let mut states = watch(DirectorySource::new(["config"]), StoreOptions::default());
//! while states.changed().await.is_ok() {
//!     let state = states.borrow_and_update().clone();
//!     for service in state.snapshot.all::<VirtualService>() {
//!         println!("{}: {:?}", service.object.key(), service.spec.hosts);
//!     }
//!     for finding in state.diagnostics.iter() {
//!         println!("{finding}");
//!     }
//! }
//! # }
//! ```
//!
//! # Parts to put in
//!
//! | trait | what for | ready-made |
//! |---|---|---|
//! | [`ConfigSource`] | where configuration comes from | [`DirectorySource`], [`MemorySource`], [`LayeredSource`]; `HttpSource` with feature `http` |
//! | [`Validator`] | checks of one object | [`Validators::standard`] |
//! | [`Analyzer`] | checks across objects | [`Analyzers::standard`] |
//! | [`StatusSink`] | where reports about objects go | [`FileStatusSink`], [`MemoryStatusSink`] |
//!
//! Feature `http`: `HttpSource`, which reads a URL. Feature `test-util`: a conformance suite for sources
//! (`source::conformance`).

mod analyze;
mod cel;
mod certificate;
mod diagnostic;
mod hosts;
mod load;
pub mod model;
mod parse;
mod path;
mod position;
pub mod precedence;
mod protocol;
mod snapshot;
pub mod source;
mod status;
mod store;
mod suggest;
mod validate;
mod watch;

#[cfg(feature = "http")]
pub use self::source::{HttpOptions, HttpSource, InvalidUrl};
pub use self::{
    analyze::{
        Analysis, AnalysisContext, AnalysisUpdate, Analyzer, Analyzers, Clock, IncrementalAnalysis, Inputs, Link,
        analyze_clusters,
    },
    diagnostic::{
        Code, Diagnostic, InvalidSuppression, Level, SUPPRESS_ANNOTATION, Suppression, TextRenderer, UnknownLevel,
        render_json, render_sarif, sort_diagnostics, suppress, worst_level,
    },
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host, host_covers, is_visible},
    load::{
        LoadResult, LoadedMeshConfig, analyze_all, analyze_all_in, load_mesh_config, load_path, load_path_and, load_str,
    },
    model::{Kind, MeshConfig, Object, ObjectKey, ObjectMeta},
    parse::{
        MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_BYTES, MAX_FILE_NODES, MAX_NODES, MAX_SCALAR_BYTES, Parsed, parse,
        parse_bytes, parse_mesh_config,
    },
    path::FieldPath,
    position::{Position, PositionMap},
    snapshot::{Change, Snapshot, Typed, affected_hosts, changed_fields},
    source::{
        ConfigSource, DirectoryOptions, DirectoryScanner, DirectorySource, Event, HealthHandle, HealthRecorder,
        LayeredSource, MemoryHandle, MemorySource, ObjectChange, ScanError, SourceHealth,
    },
    status::{
        FileStatusSink, MemoryStatusSink, ObjectReport, Quarantine, QuarantineReason, Quarantined, StatusError,
        StatusSink, StatusWriter, Verdict,
    },
    store::{FindingList, State, Store, StoreOptions},
    validate::{Findings, Validator, Validators},
    watch::{follow, watch},
};
