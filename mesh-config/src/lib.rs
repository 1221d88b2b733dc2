//! Configuration of a service mesh.

mod analyze;
mod diagnostic;
mod hosts;
mod load;
pub mod model;
mod parse;
mod path;
mod position;
mod snapshot;
pub mod source;
mod store;
mod suggest;
mod validate;
mod watch;

pub use self::{
    analyze::{Analysis, AnalysisContext, Analyzer, Analyzers},
    diagnostic::{
        Code, Diagnostic, Level, TextRenderer, UnknownLevel, render_json, render_sarif, sort_diagnostics, worst_level,
    },
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host, host_covers, is_visible},
    load::{LoadResult, analyze_all, load_path, load_str},
    model::{Kind, Object, ObjectKey, ObjectMeta},
    parse::{MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_BYTES, MAX_NODES, Parsed, parse, parse_bytes},
    path::FieldPath,
    position::{Position, PositionMap},
    snapshot::{Change, Snapshot, Typed},
    source::{
        ConfigSource, DirectoryOptions, DirectoryScanner, DirectorySource, Event, MemoryHandle, MemorySource,
        ObjectChange, ScanError,
    },
    store::{State, Store, StoreOptions},
    validate::{Findings, Validator, Validators},
    watch::{follow, watch},
};
