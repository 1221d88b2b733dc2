//! Load balancing policies, by `lb_policy` and by extension.

use mesh_xds_api::{
    any::{self, Any},
    envoy::{
        config::cluster::v3::{
            Cluster as ProtoCluster, LoadBalancingPolicy,
            cluster::{
                LbConfig, LbPolicy as ProtoPolicy, MaglevLbConfig, RingHashLbConfig, ring_hash_lb_config::HashFunction,
            },
        },
        extensions::load_balancing_policies::{
            cluster_provided::v3::ClusterProvided,
            common::v3::{LocalityLbConfig, locality_lb_config::LocalityConfigSpecifier},
            least_request::v3::LeastRequest,
            maglev::v3::Maglev,
            random::v3::Random,
            ring_hash::v3::{RingHash, ring_hash::HashFunction as ExtensionHash},
            round_robin::v3::RoundRobin,
            wrr_locality::v3::WrrLocality,
        },
    },
};

use crate::{
    config::{
        error::{At as _, Translated, refuse, refuse_field},
        value::{enumeration, present, unpack},
    },
    model::{ClusterKind, LbPolicy},
    supported,
};

supported! {
    /// Load balancing policies.
    pub(in crate::config) static POLICIES =
    envoy.config.cluster.v3.Cluster.RoundRobinLbConfig {}
    envoy.config.cluster.v3.Cluster.LeastRequestLbConfig {
        carried: choice_count;
    }
    envoy.config.cluster.v3.Cluster.RingHashLbConfig {
        carried: minimum_ring_size, maximum_ring_size;
        limited: hash_function = "XX_HASH";
    }
    envoy.config.cluster.v3.Cluster.MaglevLbConfig {
        carried: table_size;
    }
    envoy.config.cluster.v3.LoadBalancingPolicy {
        carried: policies;
    }
    envoy.config.cluster.v3.LoadBalancingPolicy.Policy {
        carried: typed_extension_config;
    }
    envoy.config.core.v3.TypedExtensionConfig {
        carried: typed_config;
        irrelevant: name = "a label; the type of typed_config says what it is";
    }
    envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig {
        carried: locality_weighted_lb_config;
        irrelevant: zone_aware_lb_config = "needs a local cluster (cluster_manager.local_cluster_name), which is refused";
    }
    envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.LocalityWeightedLbConfig {}
    envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin {
        carried: locality_lb_config;
    }
    envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest {
        carried: choice_count, locality_lb_config;
    }
    envoy.extensions.load_balancing_policies.random.v3.Random {
        carried: locality_lb_config;
    }
    envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash {
        carried: minimum_ring_size, maximum_ring_size, locality_weighted_lb_config;
        limited: hash_function = "XX_HASH, or unset";
    }
    envoy.extensions.load_balancing_policies.maglev.v3.Maglev {
        carried: table_size, locality_weighted_lb_config;
    }
    envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality {
        carried: endpoint_picking_policy;
    }
    envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided {}
}

/// Hosts compared by the least request policy when nothing is said.
const CHOICES: u32 = 2;
const RING_MIN: u64 = 1024;
const RING_MAX: u64 = 8 << 20;
const MAGLEV_SIZE: u64 = 65_537;
const MAGLEV_MAX: u64 = 5_000_011;

/// The policy, and whether it says that localities are picked by weight.
pub(super) fn policy(value: &ProtoCluster, kind: &ClusterKind) -> Translated<(LbPolicy, bool)> {
    let provided = matches!(kind, ClusterKind::OriginalDst { .. });
    let (policy, weighted, field) = match &value.load_balancing_policy {
        Some(list) => {
            let (policy, weighted) = from_list(list, 0).at("load_balancing_policy")?;
            (policy, weighted, "load_balancing_policy")
        }
        None => (from_enum(value, provided)?, false, "lb_policy"),
    };
    if provided != (policy == LbPolicy::ClusterProvided) {
        return refuse_field(field, "CLUSTER_PROVIDED goes with type ORIGINAL_DST, and only with it");
    }
    Ok((policy, weighted))
}

fn from_enum(value: &ProtoCluster, provided: bool) -> Translated<LbPolicy> {
    Ok(match enumeration(value.lb_policy, "lb_policy")? {
        // The default of the enumeration is tolerated with ORIGINAL_DST, as Envoy did for long.
        ProtoPolicy::RoundRobin if provided => LbPolicy::ClusterProvided,
        ProtoPolicy::RoundRobin => LbPolicy::RoundRobin,
        ProtoPolicy::Random => LbPolicy::Random,
        ProtoPolicy::ClusterProvided => LbPolicy::ClusterProvided,
        ProtoPolicy::LeastRequest => match &value.lb_config {
            Some(LbConfig::LeastRequestLbConfig(config)) => {
                least_request(config.choice_count).at("least_request_lb_config")?
            }
            _ => LbPolicy::LeastRequest { choices: CHOICES },
        },
        ProtoPolicy::RingHash => match &value.lb_config {
            Some(LbConfig::RingHashLbConfig(config)) => ring_hash_enum(config).at("ring_hash_lb_config")?,
            _ => LbPolicy::RingHash { min_size: RING_MIN, max_size: RING_MAX },
        },
        ProtoPolicy::Maglev => match &value.lb_config {
            Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size })) => {
                maglev(*table_size).at("maglev_lb_config")?
            }
            _ => maglev(None)?,
        },
        ProtoPolicy::LoadBalancingPolicyConfig => return refuse_field("load_balancing_policy", "is required"),
    })
}

