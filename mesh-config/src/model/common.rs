//! Small types that several kinds share.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

/// A share in percent, 0 to 100. Source: `istio.networking.v1.Percent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Percent {
    /// The share in percent; fractions down to 0.0001 count.
    pub value: f64,
}

/// A port of a service by its number. Source: `istio.networking.v1.PortSelector`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PortSelector {
    /// The port number, 1 to 65535.
    pub number: u32,
}

/// The role of a workload in traffic. Source: `istio.type.v1beta1.WorkloadMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadMode {
    /// Both.
    Undefined,
    /// It calls.
    Client,
    /// It is called.
    Server,
    /// Both.
    ClientAndServer,
}

/// Where traffic goes. Source: `istio.networking.v1.Destination`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Destination {
    /// The name of a service in the registry; a short name is completed with the namespace of the object.
    pub host: String,
    /// The name of a subset of the service's DestinationRule.
    pub subset: Option<String>,
    /// The service's port; needed when the service has more than one.
    pub port: Option<PortSelector>,
}

/// Workloads by their labels, as the networking kinds write it. Source: `istio.networking.v1.WorkloadSelector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WorkloadSelector {
    /// Labels that the workload must carry, all of them.
    pub labels: BTreeMap<String, String>,
}

/// Workloads by their labels, as the security kinds write it. Source: `istio.type.v1beta1.WorkloadSelector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that the workload must carry, all of them.
    pub match_labels: BTreeMap<String, String>,
}

/// Objects by their labels, as Kubernetes writes it. Source: Kubernetes `LabelSelector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KubeLabelSelector {
    /// Labels that the object must carry, all of them.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions, all of which must hold.
    pub match_expressions: Vec<LabelExpression>,
}

/// A condition on a label. Source: Kubernetes `LabelSelectorRequirement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LabelExpression {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values of `In` and `NotIn`.
    pub values: Vec<String>,
}

impl KubeLabelSelector {
    /// Whether labels fit. An empty selector selects everything; an unknown operator nothing.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        labels_match(&self.match_labels, labels)
            && self.match_expressions.iter().all(|condition| {
                let value = labels.get(&condition.key);
                match condition.operator.as_str() {
                    "In" => value.is_some_and(|value| condition.values.contains(value)),
                    "NotIn" => value.is_none_or(|value| !condition.values.contains(value)),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

/// A resource that a policy is bound to. Source: `istio.type.v1beta1.PolicyTargetReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PolicyTargetReference {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, such as `Gateway` or `Service`.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// The object's namespace; only that of the policy itself is accepted.
    pub namespace: Option<String>,
}

/// Whether `labels` carry all of `wanted`. An empty `wanted` selects everything.
#[must_use]
pub fn labels_match(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A port by number or by name. Source: Kubernetes `IntOrString`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IntOrString {
    /// The number.
    Int(i64),
    /// The name.
    Text(String),
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

struct IntOrStringVisitor;

impl Visitor<'_> for IntOrStringVisitor {
    type Value = IntOrString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a name")
    }

    fn visit_i64<E>(self, value: i64) -> Result<IntOrString, E> {
        Ok(IntOrString::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<IntOrString, E> {
        i64::try_from(value).map(IntOrString::Int).map_err(E::custom)
    }

    fn visit_str<E>(self, value: &str) -> Result<IntOrString, E> {
        Ok(IntOrString::Text(value.to_owned()))
    }
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntOrStringVisitor)
    }
}

impl Serialize for IntOrString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}
