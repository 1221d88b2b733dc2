//! Glue between codecs, sockets and a single-threaded worker.

mod bare;
mod batched;
mod pass;
mod read_ahead;
mod scratch;
mod socket;

pub(crate) use bare::BareSocket;
pub(crate) use batched::Batched;
pub(crate) use pass::{one_of, write_through};
pub(crate) use read_ahead::ReadAhead;
pub(crate) use scratch::Scratch;
pub(crate) use socket::Socket;
