use std::time::Instant;

use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::json;

use super::{Registry, Violations, Walker, bytes, compile};
use crate::{descriptor_pool, json as codec};

fn check(yaml: &str) -> Vec<String> {
    let any = codec::any_from_value(&codec::value_from_yaml(yaml).unwrap()).unwrap();
    told(super::any(&any))
}

fn told(result: Result<(), Violations>) -> Vec<String> {
    result.err().into_iter().flatten().map(|v| format!("{} [{}] {}", v.path, v.rule, v.reason)).collect()
}

#[test]
fn every_rule_of_the_api_is_known() {
    let (registry, unknown) = compile::registry(descriptor_pool());
    assert_eq!(unknown, [] as [&str; 0]);
    eprintln!("{} plans", registry.plans.len());
}
#[test]
fn quick() {
    let t = Instant::now();
    let (registry, _) = compile::registry(descriptor_pool());
    eprintln!("compile {:?}, {} plans", t.elapsed(), registry.plans.len());
    eprintln!(
        "{:#?}",
        check(
            "{'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster, load_assignment: {endpoints: [{priority: 200, lb_endpoints: [{endpoint: {address: {socket_address: {address: '', port_value: 70000}}}}]}]}}"
        )
    );
}
