//! What a store checks.

use crate::{analyze::Analyzers, model::MeshConfig, validate::Validators};

/// What a [`Store`](super::Store) checks, and what it does about faults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// The checks of single objects; all of this crate by default.
    pub validators: Validators,
    /// The checks across objects; all of this crate by default.
    pub analyzers: Analyzers,
    /// Whether the last good version of an object stays in force when a new one is refused; true by default. Otherwise
    /// the object is taken out until it is mended.
    pub keep_last_good: bool,
    /// Whether a new version that does not fit the other objects (such as a route to a subset that does not exist) is
    /// held back while its last good version stays in force; true by default. An object without a good version goes in
    /// with its findings.
    pub hold_back: bool,
    /// The settings of the mesh that analyzers go by; by default those that it holds, if any.
    pub mesh: Option<MeshConfig>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            validators: Validators::standard(),
            analyzers: Analyzers::standard(),
            keep_last_good: true,
            hold_back: true,
            mesh: None,
        }
    }
}
