//! What is taken and what is refused, kind by kind, in the texts people write.

mod bootstrap;
mod cluster;
mod connection;
mod hcm;
mod listener;
mod tls;

use mesh_xds_api::{any::Any, json};

use super::{Rejection, Translator};

/// A resource of a type, from YAML.
fn resource(type_name: &str, yaml: &str) -> Any {
    let mut value = json::value_from_yaml(yaml).unwrap();
    value["@type"] = format!("type.googleapis.com/{type_name}").into();
    json::any_from_value(&value).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// The path and reason of the first refused field.
fn refused<T>(result: Result<T, Rejection>) -> String {
    match result {
        Ok(_) => "accepted".to_owned(),
        Err(rejection) => rejection.fields[0].to_string(),
    }
}

fn translator() -> Translator {
    Translator::default()
}

#[test]
fn a_rejection_names_type_resource_and_path() {
    let cluster = resource("envoy.config.cluster.v3.Cluster", "{name: c, connect_timeout: 0s, health_checks: [{}]}");
    assert_eq!(
        translator().cluster(&cluster).unwrap_err().to_string(),
        "envoy.config.cluster.v3.Cluster \"c\": health_checks[0]: is not carried"
    );
    assert!(translator().listener(&cluster).is_err());
}
