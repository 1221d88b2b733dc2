//! The rules of `BackendTLSPolicy`.

use super::{name, reference};
use crate::{
    model::{
        Object,
        gateway_api::{BackendTlsPolicy, BackendTlsValidation, PolicyTarget, SubjectAltName, SubjectAltNameType},
    },
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks a `BackendTLSPolicy`.
pub(in crate::validate) fn validate(object: &Object, spec: &BackendTlsPolicy, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    targets(root.field("targetRefs"), &spec.target_refs, findings);
    match &spec.validation {
        None => findings.error(root.field("validation"), "validation is required"),
        Some(how) => {
            let given = object.positions.contains("spec.validation.caCertificateRefs");
            validation(root.field("validation"), how, given, findings);
        }
    }
    name::options(root.field("options"), &spec.options, findings);
}

/// Checks the targets: several references to the same one must name different parts of it.
fn targets(path: FieldPath<'_>, list: &[PolicyTarget], findings: &mut Findings<'_>) {
    if list.is_empty() {
        findings.error(path, "at least one target is required");
    }
    rules::max_items(path, list.len(), 16, findings);
    for (index, target) in list.iter().enumerate() {
        let path = path.index(index);
        reference::full(path, target.group.as_deref(), &target.kind, &target.name, findings);
        name::section(path.field("sectionName"), target.section_name.as_deref(), findings);
        let same = |other: &&PolicyTarget| {
            other.group == target.group && other.kind == target.kind && other.name == target.name
        };
        let before: Vec<_> = list[..index].iter().filter(same).collect();
        if before.iter().any(|other| other.section_name.is_some() != target.section_name.is_some()) {
            findings.error(path, "references to the same target must all have a sectionName");
        } else if before.iter().any(|other| other.section_name == target.section_name) {
            findings.error(path, "the same part of this target is referred to twice");
        }
    }
}

/// Checks how certificates are verified; `given` tells whether the list of authorities was written, empty or not.
pub(super) fn validation(path: FieldPath<'_>, how: &BackendTlsValidation, given: bool, findings: &mut Findings<'_>) {
    name::precise_host(path.field("hostname"), &how.hostname, findings);
    let refs = path.field("caCertificateRefs");
    rules::max_items(refs, how.ca_certificate_refs.len(), 8, findings);
    how.ca_certificate_refs
        .iter()
        .enumerate()
        .for_each(|(index, target)| reference::local(refs.index(index), target, findings));
    match (&how.well_known_ca_certificates, how.ca_certificate_refs.is_empty()) {
        (None, true) => findings.error(path, "one of caCertificateRefs and wellKnownCACertificates is required"),
        (Some(_), false) => {
            findings.error(path, "caCertificateRefs and wellKnownCACertificates exclude each other: keep one");
        }
        (Some(_), true) if given => findings.error(refs, "the list must not be empty: leave it out"),
        _ => {}
    }
    let known = |set: &&str| *set == "System" || (set.contains('/') && set.len() <= 253 && name::is_label_key(set));
    if let Some(set) = how.well_known_ca_certificates.as_deref().filter(|set| !known(set)) {
        findings.error(
            path.field("wellKnownCACertificates"),
            format_args!("unknown authorities {set:?}: use System, or an implementation's own DOMAIN/NAME"),
        );
    }
    let names = path.field("subjectAltNames");
    rules::max_items(names, how.subject_alt_names.len(), 5, findings);
    how.subject_alt_names
        .iter()
        .enumerate()
        .for_each(|(index, entry)| alternative(names.index(index), entry, findings));
}

fn alternative(path: FieldPath<'_>, entry: &SubjectAltName, findings: &mut Findings<'_>) {
    if entry.name_type.is_none() {
        findings.error(path.field("type"), "the type is required: Hostname or URI");
    }
    for (field, given, wanted) in [
        ("hostname", entry.hostname.is_some(), SubjectAltNameType::Hostname),
        ("uri", entry.uri.is_some(), SubjectAltNameType::Uri),
    ] {
        match (given, entry.name_type == Some(wanted)) {
            (true, false) => findings.error(path.field(field), format_args!("{field} does not belong to the type")),
            (false, true) => findings.error(path, format_args!("{field} is required for the type")),
            _ => {}
        }
    }
    if let Some(host) = &entry.hostname {
        name::host(path.field("hostname"), host, findings);
    }
    if let Some(uri) = entry.uri.as_deref() {
        let scheme = uri.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
        let rest = uri.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        if uri.len() > 253 || scheme.is_empty() || scheme.contains(['/', '?', '#']) || rest.is_none() {
            findings.error(path.field("uri"), format_args!("invalid URI {uri:?}: write SCHEME://AUTHORITY/PATH"));
        }
    }
}
