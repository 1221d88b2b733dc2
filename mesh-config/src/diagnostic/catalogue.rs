//! The catalogue of findings: one row per code.

use std::fmt;

use super::Level;

macro_rules! catalogue {
    ($($name:ident $code:literal $level:ident $template:literal $doc:literal)*) => {
        /// What a finding is about. Codes are stable; retired ones are not used again.
        ///
        /// Codes that begin with `IST` are Istio's and mean the same as there; `MESH` codes are this crate's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $doc] $name,)*
        }

        const ROWS: &[Row] = &[$(Row {
            variant: Code::$name, code: $code, name: stringify!($name), level: Level::$level, template: $template, doc: $doc,
        },)*];
    };
}

struct Row {
    variant: Code,
    code: &'static str,
    name: &'static str,
    level: Level,
    template: &'static str,
    doc: &'static str,
}

catalogue! {
    Deprecated "IST0002" Warning "deprecated: {}"
        "A field or value is deprecated."
    ReferencedResourceNotFound "IST0101" Error "referenced {} not found: {:?}"
        "An object refers to another one that is not there."
    NamespaceNotInjected "IST0102" Info "the namespace is not enabled for sidecars: label it istio-injection=enabled, or istio-injection=disabled"
        "A namespace says neither that its pods get sidecars nor that they do not."
    PodMissingProxy "IST0103" Warning "pod {} has no sidecar, though its namespace asks for one: restart the workload"
        "A pod of a namespace with sidecars has none; often it is older than the label."
    SchemaValidationError "IST0106" Error "{}"
        "An object breaks the rules of its kind."
    MisplacedAnnotation "IST0107" Warning "annotation {:?} has an effect only on {}"
        "An annotation of Istio's stands on a kind of object that it is not for."
    UnknownAnnotation "IST0108" Warning "unknown annotation {:?}"
        "An annotation in Istio's name space does not exist."
    ConflictingVirtualServiceHosts "IST0109" Error "virtual services {} define the same host {:?} for the mesh: merge them"
        "Several VirtualServices define the same host for sidecars, so that only one of them counts."
    ConflictingSidecarSelectors "IST0110" Error "the Sidecars {} of namespace {:?} select the same pod {:?}: only one of them counts"
        "Several Sidecars select the same pod."
    SeveralDefaultSidecars "IST0111" Error "the Sidecars {} of namespace {:?} have no workloadSelector: only one of them counts"
        "Several Sidecars of a namespace are for all its workloads."
    DestinationPortRequired "IST0112" Error "the route's service {:?} has several ports {}: name one in the destination"
        "A route to a service with several ports names none."
    ServicesDisagreeOnProtocol "IST0116" Warning "deployment {} belongs to several services that use port {} with different protocols: {}"
        "Services of the same pods give one port different protocols."
    PortNameConvention "IST0118" Info "port name {:?} (port {}, target port {}) does not tell the protocol"
        "The name of a Service's port does not begin with a protocol, so that it must be detected."
    NamespaceInjectionLabels "IST0123" Warning "the namespace has several labels that put its pods into the mesh: {}"
        "Labels of a namespace that exclude each other."
    InvalidAnnotation "IST0125" Warning "invalid annotation {:?}: {}"
        "An annotation of Istio's has a value that it cannot have."
    UnknownRegistry "IST0126" Error "unknown registry {:?} of network {:?}"
        "A network of the mesh has the endpoints of a registry that does not exist."
    NoMatchingWorkloads "IST0127" Warning "no workload matches this policy: {}"
        "A policy is for workloads that do not exist."
    NoServerVerification "IST0128" Warning "TLS mode {} towards {:?} without caCertificates: the server's certificate is not verified against your own authorities"
        "A DestinationRule uses TLS without saying which authorities may have signed the server's certificate."
    NoServerVerificationOnPort "IST0129" Warning "TLS mode {} towards {:?}, port {}, without caCertificates: the server's certificate is not verified against your own authorities"
        "As IST0128, for a single port."
    UnreachableRule "IST0130" Warning "rule {} is never used: {}"
        "No request can reach a rule of a VirtualService."
    IneffectiveMatch "IST0131" Info "match {} of rule {} is never used: rule {} matches first"
        "A match of a VirtualService is covered by one before it."
    HostNotFoundInGateway "IST0132" Warning "host {:?} is not served by gateway {:?}"
        "A VirtualService is bound to a gateway that does not serve its host."
    SchemaWarning "IST0133" Warning "{}"
        "An object is accepted, but a part of it is doubtful."
    AddressesRequired "IST0134" Warning "addresses are required for port {}: without them TCP traffic cannot be told apart"
        "A ServiceEntry has a TCP port and no address."
    DeprecatedAnnotation "IST0135" Info "annotation {:?} is deprecated{}"
        "An annotation may go away."
    AlphaAnnotation "IST0136" Info "annotation {:?} belongs to a feature in its alpha phase"
        "An annotation may not be fit for production."
    ServicesDisagreeOnPort "IST0137" Warning "deployment {} belongs to the services {}, which reach target port {:?} by different ports: {}"
        "Services of the same pods reach one port by different numbers."
    DuplicateGatewayCertificate "IST0138" Warning "the gateways {} serve the same certificate: clients that reuse HTTP/2 connections may get 404"
        "Several Gateways serve the same certificate."
    InvalidWebhook "IST0139" Error "{}"
        "The webhook that puts sidecars into pods is not set up well."
    IngressSubsetIgnored "IST0140" Warning "the subsets that VirtualService {} routes to have no effect on requests that come in through {}"
        "A gateway's route names a host without subset, whose subsets are set by another VirtualService for sidecars."
    ReservedUser "IST0144" Warning "user 1337 is reserved for the sidecar"
        "A container runs as the user of the sidecar, so that its traffic is not captured."
    ConflictingGateways "IST0145" Error "the gateways {} serve the same hosts on port {} of the same workloads ({}): {}"
        "Several Gateways claim the same host and port of the same proxies."
    AutoImageNotInjected "IST0146" Warning "{} {} has the image auto, and no webhook that would put in the real one matches it"
        "A deployment waits for an image that nobody puts in."
    AutoImage "IST0147" Error "{} {} has the image auto, which no webhook has replaced"
        "A pod has a placeholder for an image."
    InjectionByDefault "IST0148" Info "the namespace gets sidecars, since the installation enables all namespaces"
        "A namespace without labels has its pods put into the mesh by default."
    ClaimRoutingWithoutTokens "IST0149" Error "routing by the claim {} needs a RequestAuthentication for gateway {} (pod {})"
        "A route depends on a token's claims, and nothing verifies tokens there."
    ExternalNamePort "IST0150" Warning "a port of an ExternalName service must not be named tcp, nor without a protocol: it may capture other traffic"
        "The name of a port of an ExternalName service is not fit."
    RelativePatch "IST0151" Warning "a patch that depends on others needs a priority: {}"
        "A patch is relative to others, and its order is not set."
    ReplaceNotApplicable "IST0152" Error "REPLACE has an effect only on HTTP_FILTER and NETWORK_FILTER"
        "A patch replaces what cannot be replaced."
    AddNotApplicable "IST0153" Error "ADD has no effect on ROUTE_CONFIGURATION and HTTP_ROUTE"
        "A patch adds where nothing can be added."
    RemoveNotApplicable "IST0154" Error "REMOVE has no effect on ROUTE_CONFIGURATION and HTTP_ROUTE"
        "A patch removes what cannot be removed."
    RelativePatchByVersion "IST0155" Warning "a patch that depends on others, for some proxy versions only, needs a priority: {}"
        "As IST0151, where another patch of the same filter is for some proxy versions only."
    NoTelemetryProvider "IST0157" Warning "access logging of Telemetry {} in namespace {:?} names no provider, and there is no default: it has no effect"
        "Telemetry without a provider."
    ProxyImageMismatch "IST0158" Warning "pods of the namespace run another proxy than the one that is installed: {}: restart them"
        "Pods run an older proxy."
    ConflictingTelemetrySelectors "IST0159" Error "the Telemetries {} of namespace {:?} select the same pod {:?}: only one of them counts"
        "Several Telemetries select the same pod."
    SeveralDefaultTelemetries "IST0160" Error "the Telemetries {} of namespace {:?} have no selector: only one of them counts"
        "Several Telemetries of a namespace are for all its workloads."
    InvalidGatewayCredential "IST0161" Error "the gateway's Secret {:?} cannot be used: {}"
        "The Secret of a gateway's server cannot be used."
    GatewayPortNotInService "IST0162" Warning "port {} is not a port of the service of its workloads ({})"
        "A gateway listens where its service does not lead."
    ExternalControlPlaneAddress "IST0163" Warning "the address {:?} of webhook {}, by which the external control plane is reached, {}"
        "A webhook of an external control plane has an address that does not work."
    ExternalControlPlaneIp "IST0164" Info "the address {:?} of webhook {}, by which the external control plane is reached, is an IP address"
        "A webhook of an external control plane is reached by an IP address rather than by a name."
    InternalGateway "IST0165" Warning "{:?} is a gateway that the control plane makes for itself: name the Kubernetes Gateway"
        "A VirtualService refers to a gateway that is made from a Gateway API object."
    IneffectiveSelector "IST0166" Warning "the selector has no effect on the Kubernetes Gateway {:?}: use targetRefs"
        "A policy selects the pods of a Kubernetes Gateway by label."
    IneffectivePolicy "IST0167" Warning "the object has no effect: {}"
        "An object is for workloads that it cannot act on."
    InconsistentService "IST0170" Warning "the service is not the same in the clusters {}: {}"
        "The Services of one name in several clusters of a mesh differ."
    NegativeCondition "IST0171" Warning "the status says that {} is not so: {} {}"
        "A controller reports that something is wrong with the object."
    SubsetWithoutPods "IST0173" Error "no pod belongs to subset {:?}: requests to it fail with 503"
        "A subset of a DestinationRule selects no pods."
    UnknownRuleHost "IST0174" Warning "the host {:?} is that of no service"
        "A DestinationRule is for a host that does not exist."
    UnrestrictedKeyFetch "IST0175" Warning "BLOCKED_CIDRS_IN_JWKS_URIS is not set, though {} RequestAuthentications let keys be fetched ({})"
        "The control plane may be made to fetch from any address."
    OldGatewayApi "IST0176" Warning "{:?} is of version {}, and at least {} is needed: its objects have no effect"
        "The definitions of the Gateway API are too old."
    ConflictingServiceEntries "IST0177" Warning "the ServiceEntries {} give host {:?}, port {}, different protocols: {}"
        "Several ServiceEntries disagree on a port's protocol."
    Syntax "MESH0001" Error "cannot be read as YAML: {}"
        "A document is not YAML. The other documents of the file are read."
    UnreadableFile "MESH0002" Error "cannot be read: {}"
        "A file or folder cannot be read, or is larger than the limit."
    NotAnObject "MESH0003" Error "{}"
        "A document is not an object with apiVersion, kind and metadata.name."
    UnknownKind "MESH0004" Error "unknown kind {:?} in API group {:?}"
        "An API group of the mesh does not have this kind or version."
    KindNotSupported "MESH0005" Warning "kind {} of {} is not supported yet: the object has no effect"
        "The kind exists, but is not implemented here."
    DuplicateObject "MESH0006" Error "{} is defined more than once; also at {}"
        "Several documents define the same object; the first one counts."
    DuplicateSubset "MESH0101" Error "subset {:?} of host {:?} is also defined by {}"
        "Several DestinationRules that apply to the same clients define a subset twice."
    WeightSum "MESH0102" Error "the weights add up to {}, not 100"
        "The weights of a route's destinations do not add up to 100; above 100 it is an error, below a warning."
    CertificateEnding "MESH0103" Warning "the certificate of Secret {:?} ends in {} days"
        "The certificate of a gateway's server ends soon."
    GatewayPortProtocol "MESH0104" Warning "port {} speaks another protocol than {} already, as {} says: the server has no effect"
        "Several Gateways of the same workloads use one port with different protocols."
    ShadowedRoute "MESH0105" Warning "no request reaches rule {}: whatever fits it fits {} before"
        "A rule of a VirtualService is covered by wider ones before it."
    TimeoutShorterThanTries "MESH0106" Warning "{}"
        "The timeout of a route leaves no time for its retries."
    PolicyReach "MESH0107" Info "{}"
        "The rules of an AuthorizationPolicy match no request, or every one."
    SelectorWithoutWorkloads "MESH0108" Warning "no workload has the labels {}: the object has no effect"
        "An object selects workloads that do not exist."
    HostOwnedByAnother "MESH0109" Warning "host {:?} is defined by {} already, which is older: the {} of this object has no effect"
        "Several objects define one host, and settings of the oldest count."
    WaypointSelector "MESH0110" Warning "{:?} is reached through a waypoint, where rules for single clients have no effect"
        "A DestinationRule with a workloadSelector is for a service behind a waypoint."
    RouteCacheCleared "MESH0111" Warning "the filter may have the route chosen anew, past policies that are bound to HTTPRoutes"
        "An EnvoyFilter puts HTTP filters beside policies that depend on the route."
    MutualTlsMismatch "MESH0112" Error "{} is sent to port {}, but workload {:?} accepts {} there ({})"
        "The TLS mode of a DestinationRule and a PeerAuthentication of its workloads exclude each other."
    KeyOfAnother "MESH0113" Error "the gateway's Secret {:?} has a private key that is not that of its certificate"
        "The certificate and the private key of a gateway's Secret do not belong together."
    IngressBackend "MESH0114" Warning "requests lead nowhere: {}"
        "The backend of an Ingress that Istio carries out is not there."
    HeldBack "MESH0201" Warning "{} stays in force as it was before: {}"
        "The new version of an object is faulty; its last good version stays in force."
    Shadowed "MESH0202" Info "{} is not in force: {} says it as well, and takes precedence"
        "Two sources have an object with the same key; the one that takes precedence counts."
    NotCarriedOut "MESH0301" Warning "{}"
        "A part of an object is accepted, but translation into proxy configuration does not carry it out."
}

