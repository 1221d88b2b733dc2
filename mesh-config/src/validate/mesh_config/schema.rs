//! The fields of `MeshConfig` and of the messages in it. Source: `istio/api`, mesh/v1alpha1 config.proto and proxy.proto.

use serde_json::Value;

use crate::{path::FieldPath, suggest, validate::Findings};

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    Text,
    Bool,
    Int,
    Number,
    /// A text like `1.5s`.
    Span,
    /// One of some words.
    Word(&'static [&'static str]),
    List(&'static Type),
    /// Texts by name.
    Texts,
    Message(Fields),
    /// Anything: the message is of another interface.
    Any,
}

pub(super) type Fields = &'static [(&'static str, Type)];

use Type::{Any, Bool, Int, List, Message, Number, Span, Text, Texts, Word};

const TEXTS: Type = List(&Text);
const TLS: Type = Any;

pub(super) const MESH: Fields = &[
    ("proxyListenPort", Int),
    ("proxyInboundListenPort", Int),
    ("proxyHttpPort", Int),
    ("connectTimeout", Span),
    ("tcpKeepalive", Message(&[("probes", Int), ("time", Span), ("interval", Span)])),
    ("protocolDetectionTimeout", Span),
    ("ingressClass", Text),
    ("ingressService", Text),
    ("ingressControllerMode", Word(&["UNSPECIFIED", "OFF", "DEFAULT", "STRICT"])),
    ("ingressSelector", Text),
    ("enableTracing", Bool),
    ("accessLogFile", Text),
    ("accessLogFormat", Text),
    ("accessLogEncoding", Word(&["TEXT", "JSON"])),
    ("enableEnvoyAccessLogService", Bool),
    ("disableEnvoyListenerLog", Bool),
    ("defaultConfig", Message(PROXY)),
    ("outboundTrafficPolicy", Message(&[("mode", Word(&["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"]))])),
    ("inboundTrafficPolicy", Message(&[("mode", Word(&["PASSTHROUGH", "LOCALHOST"]))])),
    (
        "configSources",
        List(&Message(&[
            ("address", Text),
            ("tlsSettings", TLS),
            ("subscribedResources", List(&Word(&["SERVICE_REGISTRY"]))),
        ])),
    ),
    ("enableAutoMtls", Bool),
    ("trustDomain", Text),
    ("trustDomainAliases", TEXTS),
    (
        "caCertificates",
        List(&Message(&[("pem", Text), ("spiffeBundleUrl", Text), ("certSigners", TEXTS), ("trustDomains", TEXTS)])),
    ),
    ("defaultServiceExportTo", TEXTS),
    ("defaultVirtualServiceExportTo", TEXTS),
    ("defaultDestinationRuleExportTo", TEXTS),
    ("rootNamespace", Text),
    ("localityLbSetting", Any),
    ("dnsRefreshRate", Span),
    ("h2UpgradePolicy", Word(&["DO_NOT_UPGRADE", "UPGRADE"])),
    ("inboundClusterStatName", Text),
    ("outboundClusterStatName", Text),
    ("certificates", List(&Message(&[("secretName", Text), ("dnsNames", TEXTS)]))),
    ("serviceSettings", List(&Message(&[("settings", Message(&[("clusterLocal", Bool)])), ("hosts", TEXTS)]))),
    ("enablePrometheusMerge", Bool),
    ("verifyCertificateAtClient", Bool),
    ("ca", Message(&[("address", Text), ("tlsSettings", TLS), ("requestTimeout", Span), ("istiodSide", Bool)])),
    ("extensionProviders", List(&Any)),
    ("defaultProviders", Message(&[("accessLogging", TEXTS), ("tracing", TEXTS), ("metrics", TEXTS)])),
    ("discoverySelectors", List(&Message(SELECTOR))),
    (
        "pathNormalization",
        Message(&[("normalization", Word(&["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]))]),
    ),
    ("defaultHttpRetryPolicy", Any),
    ("meshMTLS", Message(VERSIONS)),
    ("tlsDefaults", Message(VERSIONS)),
    ("hboneIdleTimeout", Span),
    (
        "serviceScopeConfigs",
        List(&Message(&[
            ("servicesSelector", Message(SELECTOR)),
            ("namespaceSelector", Message(SELECTOR)),
            ("scope", Word(&["LOCAL", "GLOBAL"])),
        ])),
    ),
];

const SELECTOR: Fields = &[
    ("matchLabels", Texts),
    ("matchExpressions", List(&Message(&[("key", Text), ("operator", Text), ("values", TEXTS)]))),
];
const VERSIONS: Fields = &[
    ("minProtocolVersion", Word(&["TLS_AUTO", "TLSV1_2", "TLSV1_3"])),
    ("ecdhCurves", TEXTS),
    ("cipherSuites", TEXTS),
];
const SERVICE: Type = Message(&[
    ("address", Text),
    ("tlsSettings", TLS),
    ("tcpKeepalive", Message(&[("probes", Int), ("time", Span), ("interval", Span)])),
]);
const KEY_PROVIDER: Type = Message(&[("pollDelay", Span), ("fallback", Bool)]);
const SWITCH: Type = Message(&[("disabled", Bool)]);
const ENABLE: Type = Message(&[("enabled", Bool)]);
const CLIENT_CERTIFICATE: Type =
    Word(&["UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"]);

/// Settings of proxies.
pub(super) const PROXY: Fields = &[
    ("configPath", Text),
    ("binaryPath", Text),
    ("serviceCluster", Text),
    ("tracingServiceName", Word(&["APP_LABEL_AND_NAMESPACE", "CANONICAL_NAME_ONLY", "CANONICAL_NAME_AND_NAMESPACE"])),
    ("drainDuration", Span),
    ("parentShutdownDuration", Span),
    ("discoveryAddress", Text),
    ("discoveryRefreshDelay", Span),
    ("zipkinAddress", Text),
    ("statsdUdpAddress", Text),
    ("envoyMetricsServiceAddress", Text),
    ("proxyAdminPort", Int),
    ("availabilityZone", Text),
    ("controlPlaneAuthPolicy", Word(&["NONE", "MUTUAL_TLS"])),
    ("customConfigFile", Text),
    ("statNameLength", Int),
    ("concurrency", Int),
    ("proxyBootstrapTemplatePath", Text),
    ("interceptionMode", Word(&["REDIRECT", "TPROXY", "NONE"])),
    (
        "tracing",
        Message(&[
            ("zipkin", Message(&[("address", Text)])),
            ("lightstep", Message(&[("address", Text), ("accessToken", Text)])),
            ("datadog", Message(&[("address", Text)])),
            ("stackdriver", Any),
            ("openCensusAgent", Any),
            ("customTags", Any),
            ("maxPathTagLength", Int),
            ("sampling", Number),
            ("tlsSettings", TLS),
            ("enableIstioTags", Bool),
        ]),
    ),
    ("sds", Any),
    ("envoyAccessLogService", SERVICE),
    ("envoyMetricsService", SERVICE),
    ("proxyMetadata", Texts),
    ("runtimeValues", Texts),
    ("statusPort", Int),
    ("extraStatTags", TEXTS),
    (
        "gatewayTopology",
        Message(&[
            ("numTrustedProxies", Int),
            ("forwardClientCertDetails", CLIENT_CERTIFICATE),
            ("proxyProtocol", Message(&[])),
        ]),
    ),
    ("terminationDrainDuration", Span),
    ("meshId", Text),
    ("readinessProbe", Any),
    (
        "proxyStatsMatcher",
        Message(&[("inclusionPrefixes", TEXTS), ("inclusionSuffixes", TEXTS), ("inclusionRegexps", TEXTS)]),
    ),
    ("holdApplicationUntilProxyStarts", Bool),
    ("caCertificatesPem", TEXTS),
    ("image", Message(&[("imageType", Text)])),
    ("privateKeyProvider", Message(&[("cryptomb", KEY_PROVIDER), ("qat", KEY_PROVIDER)])),
    (
        "proxyHeaders",
        Message(&[
            ("forwardedClientCert", CLIENT_CERTIFICATE),
            (
                "setCurrentClientCertDetails",
                Message(&[("subject", Bool), ("cert", Bool), ("chain", Bool), ("dns", Bool), ("uri", Bool)]),
            ),
            ("requestId", SWITCH),
            ("server", Message(&[("disabled", Bool), ("value", Text)])),
            ("attemptCount", SWITCH),
            ("envoyDebugHeaders", SWITCH),
            ("metadataExchangeHeaders", Message(&[("mode", Word(&["UNDEFINED", "IN_MESH"]))])),
            ("perserveHttp1HeaderCase", Bool),
            ("preserveHttp1HeaderCase", Bool),
            ("xForwardedHost", ENABLE),
            ("xForwardedPort", ENABLE),
        ]),
    ),
    ("fileFlushInterval", Span),
    ("fileFlushMinSizeKb", Int),
    ("statsCompression", Bool),
];

/// A name as the JSON form of protobuf writes it, which may be given with underscores as well.
pub(super) fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

/// Checks the fields of a message: each is known, and holds what it should.
///
/// The control plane passes over fields that it does not know, so that these are warnings.
pub(super) fn fields(path: FieldPath<'_>, value: &Value, known: Fields, findings: &mut Findings<'_>) {
    let Some(given) = value.as_object() else {
        if !value.is_null() {
            findings.error(path, "expected a mapping");
        }
        return;
    };
    for (name, value) in given {
        let written = camel(name);
        match known.iter().find(|(known, _)| *known == written) {
            Some((_, expected)) => check(path.field(name), value, *expected, findings),
            None => {
                findings.warning(path.field(name), format_args!("unknown field {name:?}"));
                if let Some(near) = suggest::nearest(name, known.iter().map(|(known, _)| *known)) {
                    findings.help(format!("did you mean {near:?}?"));
                }
            }
        }
    }
}

fn check(path: FieldPath<'_>, value: &Value, expected: Type, findings: &mut Findings<'_>) {
    let is_number = |text: &Value| text.as_str().is_some_and(|text| text.parse::<f64>().is_ok());
    let wanted = match expected {
        _ if value.is_null() => return,
        Any => return,
        Message(known) => return fields(path, value, known, findings),
        List(each) => match value.as_array() {
            Some(items) => {
                items.iter().enumerate().for_each(|(index, item)| check(path.index(index), item, *each, findings));
                return;
            }
            None => "a list",
        },
        Texts => match value.as_object() {
            Some(entries) => {
                entries.iter().for_each(|(name, value)| check(path.field(name), value, Text, findings));
                return;
            }
            None => "a mapping",
        },
        Word(words) => {
            if !value.as_str().is_some_and(|text| words.contains(&text)) && !value.is_u64() {
                findings.error(path, format_args!("unknown value {value}"));
                findings.help(format!("the values are: {}", words.join(", ")));
            }
            return;
        }
        Span if value.as_str().is_none_or(|text| text.parse::<crate::model::Duration>().is_err()) => {
            "a duration, like 1.5s"
        }
        Text if !value.is_string() => "a text",
        Bool if !value.is_boolean() => "true or false",
        Int if !value.is_i64() && !value.is_u64() && !is_number(value) => "a whole number",
        Number if !value.is_number() && !is_number(value) => "a number",
        _ => return,
    };
    findings.error(path, format_args!("expected {wanted}"));
}
