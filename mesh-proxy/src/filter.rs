//! The traits that extend the data path. The built-in filters use nothing else.
//!
//! A filter is made once for each place it is configured in (by a [`HttpFilterFactory`] or [`NetworkFilterFactory`] that
//! knows its type URL), is shared by all workers, and is called by them at the same time: what it remembers between calls
//! of one stream lies in the stream ([`HttpStream::state`]), not in the filter. So a filter that answers at once costs
//! neither an allocation nor an await.

mod flags;
mod http;
mod info;
mod network;
mod registry;
mod reply;

pub use flags::ResponseFlags;
pub use http::{Flow, HttpFilter, HttpStream, Outcome};
pub use info::{ConnectionInfo, StreamInfo, Timings, TlsInfo};
pub use network::{NetworkFilter, NetworkFlow};
pub use registry::{FactoryError, FilterContext, FilterRegistry, HttpFilterFactory, NetworkFilterFactory};
pub use reply::LocalReply;
