//! The protocol's rules as named cases, for any server and any client.
//!
//! | module | plays | checks |
//! |---|---|---|
//! | [`server`] | a scripted client, on raw messages | the xDS server at an address, whose content a [`server::Fixture`] changes |
//! | [`client`] | a scripted server, on raw messages | the client that is pointed at it, through hooks or by watching alone |
//!
//! Nothing here goes through this crate's own protocol cores or codecs: what is sent and what is read are the API's
//! messages. A [`Case`] names the rule and the section of the
//! [xDS protocol page](https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol) it is from; running it gives a
//! [`Verdict`]; all of them are a [`Report`], which prints as a table.
//!
//! A peer is free where the page leaves it free: it may send several resources in one response or each in its own, and
//! may merge changes. Cases wait for what must come as long as `patience` says. That something does *not* come is
//! concluded from silence of the length `quiet`: a slow peer passes such a case by being slow, and never fails it.

mod case;
pub mod client;
pub mod content;
mod report;
pub mod server;
mod wire;

pub use self::{
    case::{Case, Verdict, Weight},
    report::Report,
};
