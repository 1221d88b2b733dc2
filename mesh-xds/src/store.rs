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
//! - [`GroupedViews`]: a [`NodeGroup`] names the client's group; each group's view is filled by hand.
//! - [`FilledViews`]: a [`ViewFiller`] makes a view when its first client connects, makes it anew when told, and forgets it
//!   with its last client. This is what a control plane that translates for each proxy needs.
//! - your own.

mod batch;
mod filled;
mod grouped;
mod log;
mod source;
mod view;
mod watcher;

pub use batch::{Batch, Changed};
pub use filled::{FilledViews, ViewFiller};
pub use grouped::{GroupedViews, NodeGroup};
pub use source::{Attach, Refusal, SingleView, ViewHandle, ViewSource};
pub use view::{Revision, View};
pub use watcher::{Changes, ViewWatcher};
