//! Glue between codecs, sockets and a single-threaded worker.

mod bare;
mod batched;
mod read_ahead;
mod scratch;

pub(crate) use bare::BareSocket;
pub(crate) use batched::Batched;
pub(crate) use read_ahead::ReadAhead;
pub(crate) use scratch::Scratch;
