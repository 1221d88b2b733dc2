//! The cases, by what they are about.

mod answers;
mod names;
mod order;
mod removal;
mod resume;
mod sets;
mod ttl;
mod types;
mod warming;
mod wildcard;

use super::{bench::Bench, stream};
use crate::{
    TypeUrl,
    testing::conformance::{case::Check, content},
};

const CDS: TypeUrl = TypeUrl::CLUSTER;
const EDS: TypeUrl = TypeUrl::ENDPOINT;
const LDS: TypeUrl = TypeUrl::LISTENER;
const RDS: TypeUrl = TypeUrl::ROUTE;

/// Every check, in the order of running.
pub(super) static ALL: [&[Check<Bench>]; 10] = [
    wildcard::CHECKS,
    names::CHECKS,
    answers::CHECKS,
    resume::CHECKS,
    sets::CHECKS,
    removal::CHECKS,
    warming::CHECKS,
    order::CHECKS,
    types::CHECKS,
    ttl::CHECKS,
];
