//! Kubernetes `Service` and `EndpointSlice`.

use mesh_config::{
    Snapshot,
    model::{self, EndpointConditions, IntOrString, KubeServicePort, Object, SliceEndpoint},
};

use super::{
    Endpoint, ExportTo, Health, Labels, Notice, Platform, Protocol, RegistryOptions, Resolution, Service, ServicePort,
    TargetPort, TlsMode, Workload, snapshot::Workloads, workload::tls_mode,
};

const ACCOUNTS: &str = "alpha.istio.io/kubernetes-serviceaccounts";

/// Reads a Service; its endpoints are read apart.
pub(super) fn service(
    object: &Object,
    spec: &model::Service,
    options: &RegistryOptions,
    notices: &mut Vec<Notice>,
) -> Service {
    let (name, namespace) = (object.name(), object.namespace());
    let spec = &spec.spec;
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let alias = spec.service_type.as_deref() == Some("ExternalName");
    let annotation = |key: &str| {
        let list = object.meta.annotations.get(key).map(String::as_str).unwrap_or_default();
        list.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut addresses: Vec<String> = spec.cluster_ips.iter().chain(&spec.cluster_ip).cloned().collect();
    addresses.retain(|address| !address.is_empty() && address != "None");
    addresses.dedup();
    let ports = spec.ports.iter().enumerate();
    Service {
        name: name.to_owned(),
        platform: Platform::Kubernetes,
        ports: ports.filter_map(|(index, p)| port(object, index, p, notices)).collect(),
        addresses,
        resolution: match (alias, headless) {
            (true, _) => Resolution::Dns,
            (false, true) => Resolution::Passthrough,
            (false, false) => Resolution::Static,
        },
        mesh_external: alias,
        export_to: ExportTo::parse(&annotation("networking.istio.io/exportTo"), namespace),
        selector: (!spec.selector.is_empty())
            .then(|| spec.selector.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()),
        subject_alt_names: annotation(ACCOUNTS)
            .iter()
            .map(|account| format!("spiffe://{}/ns/{namespace}/sa/{account}", options.trust_domain))
            .collect(),
        created: object.meta.creation_timestamp.clone().unwrap_or_default(),
        origin: Some(object.key().clone()),
        ..Service::new(format!("{name}.{namespace}.svc.{}", options.cluster_domain), namespace)
    }
}

fn port(object: &Object, index: usize, port: &KubeServicePort, notices: &mut Vec<Notice>) -> Option<ServicePort> {
    let name = port.name.clone().unwrap_or_default();
    let protocol = Protocol::select(port.port, &name, port.app_protocol.as_deref(), port.protocol.as_deref());
    if protocol == Protocol::Udp {
        let path = format!("spec.ports[{index}].protocol");
        notices.push(Notice::new(object.key(), path, "UDP is not carried by the mesh: the port is left out"));
        return None;
    }
    let target = match &port.target_port {
        None => TargetPort::Same,
        // A number that is no port is refused by validation; here it means the service's own.
        Some(IntOrString::Int(number)) => u16::try_from(*number).map_or(TargetPort::Same, TargetPort::Number),
        Some(IntOrString::Text(text)) => match text.parse() {
            Ok(number) => TargetPort::Number(number),
            Err(_) => TargetPort::Name(text.clone()),
        },
    };
    Some(ServicePort { name, number: port.port, protocol, target })
}

/// All endpoints of a Service.
pub(super) fn endpoints(
    service: &Service,
    object: &Object,
    snapshot: &Snapshot,
    workloads: &Workloads,
    notices: &mut Vec<Notice>,
) -> Vec<Endpoint> {
    if let Some(model::Service { spec }) = object.spec_as()
        && spec.service_type.as_deref() == Some("ExternalName")
    {
        let name = spec.external_name.clone().unwrap_or_default();
        return service.ports.iter().map(|port| Endpoint::new(name.clone(), port.number, &port.name)).collect();
    }
    let slices = snapshot.all_in::<model::EndpointSlice>(object.namespace());
    let slices = slices.filter(|slice| {
        slice.object.meta.labels.get("kubernetes.io/service-name").map(String::as_str) == Some(object.name())
    });
    let mut all = Vec::new();
    let mut has_slice = false;
    for slice in slices {
        has_slice = true;
        slice_endpoints(service, slice.object, slice.spec, workloads, notices, &mut all);
    }
    let Some(selector) = &service.selector else { return all };
    if !has_slice {
        let pods = workloads.selected_pods(service.namespace(), selector);
        all.extend(pods.flat_map(|pod| selected(service, pod)));
    }
    let entries = workloads.selected_entries(service.namespace(), selector);
    all.extend(entries.flat_map(|entry| selected(service, entry)));
    all
}

/// One endpoint per port of `service` that `workload` has.
pub(super) fn selected(service: &Service, workload: &Workload) -> Vec<Endpoint> {
    let endpoint = |port: &ServicePort| Some(workload.endpoint(target_port(port, workload)?, &port.name));
    service.ports.iter().filter_map(endpoint).collect()
}

/// Where on `workload` the service port leads; `None` if it has no port of the wanted name.
///
/// As in Istio a WorkloadEntry's `ports` may map the service port's own name.
fn target_port(port: &ServicePort, workload: &Workload) -> Option<u16> {
    match &port.target {
        TargetPort::Name(name) => workload.ports.get(name).or_else(|| workload.ports.get(&port.name)).copied(),
        TargetPort::Number(number) => Some(workload.ports.get(&port.name).copied().unwrap_or(*number)),
        TargetPort::Same => Some(workload.ports.get(&port.name).copied().unwrap_or(port.number)),
    }
}

fn slice_endpoints(
    service: &Service,
    object: &Object,
    slice: &model::EndpointSlice,
    workloads: &Workloads,
    notices: &mut Vec<Notice>,
    all: &mut Vec<Endpoint>,
) {
    let only = slice.ports.len() == 1 && service.ports.len() == 1;
    for (index, port) in slice.ports.iter().enumerate() {
        let name = port.name.clone().unwrap_or_default();
        let by_name = service.ports.iter().find(|p| p.name == name);
        // With one port on either side there is no doubt which is meant, named or not.
        let Some(service_port) = by_name.or_else(|| service.ports.first().filter(|_| only)) else {
            let message =
                format!("no port of {} is called {name:?}: the endpoints of this port are not used", service.key);
            notices.push(Notice::new(object.key(), format!("ports[{index}].name"), message));
            continue;
        };
        let Some(number) = port.port else {
            let message = "a port without a number is not used";
            notices.push(Notice::new(object.key(), format!("ports[{index}].port"), message));
            continue;
        };
        all.extend(
            slice.endpoints.iter().filter_map(|e| slice_endpoint(object, e, number, &service_port.name, workloads)),
        );
    }
}

fn slice_endpoint(
    slice: &Object,
    endpoint: &SliceEndpoint,
    port: u16,
    service_port: &str,
    workloads: &Workloads,
) -> Option<Endpoint> {
    // All addresses of one endpoint are the same workload: the first stands for it.
    let address = endpoint.addresses.first()?;
    let known = target(slice, endpoint, workloads).or_else(|| workloads.at(address));
    let mut found = match known {
        Some(workload) => workload.endpoint(port, service_port),
        None => anonymous(slice, port, service_port),
    };
    found.address.clone_from(address);
    found.health = health(endpoint.conditions);
    if let Some(zone) = &endpoint.zone
        && found.locality.zone.is_empty()
    {
        found.locality.zone.clone_from(zone);
    }
    Some(found)
}

fn target<'a>(slice: &Object, endpoint: &SliceEndpoint, workloads: &'a Workloads) -> Option<&'a Workload> {
    let reference = endpoint.target_ref.as_ref()?;
    let namespace = reference.namespace.as_deref().unwrap_or(slice.namespace());
    let name = reference.name.as_deref()?;
    match reference.kind.as_deref() {
        None | Some("Pod") => workloads.pod(namespace, name),
        Some("WorkloadEntry") => workloads.entry(namespace, name),
        Some(_) => None,
    }
}

/// An endpoint of which only the slice knows.
fn anonymous(slice: &Object, port: u16, service_port: &str) -> Endpoint {
    let own = slice
        .meta
        .labels
        .iter()
        .filter(|(key, _)| !key.starts_with("kubernetes.io/") && !key.starts_with("endpointslice.kubernetes.io/"));
    let labels: Labels = own.map(|(k, v)| (k.as_str(), v.as_str())).collect();
    Endpoint {
        tls_mode: labels.value("security.istio.io/tlsMode").map_or(TlsMode::Unstated, tls_mode),
        namespace: slice.namespace().to_owned(),
        service_account: slice.meta.annotations.get(ACCOUNTS).cloned().unwrap_or_default(),
        labels,
        ..Endpoint::new("", port, service_port)
    }
}

fn health(conditions: EndpointConditions) -> Health {
    let serving = conditions.serving.unwrap_or(conditions.ready.unwrap_or(true));
    match (conditions.ready.unwrap_or(true), conditions.terminating.unwrap_or(false)) {
        (true, false) => Health::Healthy,
        (_, true) if serving => Health::Draining,
        _ => Health::Unhealthy,
    }
}
