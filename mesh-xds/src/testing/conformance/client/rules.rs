//! The cases, by what they are about.

mod answers;
mod follow;
mod hold;
mod names;
mod reconnect;

use super::{
    bench::{self, Bench, Play},
    stream::Stream,
};
use crate::{
    TypeUrl,
    testing::conformance::{case::Check, content},
};

const CDS: TypeUrl = TypeUrl::CLUSTER;
const EDS: TypeUrl = TypeUrl::ENDPOINT;
const LDS: TypeUrl = TypeUrl::LISTENER;
const RDS: TypeUrl = TypeUrl::ROUTE;

/// Every check, in the order of running.
pub(super) static ALL: [&[Check<Bench>]; 5] =
    [answers::CHECKS, follow::CHECKS, reconnect::CHECKS, names::CHECKS, hold::CHECKS];
