//! Configuration of a service mesh.

mod diagnostic;
pub mod model;
mod parse;
mod path;
mod position;
mod snapshot;
mod suggest;

pub use self::{
    diagnostic::{
        Code, Diagnostic, Level, TextRenderer, UnknownLevel, render_json, render_sarif, sort_diagnostics, worst_level,
    },
    model::{Kind, Object, ObjectKey, ObjectMeta},
    parse::{MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_BYTES, MAX_NODES, Parsed, parse, parse_bytes},
    path::FieldPath,
    position::{Position, PositionMap},
    snapshot::{Change, Snapshot, Typed},
};
