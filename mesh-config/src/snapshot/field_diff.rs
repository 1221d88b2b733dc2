//! Which fields of an object differ between two versions of it, and which hosts an object is about.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host},
    model::{Object, Spec},
    position::push_field,
};

/// The paths of fields that two versions of an object say differently, such as `spec.http[0].timeout`.
///
/// Lists of the same length are compared item by item, others as a whole. Values of Secrets are not looked at.
#[must_use]
pub fn changed_fields(before: &Object, after: &Object) -> Vec<String> {
    let mut found = Vec::new();
    // Both are plain data, so that writing them down cannot fail.
    let value = |object: &Object| {
        let spec = serde_json::to_value(&object.spec).unwrap_or_default();
        let spec = if object.kind().is_strict() { serde_json::json!({ "spec": spec }) } else { spec };
        (serde_json::to_value(&object.meta).unwrap_or_default(), spec)
    };
    let ((old_meta, old), (new_meta, new)) = (value(before), value(after));
    compare("metadata".to_owned(), &old_meta, &new_meta, &mut found);
    compare(String::new(), &old, &new, &mut found);
    found
}

fn compare(path: String, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let mut path = path.clone();
                push_field(&mut path, name);
                compare(path, old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(format!("{path}[{index}]"), old, new, found);
            }
        }
        _ => found.push(path),
    }
}

/// The hosts whose traffic an object is about, in full, in order.
#[must_use]
pub fn affected_hosts(object: &Object) -> Vec<String> {
    let own = |host: &String| full_host(host, object.namespace(), DEFAULT_CLUSTER_DOMAIN);
    let hosts: BTreeSet<String> = match &object.spec {
        Spec::Service(_) => [own(&object.name().to_owned())].into(),
        Spec::ServiceEntry(spec) => spec.hosts.iter().cloned().collect(),
        Spec::VirtualService(spec) => spec.hosts.iter().map(own).collect(),
        Spec::DestinationRule(spec) => [own(&spec.host)].into(),
        Spec::Gateway(spec) => {
            let entries = spec.servers.iter().flat_map(|server| &server.hosts);
            entries.map(|entry| entry.rsplit('/').next().unwrap_or_default().to_owned()).collect()
        }
        Spec::Ingress(spec) => spec.spec.rules.iter().filter_map(|rule| rule.host.clone()).collect(),
        Spec::HttpRoute(spec) => spec.hostnames.iter().cloned().collect(),
        Spec::GrpcRoute(spec) => spec.hostnames.iter().cloned().collect(),
        Spec::TlsRoute(spec) => spec.hostnames.iter().cloned().collect(),
        _ => BTreeSet::new(),
    };
    hosts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn names_fields_and_hosts() {
        let object = |spec: &str| {
            let text = format!(
                "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: a}}, spec: {spec}}}"
            );
            parse("a.yaml", &text).objects.remove(0)
        };
        let before = object("{hosts: [a], http: [{timeout: 1s, redirect: {uri: /}}]}");
        let after = object("{hosts: [a, b.com], http: [{timeout: 2s, redirect: {uri: /}}]}");
        assert_eq!(changed_fields(&before, &after), ["spec.hosts", "spec.http[0].timeout"]);
        assert!(changed_fields(&before, &before).is_empty());
        assert_eq!(affected_hosts(&after), ["a.default.svc.cluster.local", "b.com"]);
    }
}
