//! What the codecs do not look at: the bytes of a connection on their way in, before the codec has them.
//!
//! [`http1`] finds where each request ends and refuses what another hop could read in another way (request smuggling);
//! [`http2`] counts the frames with which a client can make a server work or wait without asking for anything (floods).
//! Both are machines without input or output; `io` drives them.

pub(super) mod http1;
pub(super) mod http2;
mod io;

pub(super) use io::{FramesSeen, Heads, Http1Io, Http2Io};
