//! Istio `ServiceEntry`.

use std::collections::BTreeSet;

use mesh_config::model::{self, Location, Object};

use super::{
    Endpoint, ExportTo, Labels, Notice, Platform, Protocol, Resolution, Service, ServicePort, TargetPort,
    kube::selected, snapshot::Workloads, workload,
};

/// Reads a ServiceEntry: one service per host.
pub(super) fn services(
    object: &Object,
    entry: &model::ServiceEntry,
    workloads: &Workloads,
    notices: &mut Vec<Notice>,
) -> Vec<(Service, Vec<Endpoint>)> {
    let resolution = match entry.resolution {
        model::Resolution::None => Resolution::Passthrough,
        model::Resolution::Static => Resolution::Static,
        model::Resolution::Dns => Resolution::Dns,
        model::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
        model::Resolution::DynamicDns => {
            let message = "DYNAMIC_DNS is not implemented: the entry is left out; use DNS with the hosts named";
            notices.push(Notice::new(object.key(), "spec.resolution", message));
            return Vec::new();
        }
    };
    let ports: Vec<ServicePort> = entry.ports.iter().filter_map(port).collect();
    let service = |host: &String| Service {
        name: host.clone(),
        platform: Platform::ServiceEntry,
        ports: ports.clone(),
        addresses: entry.addresses.clone(),
        resolution,
        mesh_external: entry.location == Location::MeshExternal,
        export_to: ExportTo::parse(&entry.export_to, object.namespace()),
        selector: entry.workload_selector.as_ref().map(|selector| labels(&selector.labels)),
        subject_alt_names: entry.subject_alt_names.iter().cloned().collect::<BTreeSet<_>>(),
        created: object.meta.creation_timestamp.clone().unwrap_or_default(),
        origin: Some(object.key().clone()),
        ..Service::new(host.to_ascii_lowercase(), object.namespace())
    };
    let services = entry.hosts.iter().map(service);
    services.map(|service| (service.clone(), endpoints(&service, object, entry, workloads, notices))).collect()
}

fn labels(map: &std::collections::BTreeMap<String, String>) -> Labels {
    map.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

/// A port whose number is out of range was refused by validation and is left out here.
fn port(port: &model::ServicePort) -> Option<ServicePort> {
    let number = u16::try_from(port.number).ok()?;
    let declared = port.protocol.as_deref().unwrap_or_default();
    let protocol = match Protocol::parse(declared) {
        Protocol::Unsupported => Protocol::select(number, &port.name, None, None),
        known => known,
    };
    let target = port.target_port.and_then(|p| u16::try_from(p).ok()).map_or(TargetPort::Same, TargetPort::Number);
    Some(ServicePort { name: port.name.clone(), number, protocol, target })
}

fn endpoints(
    service: &Service,
    object: &Object,
    entry: &model::ServiceEntry,
    workloads: &Workloads,
    notices: &mut Vec<Notice>,
) -> Vec<Endpoint> {
    if let Some(selector) = &service.selector {
        let pods = workloads.selected_pods(service.namespace(), selector);
        let entries = workloads.selected_entries(service.namespace(), selector);
        return pods.chain(entries).flat_map(|workload| selected(service, workload)).collect();
    }
    if entry.endpoints.is_empty() {
        let by_name = matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
        if !by_name || service.hostname().starts_with('*') {
            return Vec::new();
        }
        return service
            .ports
            .iter()
            .map(|port| {
                let number = if let TargetPort::Number(number) = port.target { number } else { port.number };
                Endpoint::new(service.hostname(), number, &port.name)
            })
            .collect();
    }
    let mut all = Vec::new();
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        let workload = workload::inline(object.name(), object.namespace(), endpoint);
        if workload.address.is_empty() || workload.address.starts_with("unix:") {
            let path = format!("spec.endpoints[{index}].address");
            let message = "Unix sockets and endpoints without an address are not implemented: the endpoint is left out";
            notices.push(Notice::new(object.key(), path, message));
            continue;
        }
        all.extend(selected(service, &workload));
    }
    all
}
