//! Role based access control. Source: `envoy/config/rbac/v3/rbac.proto` and the two filters' protos.

mod engine;
mod metadata;
pub(super) mod parse;

use std::{any::Any, borrow::Cow, sync::Arc};

use ::http::StatusCode;
use engine::{Action, Rules, Subject};
use mesh_xds_api::any::Any as ProtoAny;
use serde_json::{Map, Value};

use crate::{
    filter::{
        ConnectionInfo, FactoryError, FilterContext, Flow, HttpFilter, HttpFilterFactory, HttpStream, LocalReply,
        NetworkFilter, NetworkFilterFactory, NetworkFlow,
    },
    stats::{Counter, Stats},
};

/// Namespace of the dynamic metadata that the HTTP filter sets: results of shadow rules.
const METADATA: &str = "envoy.filters.http.rbac";

/// Makes the HTTP filter `envoy.filters.http.rbac`.
///
/// A request that the rules refuse gets 403 `RBAC: access denied` with the details
/// `rbac_access_denied_matched_policy[NAME]`, where NAME is the policy that denied it or `none`. Shadow rules decide nothing:
/// they are counted and leave their result in dynamic metadata. Rules with the action `LOG` leave a hint for access logs
/// there (`envoy.common`: `access_log_hint`).
///
/// Statistics: `http.PREFIX.rbac.allowed`, `denied`, `shadow_allowed`, `shadow_denied`, `logged`, `not_logged`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rbac;

/// Makes the network filter `envoy.filters.network.rbac`.
///
/// It decides once, when the connection is set up; what it refuses is closed. Conditions on headers see none.
/// Statistics: `PREFIX.rbac.allowed` and so on, with the filter's own `stat_prefix`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkRbac;

impl HttpFilterFactory for Rbac {
    fn type_urls(&self) -> &[&'static str] {
        &[
            "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
        ]
    }

    fn filter(&self, config: &ProtoAny, context: &FilterContext<'_>) -> Result<Arc<dyn HttpFilter>, FactoryError> {
        let config = parse::http(config)?;
        let prefix = format!("{}rbac.", context.stat_prefix);
        let counters = Counters::new(context.stats, &prefix, &config.stat_prefix, &config.shadow_stat_prefix);
        Ok(Arc::new(HttpRbac { config, counters }))
    }

    fn route_config(&self, config: &ProtoAny) -> Result<Arc<dyn Any + Send + Sync>, FactoryError> {
        Ok(Arc::new(parse::per_route(config)?))
    }
}

impl NetworkFilterFactory for NetworkRbac {
    fn type_urls(&self) -> &[&'static str] {
        &["type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"]
    }

    fn filter(&self, config: &ProtoAny, context: &FilterContext<'_>) -> Result<Arc<dyn NetworkFilter>, FactoryError> {
        let config = parse::network(config)?;
        let prefix = format!("{}{}rbac.", context.stat_prefix, dotted(&config.stat_prefix));
        let counters = Counters::new(context.stats, &prefix, "", &config.shadow_stat_prefix);
        Ok(Arc::new(ConnectionRbac { config, counters }))
    }
}

/// What a filter, or a route, asks for.
#[derive(Debug, Default)]
struct Config {
    rules: Option<Rules>,
    shadow: Option<Rules>,
    stat_prefix: String,
    shadow_stat_prefix: String,
}

#[derive(Debug)]
struct Counters {
    allowed: Counter,
    denied: Counter,
    shadow_allowed: Counter,
    shadow_denied: Counter,
    logged: Counter,
    not_logged: Counter,
}

impl Counters {
    fn new(stats: &Stats, prefix: &str, rules: &str, shadow: &str) -> Self {
        let enforced = |name: &str| stats.counter(&format!("{prefix}{}{name}", dotted(rules)));
        let shadowed = |name: &str| stats.counter(&format!("{prefix}{}{name}", dotted(shadow)));
        Self {
            allowed: enforced("allowed"),
            denied: enforced("denied"),
            shadow_allowed: shadowed("shadow_allowed"),
            shadow_denied: shadowed("shadow_denied"),
            logged: enforced("logged"),
            not_logged: enforced("not_logged"),
        }
    }

