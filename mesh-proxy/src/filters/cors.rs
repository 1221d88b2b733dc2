//! Cross-origin resource sharing. Source: `envoy/extensions/filters/http/cors/v3/cors.proto` and the Fetch standard.

use std::{any::Any, sync::Arc};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use mesh_xds_api::{
    any::Any as ProtoAny,
    envoy::{
        config::core::v3::RuntimeFractionalPercent,
        extensions::filters::http::cors::v3::{Cors as ProtoCors, CorsPolicy as ProtoPolicy},
    },
};

use super::proto::{VALUES, at, each, fraction, refuse, unpack};
use crate::{
    config::{Audit, FieldError, MATCHERS, string_matcher},
    filter::{FactoryError, FilterContext, Flow, HttpFilter, HttpFilterFactory, HttpStream, LocalReply},
    model::StringMatcher,
    stats::Counter,
    supported,
};

const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const REQUEST_PRIVATE_NETWORK: &str = "access-control-request-private-network";

supported! {
    static TABLES =
    envoy.extensions.filters.http.cors.v3.Cors {}
    envoy.extensions.filters.http.cors.v3.CorsPolicy {
        carried: allow_origin_string_match, allow_methods, allow_headers, expose_headers, max_age, allow_credentials,
            allow_private_network_access, forward_not_matching_preflights;
        limited: filter_enabled = "0 or 100 percent", shadow_enabled = "0 or 100 percent";
    }
}

pub(super) static AUDIT: Audit = Audit::new(&[TABLES, VALUES, MATCHERS]);

/// Makes the HTTP filter `envoy.filters.http.cors`.
///
/// The filter does nothing where no route, virtual host or table has a `CorsPolicy`. Where one has, preflights from an
/// allowed origin are answered here (details `cors_response`), and responses to allowed origins get their
/// `access-control-` headers. A field that the most specific policy leaves empty is taken from the next one.
///
/// Statistics: `http.PREFIX.cors.origin_valid`, `origin_invalid`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cors;

impl HttpFilterFactory for Cors {
    fn type_urls(&self) -> &[&'static str] {
        &[
            "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors",
            "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        ]
    }

    fn filter(&self, config: &ProtoAny, context: &FilterContext<'_>) -> Result<Arc<dyn HttpFilter>, FactoryError> {
        unpack::<ProtoCors>(config, &AUDIT)?;
        let counter = |name: &str| context.stats.counter(&format!("{}cors.{name}", context.stat_prefix));
        Ok(Arc::new(CorsFilter { valid: counter("origin_valid"), invalid: counter("origin_invalid") }))
    }

    fn route_config(&self, config: &ProtoAny) -> Result<Arc<dyn Any + Send + Sync>, FactoryError> {
        Ok(Arc::new(policy(&unpack(config, &AUDIT)?)?))
    }
}

#[derive(Debug)]
struct Policy {
    enabled: bool,
    shadow: bool,
    origins: Vec<StringMatcher>,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: Option<bool>,
    private_network: Option<bool>,
    forward_unmatched: Option<bool>,
}

fn policy(proto: &ProtoPolicy) -> Result<Policy, FieldError> {
    let value = |text: &str, field: &str| match HeaderValue::from_str(text) {
        Ok(value) => Ok((!text.is_empty()).then_some(value)),
        Err(_) => refuse(field, "is no header value"),
    };
    Ok(Policy {
        enabled: at(all_or_none(proto.filter_enabled.as_ref(), true), "filter_enabled")?,
        shadow: at(all_or_none(proto.shadow_enabled.as_ref(), false), "shadow_enabled")?,
        origins: each(&proto.allow_origin_string_match, "allow_origin_string_match", string_matcher)?,
        methods: value(&proto.allow_methods, "allow_methods")?,
        headers: value(&proto.allow_headers, "allow_headers")?,
        expose: value(&proto.expose_headers, "expose_headers")?,
        max_age: value(&proto.max_age, "max_age")?,
        credentials: proto.allow_credentials,
        private_network: proto.allow_private_network_access,
        forward_unmatched: proto.forward_not_matching_preflights,
    })
}

fn all_or_none(share: Option<&RuntimeFractionalPercent>, default: bool) -> Result<bool, FieldError> {
    let Some(share) = share else { return Ok(default) };
    let share = at(fraction(share.default_value.as_ref()), "default_value")?;
    match share.numerator {
        0 => Ok(false),
        n if n >= share.denominator => Ok(true),
        _ => refuse("default_value", "only 0 and 100 percent are carried"),
    }
}

struct CorsFilter {
    valid: Counter,
    invalid: Counter,
}

/// The policies of a stream, most specific first.
struct Policies<'a>(Vec<&'a Policy>);

