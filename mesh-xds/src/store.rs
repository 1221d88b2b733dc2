//! Where resources live between their producer and the streams.
//!
//! ```text
//!   producer ── Batch / replace ──►  View  ──── revision ───►  ViewWatcher (one per stream)
//!                                    one set of resources      "these names changed since you last asked"
//!   stream ── Node ──► ViewSource ──► ViewHandle ──► View
//! ```
//!
//! A [`View`] is one set of resources of all types, as some clients are to see it. Its unit of change is one resource: an
//! update costs what it touches, and a watcher is told names, not sets. Which view a client gets is decided by a
//! [`ViewSource`]:
//!
//! - [`SingleView`]: all clients see the same.
//! - [`GroupedViews`]: a [`NodeGroup`] names the client's group; a view lives while it is filled by hand or has clients.
//! - your own, which may make a view when the first client of it connects and forget it with the last: keep the
//!   [`Weak`](std::sync::Weak) end and hand out [`ViewHandle`]s.

mod batch;
mod grouped;
mod log;
mod source;
mod view;
mod watcher;

pub use batch::{Batch, Changed};
pub use grouped::{GroupedViews, NodeGroup};
pub use source::{Attach, Refusal, SingleView, ViewHandle, ViewSource};
pub use view::{Revision, View};
pub use watcher::{Changes, ViewWatcher};
