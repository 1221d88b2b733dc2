//! What a resource must be like before anybody is shown it.

use std::{error::Error, fmt, sync::Arc};

use mesh_xds_api::validate;

use crate::{Origin, Resource, ResourceKey};

/// Decides whether a resource may be shown to clients.
///
/// # Contract
/// A pure function of the resource: it is called once for each new content that is put into a view, by whoever puts it
/// there, under no lock. A resource that is refused is set aside and reported ([`super::Changed::refused`]); what the view had
/// under its name stays in force. A closure is one.
pub trait ResourceCheck: Send + Sync + 'static {
    /// Whether `resource` may be shown.
    ///
    /// # Errors
    /// Why not, for the people who made it.
    fn check(&self, resource: &Resource) -> Result<(), Box<dyn Error + Send + Sync>>;
}

impl<F> ResourceCheck for F
where
    F: Fn(&Resource) -> Result<(), Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
{
    fn check(&self, resource: &Resource) -> Result<(), Box<dyn Error + Send + Sync>> {
        self(resource)
    }
}

/// The API's own rules (`validate.rules` of the messages, also of those within): what breaks one Envoy would refuse. The
/// default. Resources of types that the API does not have are let through.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApiRules;

impl ResourceCheck for ApiRules {
    fn check(&self, resource: &Resource) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(validate::any(resource.any())?)
    }
}

/// Lets everything through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unchecked;

impl ResourceCheck for Unchecked {
    fn check(&self, _resource: &Resource) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// A resource that a check did not let through.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Which one.
    pub key: ResourceKey,
    /// What it was made from, if its producer said.
    pub origin: Option<Origin>,
    /// What is wrong with it.
    pub reason: Arc<dyn Error + Send + Sync>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ResourceKey { type_url, name } = &self.key;
        write!(f, "{} {name}", type_url.short().unwrap_or_else(|| type_url.message_name()))?;
        if let Some(origin) = &self.origin {
            write!(f, " (from {origin})")?;
        }
        write!(f, ": {}", self.reason)
    }
}
