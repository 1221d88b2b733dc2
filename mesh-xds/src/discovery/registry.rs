use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Endpoint, Service, ServiceKey, TlsMode, Workload};

/// A service and its endpoints, of all its ports.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRecord {
    /// The service.
    pub service: Arc<Service>,
    /// Its endpoints, in a stable order.
    pub endpoints: Vec<Arc<Endpoint>>,
}

impl ServiceRecord {
    /// Endpoints of the port with this name.
    pub fn endpoints_of<'a>(&'a self, port: &'a str) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        self.endpoints.iter().filter(move |endpoint| endpoint.service_port == port)
    }
}

/// Everything that exists at one moment. Immutable; a clone costs a reference count.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    services: BTreeMap<ServiceKey, ServiceRecord>,
    by_host: BTreeMap<Arc<str>, Vec<ServiceKey>>,
    workloads: Vec<Workload>,
    workload_at: BTreeMap<String, usize>,
}

impl Registry {
    /// Starts an empty one.
    #[must_use]
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// All services, ordered by namespace and host name.
    pub fn services(&self) -> impl Iterator<Item = &ServiceRecord> {
        self.inner.services.values()
    }

    /// The service with this key.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&ServiceRecord> {
        self.inner.services.get(key)
    }

    /// The service called `hostname` that `namespace` sees: its own before a Kubernetes one before the first of others.
    #[must_use]
    pub fn service_by_host(&self, hostname: &str, namespace: &str) -> Option<&ServiceRecord> {
        let keys = self.inner.by_host.get(hostname)?;
        let visible = || {
            let records = keys.iter().filter_map(|key| self.inner.services.get(key));
            records.filter(|record| record.service.export_to.is_visible_in(namespace))
        };
        visible()
            .find(|record| record.service.namespace() == namespace)
            .or_else(|| visible().find(|record| record.service.platform == super::Platform::Kubernetes))
            .or_else(|| visible().next())
    }

    /// All known workloads.
    #[must_use]
    pub fn workloads(&self) -> &[Workload] {
        &self.inner.workloads
    }

    /// Both registries as one. Of a service in both, `self` defines it and the endpoints of both are used.
    #[must_use]
    pub fn merge(&self, other: &Registry) -> Registry {
        let mut builder = RegistryBuilder::default();
        for record in self.services().chain(other.services()) {
            if let Some(known) = builder.inner.services.get_mut(&record.service.key) {
                known.endpoints.extend(record.endpoints.iter().cloned());
            } else {
                builder.add_record(record.clone());
            }
        }
        for workload in self.workloads().iter().chain(other.workloads()) {
            builder.add_workload(workload.clone());
        }
        builder.build()
    }

    /// This registry with a sidecar at each of `addresses` where nobody said whether there is one.
    ///
    /// For control planes: a sidecar that is connected answers at its own address. An endpoint keeps its mode if its
    /// labels state it. Give addresses that were connected once for as long as the endpoint exists, or a lost stream
    /// would turn calls to plaintext.
    #[must_use]
    pub fn with_sidecars(&self, addresses: &BTreeSet<String>) -> Registry {
        let mut builder = RegistryBuilder::default();
        let is_sidecar = |mode: TlsMode, address: &str| mode == TlsMode::Unstated && addresses.contains(address);
        for record in self.services() {
            let mut record = record.clone();
            for endpoint in &mut record.endpoints {
                if is_sidecar(endpoint.tls_mode, &endpoint.address) {
                    Arc::make_mut(endpoint).tls_mode = TlsMode::Istio;
                }
            }
            builder.add_record(record);
        }
        for workload in self.workloads() {
            let mut workload = workload.clone();
            if is_sidecar(workload.tls_mode, &workload.address) {
                workload.tls_mode = TlsMode::Istio;
            }
            builder.add_workload(workload);
        }
        builder.build()
    }

    /// The workload with this address.
    #[must_use]
    pub fn workload_at(&self, address: &str) -> Option<&Workload> {
        self.inner.workload_at.get(address).and_then(|&index| self.inner.workloads.get(index))
    }
}

/// Collects a [`Registry`]. A service added twice keeps the first definition and the endpoints of both.
#[derive(Debug, Default)]
pub struct RegistryBuilder {
    inner: Inner,
}

impl RegistryBuilder {
    /// Adds a service and its endpoints.
    #[must_use]
    pub fn service(mut self, service: Service, endpoints: Vec<Endpoint>) -> Self {
        self.add(service, endpoints);
        self
    }