impl<'a> Policies<'a> {
    fn of(stream: &'a HttpStream<'_>) -> Option<Self> {
        let own = |configs: &'a crate::model::FilterConfigs| configs.get(stream.name)?.downcast_ref::<Policy>();
        let found: Vec<_> = stream.route_configs.iter().filter_map(own).collect();
        (!found.is_empty()).then_some(Self(found))
    }

    fn first<T>(&self, field: impl Fn(&'a Policy) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|policy| field(policy))
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let origins = self.first(|policy| (!policy.origins.is_empty()).then_some(&policy.origins));
        let Ok(origin) = origin.to_str() else { return false };
        origins.is_some_and(|origins| origins.iter().any(|matcher| matcher.matches(origin)))
    }

    /// Headers that every response to an allowed origin has.
    fn grant(&self, headers: &mut HeaderMap, origin: &HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.first(|policy| policy.credentials) == Some(true) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    fn answer_preflight(&self, request: &HeaderMap, origin: &HeaderValue) -> LocalReply {
        let mut reply = empty_reply();
        self.grant(&mut reply.headers, origin);
        let lists = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, self.first(|policy| policy.methods.as_ref())),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, self.first(|policy| policy.headers.as_ref())),
            (header::ACCESS_CONTROL_MAX_AGE, self.first(|policy| policy.max_age.as_ref())),
        ];
        for (name, value) in lists {
            if let Some(value) = value {
                reply.headers.insert(name, value.clone());
            }
        }
        let asks = request.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true");
        if asks && self.first(|policy| policy.private_network) == Some(true) {
            reply.headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        reply
    }
}

fn empty_reply() -> LocalReply {
    LocalReply::new(StatusCode::OK, "cors_response", "")
}

fn is_preflight(stream: &HttpStream<'_>) -> bool {
    let asked = stream.request.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    stream.request.method == Method::OPTIONS && asked.is_some_and(|method| !method.is_empty())
}

/// The origin, once it is known to be allowed; kept in the stream for the response.
struct Allowed(HeaderValue);

impl HttpFilter for CorsFilter {
    fn on_request(&self, stream: &mut HttpStream<'_>) -> Flow {
        let Some(policies) = Policies::of(stream) else { return Flow::Continue };
        let (enabled, shadow) = (policies.0[0].enabled, policies.0[0].shadow);
        let origin = stream.request.headers.get(header::ORIGIN).filter(|origin| !origin.is_empty());
        let Some(origin) = origin.filter(|_| enabled || shadow) else { return Flow::Continue };
        if !policies.allows(origin) {
            self.invalid.inc();
            let forward = policies.first(|policy| policy.forward_unmatched).unwrap_or(true);
            if enabled && !forward && is_preflight(stream) {
                return Flow::Respond(Box::new(empty_reply()));
            }
            return Flow::Continue;
        }
        self.valid.inc();
        if !enabled {
            return Flow::Continue;
        }
        let reply = is_preflight(stream).then(|| policies.answer_preflight(&stream.request.headers, origin));
        let allowed = Allowed(origin.clone());
        *stream.state = Some(Box::new(allowed));
        reply.map_or(Flow::Continue, |reply| Flow::Respond(Box::new(reply)))
    }

    fn on_response(&self, stream: &mut HttpStream<'_>) -> Flow {
        let mut granted = HeaderMap::new();
        if let Some(Allowed(origin)) = stream.state.as_deref().and_then(|state| state.downcast_ref())
            && let Some(policies) = Policies::of(stream)
        {
            policies.grant(&mut granted, origin);
            if let Some(expose) = policies.first(|policy| policy.expose.as_ref()) {
                granted.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
            }
        }
        if let Some(response) = &mut stream.response {
            response.headers.extend(granted);
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
