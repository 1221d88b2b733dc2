//! The rules of `ProxyConfig`.

use super::{Findings, rules, selector};
use crate::{
    model::{Object, ProxyConfig},
    path::FieldPath,
};

/// The longest value of an environment variable, in bytes.
const VALUE_LIMIT: usize = 2048;

/// Checks a `ProxyConfig`.
pub(super) fn validate(_: &Object, spec: &ProxyConfig, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    selector::policy_target(spec.selector.as_ref(), None, &[], findings);
    rules::not_negative(root.field("concurrency"), spec.concurrency, findings);
    let variables = root.field("environmentVariables");
    for (name, value) in &spec.environment_variables {
        if name.is_empty() {
            findings.error(variables, "the name of an environment variable must not be empty");
        }
        rules::max_len(variables.field(name), value, VALUE_LIMIT, findings);
    }
}
