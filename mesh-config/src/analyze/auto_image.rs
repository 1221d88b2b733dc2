//! Proxies with the image `auto`, which a webhook is to replace (IST0146, IST0147).

use super::{AnalysisContext, Analyzer, Inputs, Link, workload::PROXY_CONTAINER};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Deployment, Kind, KubeLabelSelector, MutatingWebhookConfiguration, Namespace, Pod, PodSpec},
    path::FieldPath,
};

/// Finds placeholders for images that nobody replaces.
#[derive(Debug)]
pub(super) struct AutoImage;

impl Analyzer for AutoImage {
    fn name(&self) -> &'static str {
        "pod.auto-image"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Pod, Kind::Deployment])
            .reads([Kind::Deployment], [Kind::MutatingWebhookConfiguration], Link::All)
            .reads([Kind::Deployment], [Kind::Namespace], Link::Namespace)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        for pod in snapshot.all::<Pod>().filter(|pod| waits(&pod.spec.spec)) {
            let args: [&dyn std::fmt::Display; 2] = [&"Pod", &pod.object.name()];
            findings.push(Diagnostic::on(Code::AutoImage, pod.object, FieldPath::root(), &args));
        }
        let webhooks: Vec<_> = snapshot
            .all::<MutatingWebhookConfiguration>()
            .flat_map(|found| &found.spec.webhooks)
            .filter(|webhook| webhook.name.ends_with("istio.io"))
            .collect();
        for found in snapshot.all::<Deployment>().filter(|found| waits(&found.spec.spec.template.spec)) {
            let namespace = snapshot.find::<Namespace>("", found.object.namespace());
            let of_namespace = namespace.map(|namespace| namespace.object.meta.labels.clone()).unwrap_or_default();
            let of_pod = &found.spec.spec.template.metadata.labels;
            let fits = |selector: &Option<KubeLabelSelector>, labels| {
                selector.as_ref().is_none_or(|selector| selector.matches(labels))
            };
            let replaced = webhooks
                .iter()
                .any(|one| fits(&one.namespace_selector, &of_namespace) && fits(&one.object_selector, of_pod));
            if !replaced {
                let args: [&dyn std::fmt::Display; 2] = [&"Deployment", &found.object.name()];
                findings.push(Diagnostic::on(Code::AutoImageNotInjected, found.object, FieldPath::root(), &args));
            }
        }
    }
}

fn waits(spec: &PodSpec) -> bool {
    spec.containers.iter().any(|one| one.name == PROXY_CONTAINER && one.image.as_deref() == Some("auto"))
}
