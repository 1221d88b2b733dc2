//! Listeners: sockets, what is learnt from the first bytes, and the filter chain that takes a connection.

pub(crate) mod accept;
pub(crate) mod active;
mod answer;
pub(crate) mod bind;
pub(crate) mod chain_match;
pub(crate) mod inspect;
pub(crate) mod io;
