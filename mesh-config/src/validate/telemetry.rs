//! The rules of `Telemetry`.

use super::{Findings, rules, selector};
use crate::{
    model::{
        AccessLogging, CustomTag, Metrics, MetricsOverride, Object, ProviderRef, TagOperation, Telemetry, Tracing,
        WorkloadMode,
    },
    path::FieldPath,
};

/// Checks a `Telemetry`.
pub(super) fn validate(_: &Object, spec: &Telemetry, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    selector::policy_target(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, findings);
    let path = root.field("tracing");
    if spec.tracing.len() > 1 {
        findings.warning(path, "only the first tracing has an effect");
    }
    spec.tracing.iter().enumerate().for_each(|(index, entry)| tracing(path.index(index), entry, findings));
    let path = root.field("metrics");
    spec.metrics.iter().enumerate().for_each(|(index, entry)| metrics(path.index(index), entry, findings));
    let path = root.field("accessLogging");
    spec.access_logging.iter().enumerate().for_each(|(index, entry)| logging(path.index(index), entry, findings));
}

fn providers(path: FieldPath<'_>, list: &[ProviderRef], findings: &mut Findings<'_>) {
    let path = path.field("providers");
    for (index, _) in list.iter().enumerate().filter(|(_, provider)| provider.name.is_empty()) {
        let path = path.index(index);
        findings.error(path.field("name"), "the name of the provider is required");
    }
}

/// The schema has no `UNDEFINED` here.
fn mode(path: FieldPath<'_>, mode: Option<WorkloadMode>, findings: &mut Findings<'_>) {
    if mode == Some(WorkloadMode::Undefined) {
        let path = path.field("match");
        findings.error(path.field("mode"), "unknown value \"UNDEFINED\"");
        findings.help("the values are: CLIENT_AND_SERVER, CLIENT, SERVER");
    }
}

fn tracing(path: FieldPath<'_>, tracing: &Tracing, findings: &mut Findings<'_>) {
    providers(path, &tracing.providers, findings);
    mode(path, tracing.matches.as_ref().and_then(|matches| matches.mode), findings);
    if tracing.providers.len() > 1 {
        findings.warning(path.field("providers"), "only the first provider has an effect");
    }
    if let Some(share) = tracing.random_sampling_percentage.filter(|share| !(0.0..=100.0).contains(share)) {
        let path = path.field("randomSamplingPercentage");
        findings.error(path, format_args!("{share} must be between 0 and 100 percent"));
    }
    let tags = path.field("customTags");
    for (name, tag) in &tracing.custom_tags {
        if name.is_empty() {
            findings.error(tags, "the name of a tag must not be empty");
        }
        custom_tag(tags.field(name), tag, findings);
    }
}

fn custom_tag(path: FieldPath<'_>, tag: &CustomTag, findings: &mut Findings<'_>) {
    let given = [
        ("literal", "value", tag.literal.as_ref().map(|literal| &literal.value)),
        ("environment", "name", tag.environment.as_ref().map(|source| &source.name)),
        ("header", "name", tag.header.as_ref().map(|source| &source.name)),
        ("formatter", "value", tag.formatter.as_ref().map(|format| &format.value)),
    ];
    match given.iter().filter(|(_, _, text)| text.is_some()).count() {
        0 => findings.error(path, "one of literal, environment, header and formatter is required"),
        1 => {}
        _ => findings.error(path, "literal, environment, header and formatter exclude each other: keep one"),
    }
    for (source, field, _) in given.iter().filter(|(_, _, text)| text.is_some_and(String::is_empty)) {
        let path = path.field(source);
        findings.error(path.field(field), format_args!("the {field} must not be empty"));
    }
}

fn metrics(path: FieldPath<'_>, metrics: &Metrics, findings: &mut Findings<'_>) {
    providers(path, &metrics.providers, findings);
    rules::duration(path.field("reportingInterval"), metrics.reporting_interval, findings);
    let overrides = path.field("overrides");
    for (index, entry) in metrics.overrides.iter().enumerate() {
        metrics_override(overrides.index(index), entry, findings);
    }
}

fn metrics_override(path: FieldPath<'_>, entry: &MetricsOverride, findings: &mut Findings<'_>) {
    if let Some(selector) = &entry.matches {
        mode(path, selector.mode, findings);
        let path = path.field("match");
        if selector.custom_metric.as_deref() == Some("") {
            findings.error(path.field("customMetric"), "the name of the metric must not be empty");
        }
        if selector.custom_metric.is_some() && selector.metric.is_some() {
            findings.error(path, "metric and customMetric exclude each other: keep one");
        }
    }
    let tags = path.field("tagOverrides");
    for (name, tag) in &entry.tag_overrides {
        if name.is_empty() {
            findings.error(tags, "the name of a tag must not be empty");
        }
        let path = tags.field(name);
        let value = tag.value.as_deref().filter(|value| !value.is_empty());
        match tag.operation.unwrap_or(TagOperation::Upsert) {
            TagOperation::Upsert if value.is_none() => findings.error(path, "the value is required for UPSERT"),
            TagOperation::Remove if tag.value.is_some() => {
                findings.error(path.field("value"), "a tag that is removed takes no value");
            }
            _ => {}
        }
    }
}

fn logging(path: FieldPath<'_>, logging: &AccessLogging, findings: &mut Findings<'_>) {
    providers(path, &logging.providers, findings);
    mode(path, logging.matches.as_ref().and_then(|matches| matches.mode), findings);
    if let Some(filter) = &logging.filter {
        let path = path.field("filter");
        if let Err(fault) = crate::cel::check(&filter.expression) {
            findings.error(path.field("expression"), format_args!("invalid CEL expression: {fault}"));
        }
    }
}
