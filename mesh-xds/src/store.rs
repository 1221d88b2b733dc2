//! Where resources live between their producer and the streams.
//!
//! ```text
//!   producer ── Batch / replace ──►  View  ──── revision ───►  stream: tells what changed since it last told
//!                                    one set of resources
//!   stream ── Node ──► ViewSource ──► ViewHandle ──► View ──► Scope: what other streams have accepted
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
//!
//! What is put into a view must pass a [`ResourceCheck`], by default the API's own rules: what Envoy would refuse for breaking
//! one is set aside and reported, and what was there before stays.
//!
//! A producer whose changes come in bursts gathers them: by a [`DebouncedView`], or by a [`Debouncer`] that refreshes views.
//!
//! What resources refer to should be there: [`dangling`] tells what is not, and a [`ConsistentWriter`] refuses an update that
//! would leave a view so.
//!
//! Views whose clients depend on one another belong to one [`Scope`]: what is removed from one of them leaves only when the
//! clients of all have accepted what changed before it. The views of a source above have a scope in common.

mod batch;
mod check;
mod consistency;
mod debounce;
mod filled;
mod grouped;
mod scope;
mod set_aside;
mod source;
mod view;
mod watcher;

pub use batch::{Batch, Changed};
pub use check::{ApiRules, Refused, ResourceCheck, Unchecked};
pub use consistency::{ConsistentWriter, Dangling, External, Inconsistent, dangling};
pub use debounce::{Debounce, DebounceConfig, DebounceStats, DebouncedView, Debouncer};
pub use filled::{FilledViews, ViewFiller};
pub use grouped::{GroupedViews, NodeGroup};
pub use scope::{Scope, Transaction};
pub use source::{Attach, Refusal, SingleView, ViewHandle, ViewSource};
pub use view::View;
pub(crate) use watcher::Follower;
pub use watcher::ViewWatcher;

pub use crate::protocol::server::Revision;
