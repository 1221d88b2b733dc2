//! The HTTP connection manager and the router.

mod chain;
mod connection;
mod download;
mod edits;
mod failure;
mod filters;
mod hash;
mod head_scan;
mod headers;
mod local_reply;
mod manager;
mod mirror;
mod path;
mod retry;
mod rewrite;
mod router;
mod stats;
mod stream;
mod target;
mod tunnel;
mod upload;
mod watchdog;
mod xfcc;

pub(crate) use chain::HttpChain;
pub(crate) use connection::serve;
pub(crate) use download::Download;
pub(crate) use upload::UploadBody;