    /// Counts, and tells whether `subject` may pass, with the name of the policy that matched.
    fn enforce<'r>(&self, rules: &'r Rules, subject: &Subject<'_>) -> (bool, Option<&'r str>) {
        let verdict = rules.decide(subject);
        if rules.action == Action::Log {
            if verdict.1.is_some() { self.logged.inc() } else { self.not_logged.inc() }
        }
        if verdict.0 {
            self.allowed.inc()
        } else {
            self.denied.inc()
        }
        verdict
    }
}

/// `prefix` with the dot that ends it, or nothing.
fn dotted(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        prefix if prefix.ends_with('.') => prefix.to_owned(),
        prefix => format!("{prefix}."),
    }
}

/// Envoy's details of a refusal.
fn details(policy: Option<&str>) -> Cow<'static, str> {
    match policy {
        None => "rbac_access_denied_matched_policy[none]".into(),
        Some(name) => format!("rbac_access_denied_matched_policy[{}]", name.replace(' ', "_")).into(),
    }
}

struct HttpRbac {
    config: Config,
    counters: Counters,
}

impl HttpFilter for HttpRbac {
    fn on_request(&self, stream: &mut HttpStream<'_>) -> Flow {
        let mut notes = Vec::new();
        let reply = {
            let config = stream.route_config::<Config>().unwrap_or(&self.config);
            let subject = Subject {
                connection: &stream.info.connection,
                client: stream.info.client,
                request: stream.header_view(),
                metadata: stream.info.dynamic_metadata.as_deref(),
            };
            if let Some(shadow) = &config.shadow {
                self.shadow(config, shadow, &subject, &mut notes);
            }
            match config.rules.as_ref().map(|rules| (rules, self.counters.enforce(rules, &subject))) {
                Some((rules, (allowed, policy))) => {
                    if rules.action == Action::Log {
                        notes.push(("envoy.common", "access_log_hint".to_owned(), policy.is_some().into()));
                    }
                    (!allowed).then(|| details(policy))
                }
                None => None,
            }
        };
        for (namespace, key, value) in notes {
            note(stream, namespace, key, value);
        }
        match reply {
            None => Flow::Continue,
            Some(details) => {
                Flow::Respond(Box::new(LocalReply::new(StatusCode::FORBIDDEN, details, "RBAC: access denied")))
            }
        }
    }
}

impl HttpRbac {
    fn shadow(&self, config: &Config, rules: &Rules, subject: &Subject<'_>, notes: &mut Vec<Note>) {
        let (allowed, policy) = rules.decide(subject);
        if allowed {
            self.counters.shadow_allowed.inc()
        } else {
            self.counters.shadow_denied.inc()
        }
        let key = |name: &str| format!("{}{name}", config.shadow_stat_prefix);
        let result = if allowed { "allowed" } else { "denied" };
        notes.push((METADATA, key("shadow_engine_result"), result.into()));
        if let Some(policy) = policy {
            notes.push((METADATA, key("shadow_effective_policy_id"), policy.into()));
        }
    }
}

/// Namespace, key and value of dynamic metadata to set.
type Note = (&'static str, String, Value);

fn note(stream: &mut HttpStream<'_>, namespace: &str, key: String, value: Value) {
    let all = stream.info.dynamic_metadata.get_or_insert_default();
    let entry = all.entry(namespace).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(fields) = entry {
        fields.insert(key, value);
    }
}

struct ConnectionRbac {
    config: Config,
    counters: Counters,
}

impl NetworkFilter for ConnectionRbac {
    fn on_connection(&self, connection: &ConnectionInfo) -> NetworkFlow {
        let subject = Subject::of_connection(connection);
        if let Some(shadow) = &self.config.shadow {
            let (allowed, _) = shadow.decide(&subject);
            if allowed { self.counters.shadow_allowed.inc() } else { self.counters.shadow_denied.inc() }
        }
        match self.config.rules.as_ref().map(|rules| self.counters.enforce(rules, &subject)) {
            Some((false, policy)) => NetworkFlow::Close(details(policy)),
            _ => NetworkFlow::Continue,
        }
    }
}

#[cfg(test)]
mod tests;