    /// Adds a workload. Of two with one address the first is found by address.
    #[must_use]
    pub fn workload(mut self, workload: Workload) -> Self {
        self.add_workload(workload);
        self
    }

    /// As [`RegistryBuilder::service`], in place.
    pub fn add(&mut self, service: Service, endpoints: Vec<Endpoint>) {
        let key = service.key.clone();
        let endpoints = endpoints.into_iter().map(Arc::new);
        if let Some(record) = self.inner.services.get_mut(&key) {
            record.endpoints.extend(endpoints);
            return;
        }
        self.inner.by_host.entry(Arc::clone(&key.hostname)).or_default().push(key.clone());
        let record = ServiceRecord { service: Arc::new(service), endpoints: endpoints.collect() };
        self.inner.services.insert(key, record);
    }

    /// Adds all endpoints of a finished record, sharing them.
    pub(super) fn add_record(&mut self, record: ServiceRecord) {
        let key = record.service.key.clone();
        self.inner.by_host.entry(Arc::clone(&key.hostname)).or_default().push(key.clone());
        self.inner.services.insert(key, record);
    }

    /// As [`RegistryBuilder::workload`], in place.
    pub fn add_workload(&mut self, workload: Workload) {
        if !workload.address.is_empty() {
            self.inner.workload_at.entry(workload.address.clone()).or_insert(self.inner.workloads.len());
        }
        self.inner.workloads.push(workload);
    }

    /// The finished registry.
    #[must_use]
    pub fn build(mut self) -> Registry {
        for keys in self.inner.by_host.values_mut() {
            keys.sort();
        }
        for record in self.inner.services.values_mut() {
            record.endpoints.sort_by(|a, b| {
                (&a.service_port, &a.locality, &a.address, a.port).cmp(&(
                    &b.service_port,
                    &b.locality,
                    &b.address,
                    b.port,
                ))
            });
            record
                .endpoints
                .dedup_by(|a, b| a.service_port == b.service_port && a.address == b.address && a.port == b.port);
        }
        Registry { inner: Arc::new(self.inner) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::{ExportTo, Platform};

    fn entry(host: &str, namespace: &str, export: &[&str]) -> Service {
        let mut service = Service::new(host, namespace);
        service.platform = Platform::ServiceEntry;
        service.export_to = ExportTo::parse(export, namespace);
        service
    }

    #[test]
    fn own_namespace_wins_and_private_is_hidden() {
        let registry = Registry::builder()
            .service(entry("a.com", "x", &["."]), vec![])
            .service(entry("a.com", "y", &[]), vec![])
            .service(entry("a.com", "z", &[]), vec![])
            .build();
        let found = |ns: &str| registry.service_by_host("a.com", ns).map(|r| r.service.namespace().to_owned());
        assert_eq!(found("x").as_deref(), Some("x"));
        assert_eq!(found("z").as_deref(), Some("z"));
        assert_eq!(found("q").as_deref(), Some("y"));
        assert_eq!(registry.service_by_host("b.com", "x").map(|r| r.service.namespace()), None);
    }

    #[test]
    fn connected_sidecars_count_where_nothing_is_said() {
        let with = |tls_mode| Endpoint { tls_mode, ..Endpoint::new("10.0.0.1", 80, "http") };
        for (said, want) in [(TlsMode::Unstated, TlsMode::Istio), (TlsMode::Disabled, TlsMode::Disabled)] {
            let registry = Registry::builder().service(entry("a.com", "x", &[]), vec![with(said)]).build();
            let registry = registry.with_sidecars(&["10.0.0.1".to_owned()].into());
            assert_eq!(registry.services().next().unwrap().endpoints[0].tls_mode, want);
        }
    }

    #[test]
    fn equal_endpoints_are_one() {
        let endpoint = || Endpoint::new("10.0.0.1", 80, "http");
        let registry = Registry::builder()
            .service(entry("a.com", "x", &[]), vec![endpoint()])
            .service(entry("a.com", "x", &[]), vec![endpoint(), Endpoint::new("10.0.0.0", 80, "http")])
            .build();
        let record = registry.services().next().unwrap();
        let addresses: Vec<&str> = record.endpoints_of("http").map(|e| e.address.as_str()).collect();
        assert_eq!(addresses, ["10.0.0.0", "10.0.0.1"]);
    }
}
