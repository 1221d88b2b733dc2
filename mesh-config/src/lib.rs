//! Configuration of a service mesh.

pub mod model;
mod position;
mod snapshot;
mod suggest;

pub use self::{
    model::{Kind, Object, ObjectKey, ObjectMeta},
    position::{Position, PositionMap},
    snapshot::{Change, Snapshot, Typed},
};
