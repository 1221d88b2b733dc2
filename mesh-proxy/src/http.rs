//! The HTTP connection manager and the router.

mod chain;
mod client;
mod connect;
mod connection;
mod continue_gate;
mod download;
mod edits;
mod failure;
mod filters;
mod guard;
mod hash;
mod headers;
mod local_reply;
mod manager;
mod mirror;
mod path;
mod premature;
mod prepare;
mod replies;
mod retry;
mod rewrite;
mod router;
mod stats;
mod stream;
mod stream_task;
mod target;
mod tunnel;
mod upload;
mod watchdog;
mod wire;
mod xfcc;

pub(crate) use chain::HttpChain;
pub(crate) use connection::serve;
pub(crate) use download::Download;
pub(crate) use upload::UploadBody;