fn ring_hash_enum(config: &RingHashLbConfig) -> Translated<LbPolicy> {
    if enumeration::<HashFunction>(config.hash_function, "hash_function")? != HashFunction::XxHash {
        return refuse_field("hash_function", "only XX_HASH is carried");
    }
    ring_hash(config.minimum_ring_size, config.maximum_ring_size)
}

/// The first policy of the list that is known, as Envoy chooses. Its own fields must be carried.
fn from_list(list: &LoadBalancingPolicy, depth: usize) -> Translated<(LbPolicy, bool)> {
    if depth > 4 {
        return refuse("policies are nested too deeply");
    }
    for (i, policy) in list.policies.iter().enumerate() {
        let Some(config) = policy.typed_extension_config.as_ref().and_then(|c| c.typed_config.as_ref()) else {
            continue;
        };
        let found = from_any(config, depth).at(format_args!("policies[{i}].typed_extension_config.typed_config"))?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    refuse_field("policies", "none of them is carried")
}

fn from_any(config: &Any, depth: usize) -> Translated<Option<(LbPolicy, bool)>> {
    let found = if any::is::<RoundRobin>(config) {
        let policy: RoundRobin = unpack(config)?;
        (LbPolicy::RoundRobin, weighted(policy.locality_lb_config.as_ref()))
    } else if any::is::<LeastRequest>(config) {
        let policy: LeastRequest = unpack(config)?;
        (least_request(policy.choice_count)?, weighted(policy.locality_lb_config.as_ref()))
    } else if any::is::<Random>(config) {
        let policy: Random = unpack(config)?;
        (LbPolicy::Random, weighted(policy.locality_lb_config.as_ref()))
    } else if any::is::<RingHash>(config) {
        let policy: RingHash = unpack(config)?;
        if !matches!(
            enumeration(policy.hash_function, "hash_function")?,
            ExtensionHash::DefaultHash | ExtensionHash::XxHash
        ) {
            return refuse_field("hash_function", "only XX_HASH is carried");
        }
        let ring = ring_hash(policy.minimum_ring_size, policy.maximum_ring_size)?;
        (ring, policy.locality_weighted_lb_config.is_some())
    } else if any::is::<Maglev>(config) {
        let policy: Maglev = unpack(config)?;
        (maglev(policy.table_size)?, policy.locality_weighted_lb_config.is_some())
    } else if any::is::<WrrLocality>(config) {
        let policy: WrrLocality = unpack(config)?;
        let inner = present(policy.endpoint_picking_policy.as_ref(), "endpoint_picking_policy")?;
        let (policy, _) = from_list(inner, depth + 1).at("endpoint_picking_policy")?;
        (policy, true)
    } else if any::is::<ClusterProvided>(config) {
        (LbPolicy::ClusterProvided, false)
    } else {
        return Ok(None);
    };
    Ok(Some(found))
}

fn weighted(config: Option<&LocalityLbConfig>) -> bool {
    let specifier = config.and_then(|config| config.locality_config_specifier.as_ref());
    matches!(specifier, Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)))
}

fn least_request(choices: Option<u32>) -> Translated<LbPolicy> {
    match choices.unwrap_or(CHOICES) {
        choices @ 2.. => Ok(LbPolicy::LeastRequest { choices }),
        _ => refuse_field("choice_count", "must be 2 at least"),
    }
}

fn ring_hash(min: Option<u64>, max: Option<u64>) -> Translated<LbPolicy> {
    let (min_size, max_size) = (min.unwrap_or(RING_MIN), max.unwrap_or(RING_MAX));
    if max_size > RING_MAX {
        return refuse_field("maximum_ring_size", format!("must be {RING_MAX} at most"));
    }
    if min_size > max_size {
        return refuse_field("minimum_ring_size", "must not be above maximum_ring_size");
    }
    Ok(LbPolicy::RingHash { min_size, max_size })
}

fn maglev(size: Option<u64>) -> Translated<LbPolicy> {
    let table_size = size.unwrap_or(MAGLEV_SIZE);
    let prime = table_size > 1 && (2..).take_while(|n| n * n <= table_size).all(|n| !table_size.is_multiple_of(n));
    if table_size > MAGLEV_MAX || !prime {
        return refuse_field("table_size", format!("must be a prime number, {MAGLEV_MAX} at most"));
    }
    Ok(LbPolicy::Maglev { table_size })
}
