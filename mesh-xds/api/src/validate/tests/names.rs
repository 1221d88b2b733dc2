//! That no rule of the API is overlooked.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, Value};

use super::compile;
use crate::{
    descriptor_pool,
    validate::{
        check::Checks,
        plan::{Element, Plan, Shape},
    },
};

/// They change what others mean.
const MODIFIERS: &[&str] = &["ignore_empty", "skip", "strict"];

/// The names of all rules that a `FieldRules` states, down to elements, keys and values.
fn stated(rules: &DynamicMessage, prefix: &str, names: &mut BTreeSet<String>) {
    for (field, value) in rules.fields() {
        let name = format!("{prefix}{}", field.name());
        let group = field.kind().as_message().is_some_and(|m| m.full_name().starts_with("validate."));
        match value {
            Value::Message(inner) if group => stated(inner, &format!("{name}."), names),
            Value::Bool(false) => {}
            _ if MODIFIERS.contains(&field.name()) => {}
            _ => {
                names.insert(name);
            }
        }
    }
}

fn compiled(plan: &Plan, names: &mut BTreeSet<String>) {
    let mut add = |checks: &Checks| names.extend(checks.list.iter().map(|c| c.rule.name.clone()));
    let mut element = |element: &Element| match element {
        Element::Scalar(_, checks) | Element::Wrapper(_, checks) | Element::Time(checks) | Element::Any(checks) => {
            add(checks);
        }
        Element::Message(_) => {}
    };
    let mut others = Vec::new();
    for field in &plan.fields {
        match &field.shape {
            Shape::One(one) => {
                element(&one.element);
                others.extend(&one.required);
            }
            Shape::List(list) => {
                element(&list.element);
                others.extend(&list.unique);
            }
            Shape::Map(map) => {
                element(&map.value);
                others.extend(&map.no_sparse);
            }
        }
    }
    for field in &plan.fields {
        match &field.shape {
            Shape::One(_) => {}
            Shape::List(list) => add(&list.size),
            Shape::Map(map) => [&map.size, &map.keys].into_iter().for_each(&mut add),
        }
    }
    names.extend(others.into_iter().map(|r| r.name.clone()));
}

#[test]
fn every_rule_of_the_api_is_enforced() {
    let pool = descriptor_pool();
    let rules = pool.get_extension_by_name("validate.rules").unwrap();
    let mut wanted = BTreeSet::new();
    let messages = || pool.all_messages().filter(|m| !m.is_map_entry());
    for options in messages().flat_map(|m| m.fields().map(|f| f.options()).collect::<Vec<_>>()) {
        if options.has_extension(&rules) {
            stated(options.get_extension(&rules).as_message().unwrap(), "", &mut wanted);
        }
    }
    let (registry, unknown) = compile::registry(pool);
    assert_eq!(unknown, [] as [&str; 0]);
    let mut found = BTreeSet::new();
    registry.plans.iter().for_each(|p| compiled(p, &mut found));
    assert_eq!(found, wanted);
    assert!(wanted.len() > 40, "{wanted:?}");
    let required = registry.plans.iter().flat_map(|p| &p.oneofs).filter(|o| o.required.is_some()).count();
    assert_eq!(required, 98);
}

#[test]
fn only_types_in_which_a_rule_can_apply_have_a_plan() {
    let (registry, _) = compile::registry(descriptor_pool());
    for (name, active) in [
        ("envoy.config.cluster.v3.Cluster", true),
        // States no rule, but leads to one.
        ("envoy.config.rbac.v3.Permission.Set", true),
        ("envoy.config.core.v3.Locality", false),
        ("google.protobuf.Struct", false),
        ("google.protobuf.Duration", false),
    ] {
        assert_eq!(registry.by_name(name).is_some(), active, "{name}");
    }
    let total = descriptor_pool().all_messages().filter(|m| !m.is_map_entry()).count();
    assert!(registry.plans.len() < total * 3 / 4, "{} of {total}", registry.plans.len());
}
