use std::{cell::RefCell, collections::HashMap, sync::Arc};

use mesh_xds_api::{
    TypeUrl,
    any::{self, Any},
    envoy::{
        config::{
            cluster::v3::Cluster as ProtoCluster, endpoint::v3::ClusterLoadAssignment,
            listener::v3::Listener as ProtoListener, route::v3::RouteConfiguration,
        },
        extensions::transport_sockets::tls::v3::Secret as ProtoSecret,
    },
};
use prost::{Message, Name};

use super::{
    access_log::ACCESS_LOGS,
    audit::Audit,
    cluster::{self, CLUSTERS, DISCOVERY, LIMITS, POLICIES, UPSTREAM_PROTOCOLS},
    endpoint::{self, ENDPOINTS},
    error::{FieldError, Rejection, Translated},
    hcm::{CLIENTS, DOWNSTREAM_OPTIONS, MANAGERS, REPLIES},
    listener::{self, CHAINS, LISTENER_FILTERS, LISTENERS, SOCKETS},
    matcher::MATCHERS,
    route::{self, ACTIONS, ANSWERS, CONDITIONS, EDITS, HASHES, MIRRORS, REDIRECT_POLICIES, RETRIES, ROUTES, WEIGHTS},
    secret::{self, SECRETS},
    source::{Context, Dependency, SOURCES},
    tcp_proxy::TCP_PROXIES,
    tls::{TLS, VALIDATION},
    transport_socket::TRANSPORT_SOCKETS,
    value::VALUES,
};
use crate::{
    filter::FilterRegistry,
    model::{Assignment, Cluster, Listener, RouteTable, Secret},
    stats::Stats,
};

pub(super) static LISTENER: Audit = Audit::new(&[
    LISTENERS,
    CHAINS,
    LISTENER_FILTERS,
    SOCKETS,
    MANAGERS,
    CLIENTS,
    REPLIES,
    DOWNSTREAM_OPTIONS,
    TCP_PROXIES,
    ROUTES,
    CONDITIONS,
    ACTIONS,
    WEIGHTS,
    MIRRORS,
    HASHES,
    REDIRECT_POLICIES,
    ANSWERS,
    EDITS,
    RETRIES,
    ACCESS_LOGS,
    TRANSPORT_SOCKETS,
    TLS,
    VALIDATION,
    SECRETS,
    MATCHERS,
    SOURCES,
    VALUES,
]);
pub(super) static ROUTE: Audit = Audit::new(&[
    ROUTES,
    CONDITIONS,
    ACTIONS,
    WEIGHTS,
    MIRRORS,
    HASHES,
    REDIRECT_POLICIES,
    ANSWERS,
    EDITS,
    RETRIES,
    MATCHERS,
    VALUES,
]);
pub(super) static CLUSTER: Audit = Audit::new(&[
    CLUSTERS,
    DISCOVERY,
    POLICIES,
    LIMITS,
    UPSTREAM_PROTOCOLS,
    ENDPOINTS,
    TRANSPORT_SOCKETS,
    TLS,
    VALIDATION,
    SECRETS,
    MATCHERS,
    SOURCES,
    VALUES,
]);
pub(super) static ENDPOINT: Audit = Audit::new(&[ENDPOINTS, VALUES]);
pub(super) static SECRET: Audit = Audit::new(&[SECRETS, TLS, VALIDATION, MATCHERS, SOURCES, VALUES]);

/// A translated resource, and what it needs before it is warm.
#[derive(Clone, Debug)]
pub struct Translation<T> {
    /// The value.
    pub value: T,
    /// Other resources it names.
    pub dependencies: Vec<Dependency>,
}

/// Turns resources into values. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Translator {
    filters: FilterRegistry,
    stats: Stats,
    secrets: Arc<HashMap<String, Arc<Secret>>>,
}

impl Translator {
    /// With these filters, and no secrets of a bootstrap. The filters count in `stats`.
    #[must_use]
    pub fn new(filters: FilterRegistry, stats: Stats) -> Self {
        Self { filters, stats, secrets: Arc::default() }
    }

    /// With the secrets of the bootstrap, which TLS contexts may name without saying where they come from.
    #[must_use]
    pub fn with_secrets(mut self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        let named = secrets.into_iter().map(|secret| (secret.name.clone(), Arc::new(secret)));
        self.secrets = Arc::new(named.collect());
        self
    }

    /// A listener.
    ///
    /// # Errors
    /// The fields that are wrong or not carried. So for all of these methods.
    pub fn listener(&self, resource: &Any) -> Result<Translation<Listener>, Rejection> {
        self.translate(&LISTENER, resource, |message: &ProtoListener| &message.name, listener::listener)
    }

    /// A route configuration.
    ///
    /// # Errors
    /// See [`listener`](Self::listener).
    pub fn routes(&self, resource: &Any) -> Result<RouteTable, Rejection> {
        let table = self.translate(
            &ROUTE,
            resource,
            |message: &RouteConfiguration| &message.name,
            |message, cx| route::table(message, false, cx),
        )?;
        Ok(table.value)
    }

    /// A cluster.
    ///
    /// # Errors
    /// See [`listener`](Self::listener).
    pub fn cluster(&self, resource: &Any) -> Result<Translation<Cluster>, Rejection> {
        self.translate(&CLUSTER, resource, |message: &ProtoCluster| &message.name, cluster::cluster)
    }

    /// The endpoints of a cluster.
    ///
    /// # Errors
    /// See [`listener`](Self::listener).
    pub fn assignment(&self, resource: &Any) -> Result<Assignment, Rejection> {
        let name = |message: &ClusterLoadAssignment| -> String { message.cluster_name.clone() };
        read(&ENDPOINT, resource, name, |message| endpoint::assignment(message, false))
    }

    /// A secret.
    ///
    /// # Errors
    /// See [`listener`](Self::listener). No part of the secret is in the error.
    pub fn secret(&self, resource: &Any) -> Result<Secret, Rejection> {
        read(&SECRET, resource, |message: &ProtoSecret| message.name.clone(), secret::secret)
    }

    fn translate<M: Message + Name + Default, T>(
        &self,
        audit: &Audit,
        resource: &Any,
        name: impl Fn(&M) -> &String,
        translate: impl Fn(&M, &Context<'_>) -> Translated<T>,
    ) -> Result<Translation<T>, Rejection> {
        let cx = Context {
            filters: &self.filters,
            stats: &self.stats,
            secrets: &self.secrets,
            dependencies: RefCell::new(Vec::new()),
        };
        let value = read(audit, resource, |message| name(message).clone(), |message| translate(message, &cx))?;
        Ok(Translation { value, dependencies: cx.dependencies.into_inner() })
    }
}

/// Decodes, audits, translates.
pub(super) fn read<M: Message + Name + Default, T>(
    audit: &Audit,
    resource: &Any,
    name: impl Fn(&M) -> String,
    translate: impl Fn(&M) -> Translated<T>,
) -> Result<T, Rejection> {
    let reject = |resource: String, fields| Rejection { type_url: TypeUrl::from(M::type_url()), resource, fields };
    let message: M =
        any::unpack(resource).map_err(|error| reject(String::new(), vec![FieldError::new("", error.to_string())]))?;
    audit.check(resource).map_err(|fields| reject(name(&message), fields))?;
    translate(&message).map_err(|error| reject(name(&message), vec![error]))
}
