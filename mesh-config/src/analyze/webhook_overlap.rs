//! Webhooks that put sidecars in twice, or lead nowhere (IST0139).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    workload::{INJECT, INJECTION, REVISION},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, KubeLabelSelector, MutatingWebhookConfiguration, Object, Service, Webhook},
    path::FieldPath,
};

/// Checks Istio's webhooks against each other, and that their services exist.
#[derive(Debug)]
pub(super) struct WebhookOverlap;

type Labels = BTreeMap<String, String>;

/// A webhook, its object, and its place there.
type Found<'a> = (&'a Object, usize, &'a Webhook);

impl Analyzer for WebhookOverlap {
    fn name(&self) -> &'static str {
        "webhook.overlap"
    }

    fn inputs(&self) -> Inputs {
        let webhooks = [Kind::MutatingWebhookConfiguration];
        Inputs::each(webhooks).reads(webhooks, webhooks, Link::All).reads(webhooks, [Kind::Service], Link::Names)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut webhooks: Vec<Found<'_>> = Vec::new();
        let mut revisions = BTreeSet::new();
        for found in context.snapshot().all::<MutatingWebhookConfiguration>() {
            let own = revisions_of(found.object, &found.spec.webhooks);
            let ours = found.spec.webhooks.iter().any(|webhook| webhook.name.ends_with("istio.io"));
            if own.is_empty() && !ours {
                continue;
            }
            let numbered = found.spec.webhooks.iter().enumerate();
            webhooks.extend(numbered.map(|(index, webhook)| (&**found.object, index, webhook)));
            revisions.extend(own);
        }
        overlaps(&webhooks, &revisions, findings);
        for (object, index, webhook) in webhooks {
            let Some(service) = &webhook.client_config.service else { continue };
            if context.snapshot().find::<Service>(&service.namespace, &service.name).is_none() {
                let message = format!(
                    "the webhook's service {}/{} does not exist, so that no sidecar is put in",
                    service.namespace, service.name
                );
                findings.push(finding(object, index, &message));
            }
        }
    }
}

fn fits(selector: Option<&KubeLabelSelector>, labels: &Labels) -> bool {
    selector.is_none_or(|selector| selector.matches(labels))
}

fn finding(object: &Object, index: usize, message: &str) -> Diagnostic {
    let root = FieldPath::root();
    let path = root.field("webhooks");
    Diagnostic::on(Code::InvalidWebhook, object, path.index(index), &[&message])
}

/// The revisions that a configuration is for.
fn revisions_of<'a>(object: &'a Object, webhooks: &'a [Webhook]) -> BTreeSet<&'a str> {
    let selectors =
        webhooks.iter().flat_map(|webhook| [&webhook.namespace_selector, &webhook.object_selector]).flatten();
    let mut found: BTreeSet<&str> = object.meta.labels.get(REVISION).map(String::as_str).into_iter().collect();
    for selector in selectors {
        found.extend(selector.match_labels.get(REVISION).map(String::as_str));
        let expressions = selector.match_expressions.iter().filter(|expression| expression.key == REVISION);
        found.extend(expressions.flat_map(|expression| &expression.values).map(String::as_str));
    }
    found
}

/// Every combination of a label's values with each revision and none.
fn combinations(key: &str, values: [&str; 2], revisions: &BTreeSet<&str>) -> Vec<Labels> {
    let mut all = Vec::new();
    for revision in std::iter::once(None).chain(revisions.iter().map(Some)) {
        for value in [None, Some(values[0]), Some(values[1])] {
            let mut labels = Labels::new();
            labels.extend(value.map(|value| (key.to_owned(), value.to_owned())));
            labels.extend(revision.map(|revision| (REVISION.to_owned(), (*revision).to_owned())));
            all.push(labels);
        }
    }
    all
}

/// Finds combinations of labels for which several webhooks are asked.
fn overlaps(webhooks: &[Found<'_>], revisions: &BTreeSet<&str>, findings: &mut Vec<Diagnostic>) {
    let named = |(object, _, webhook): &Found<'_>| format!("{}/{}", object.name(), webhook.name);
    let mut reported = BTreeSet::new();
    for of_namespace in combinations(INJECTION, ["enabled", "disabled"], revisions) {
        for of_object in combinations(INJECT, ["true", "false"], revisions) {
            let asked: Vec<_> = webhooks
                .iter()
                .filter(|(_, _, one)| {
                    fits(one.namespace_selector.as_ref(), &of_namespace)
                        && fits(one.object_selector.as_ref(), &of_object)
                })
                .collect();
            let names: BTreeSet<_> = asked.iter().map(|found| named(found)).collect();
            if names.len() < 2 {
                continue;
            }
            for found in asked {
                let others: Vec<_> = names.iter().filter(|name| **name != named(found)).cloned().collect();
                let message = format!("the webhook overlaps with {}: sidecars may be put in twice", others.join(", "));
                if reported.insert((named(found), message.clone())) {
                    findings.push(finding(found.0, found.1, &message));
                }
            }
        }
    }
}
