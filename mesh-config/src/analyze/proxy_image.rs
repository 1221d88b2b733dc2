//! Pods that run another proxy than the one that is installed (IST0158).

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    workload::{INJECTION, PROXY_CONTAINER, REVISION},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{ConfigMap, Kind, Namespace, Pod},
    path::FieldPath,
};

/// Compares the proxies of pods with the image of their revision's injector.
#[derive(Debug)]
pub(super) struct ProxyImage;

const INJECTOR: &str = "istio-sidecar-injector";
const OWN_IMAGE: &str = "sidecar.istio.io/proxyImage";

impl Analyzer for ProxyImage {
    fn name(&self) -> &'static str {
        "pod.proxy-image"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Namespace]).reads([Kind::Namespace], [Kind::Pod], Link::Namespace).reads(
            [Kind::Namespace],
            [Kind::ConfigMap],
            Link::Named(INJECTOR),
        )
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        let injectors = snapshot.all::<ConfigMap>().filter(|found| found.object.name().starts_with(INJECTOR));
        let images: HashMap<_, _> =
            injectors.filter_map(|found| Some((found.object.name(), image(found.spec)?))).collect();
        if images.is_empty() {
            return;
        }
        let mut outdated: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pod in snapshot.all::<Pod>() {
            let meta = &pod.object.meta;
            let Some(namespace) = snapshot.find::<Namespace>("", pod.object.namespace()) else { continue };
            let labels = &namespace.object.meta.labels;
            let injector = match labels.get(REVISION).map(String::as_str) {
                Some("" | "default") => INJECTOR.to_owned(),
                Some(revision) => format!("{INJECTOR}-{revision}"),
                None if labels.get(INJECTION).is_some_and(|value| value == "enabled") => INJECTOR.to_owned(),
                None => continue,
            };
            let Some(installed) = images.get(injector.as_str()) else { continue };
            if meta.annotations.get(OWN_IMAGE).is_some_and(|image| !image.is_empty()) {
                continue;
            }
            let containers = pod.spec.spec.containers.iter().chain(&pod.spec.spec.init_containers);
            let mut proxies = containers.filter(|container| container.name == PROXY_CONTAINER);
            if proxies.any(|proxy| proxy.image.as_deref().unwrap_or_default() != installed) {
                outdated.entry(pod.object.namespace()).or_default().push(pod.object.name());
            }
        }
        for (name, pods) in outdated {
            if let Some(namespace) = snapshot.find::<Namespace>("", name) {
                let pods = pods.join(", ");
                findings.push(Diagnostic::on(Code::ProxyImageMismatch, namespace.object, FieldPath::root(), &[&pods]));
            }
        }
    }
}

/// The image that an injector puts in.
fn image(injector: &ConfigMap) -> Option<String> {
    let values: Value = serde_json::from_str(injector.data.get("values")?).ok()?;
    let text = |path: &str| values.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let image = text("/global/proxy/image");
    if image.contains('/') {
        return Some(image.to_owned());
    }
    Some(format!("{}/{image}:{}", text("/global/hub"), text("/global/tag")))
}
