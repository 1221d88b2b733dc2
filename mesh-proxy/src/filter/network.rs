use std::{any::Any, future::Future, pin::Pin};

use super::ConnectionInfo;

/// A filter of a connection, before the filter that ends the chain.
///
/// [`on_connection`](Self::on_connection) is called once, in configuration order, when the connection is set up (TLS
/// handshake done) and before a byte of it is read. It must not block; a filter that has to wait returns
/// [`NetworkFlow::Wait`], whose future may be dropped at any time.
pub trait NetworkFilter: Send + Sync + 'static {
    /// The connection may go on, be closed, or be held.
    fn on_connection(&self, connection: &ConnectionInfo) -> NetworkFlow;
}

/// What a network filter decided.
pub enum NetworkFlow {
    /// Go on with the next filter.
    Continue,
    /// Go on with the next filter. The value is dropped when the connection has ended: what it counts or reserves is given
    /// back then.
    Hold(Box<dyn Any>),
    /// Close the connection; the text is for logs (`rbac_access_denied_matched_policy[none]`).
    Close(std::borrow::Cow<'static, str>),
    /// Hold the connection until the future says `true` (go on) or `false` (close).
    Wait(Pin<Box<dyn Future<Output = bool>>>),
}