impl Code {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Every code, in the order of the catalogue.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.variant)
    }

    /// The code, such as `IST0101`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().code
    }

    /// The code that a text names, in any case of letters; by its name as well.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        ROWS.iter()
            .find(|row| row.code.eq_ignore_ascii_case(text) || row.name.eq_ignore_ascii_case(text))
            .map(|row| row.variant)
    }

    /// The message of its findings, with `{}` where arguments are put in.
    #[must_use]
    pub fn template(self) -> &'static str {
        self.row().template
    }

    /// The name, such as `ReferencedResourceNotFound`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// How grave findings of this code are.
    #[must_use]
    pub fn level(self) -> Level {
        self.row().level
    }

    /// What it means, in one sentence.
    #[must_use]
    pub fn doc(self) -> &'static str {
        self.row().doc
    }

    /// The message with its arguments put in: `{}` as they are, `{:?}` in quotes.
    pub(crate) fn message(self, args: &[&dyn fmt::Display]) -> String {
        let mut out = String::new();
        let mut args = args.iter();
        let mut rest = self.row().template;
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            let quoted = rest[at..].starts_with("{:?}");
            rest = &rest[at + if quoted { 4 } else { 2 }..];
            let text = args.next().map(ToString::to_string).unwrap_or_default();
            if quoted {
                out.push_str(&format!("{text:?}"));
            } else {
                out.push_str(&text);
            }
        }
        out.push_str(rest);
        out
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        let codes: HashSet<_> = Code::all().map(Code::as_str).collect();
        assert_eq!(codes.len(), ROWS.len());
        assert!(ROWS.iter().enumerate().all(|(index, row)| row.variant as usize == index));
    }

    #[test]
    fn puts_arguments_in() {
        let message = Code::ReferencedResourceNotFound.message(&[&"gateway", &"a/b"]);
        assert_eq!(message, "referenced gateway not found: \"a/b\"");
    }
}
