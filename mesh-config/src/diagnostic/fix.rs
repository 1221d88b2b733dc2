//! What to do about findings, one sentence or two per code.

use super::Code;

impl Code {
    /// What to do about a finding of this code.
    #[must_use]
    #[allow(clippy::too_many_lines)] // one row per code
    pub fn fix(self) -> &'static str {
        match self {
            Self::Deprecated => "Write what the message names instead.",
            Self::ReferencedResourceNotFound => {
                "Correct the name, or add the object; names without a namespace are looked up in the object's own."
            }
            Self::NamespaceNotInjected => "Label the namespace, either way, so that it is plain what is meant.",
            Self::PodMissingProxy => "Restart the workload, for example with `kubectl rollout restart`.",
            Self::SchemaValidationError => {
                "Correct the field that the finding points at; until then the object is not used."
            }
            Self::MisplacedAnnotation => "Move the annotation to an object of the kinds that the message names.",
            Self::UnknownAnnotation => "Correct the annotation's name, or remove it.",
            Self::ConflictingVirtualServiceHosts => {
                "Merge the VirtualServices, or let each be for hosts or gateways of its own."
            }
            Self::ConflictingSidecarSelectors => "Change the selectors so that a pod is selected by one Sidecar only.",
            Self::SeveralDefaultSidecars => "Keep one Sidecar without workloadSelector in the namespace.",
            Self::DestinationPortRequired => "Add `port: {number: ...}` to the destination.",
            Self::ServicesDisagreeOnProtocol => "Give the port the same protocol in all Services of the workload.",
            Self::PortNameConvention => {
                "Begin the port's name with its protocol, as in `http-web`, or set appProtocol."
            }
            Self::NamespaceInjectionLabels => "Keep one of the labels.",
            Self::InvalidAnnotation => "Correct the value, in the form that the message asks for.",
            Self::UnknownRegistry => "Correct the registry's name, or add the Secret of the remote cluster.",
            Self::NoMatchingWorkloads => "Correct the selector, or remove the policy.",
            Self::NoServerVerification | Self::NoServerVerificationOnPort => {
                "Set caCertificates or credentialName to the authority that signs the server's certificate."
            }
            Self::UnreachableRule => "Remove the rule, or move it before the one that catches its requests.",
            Self::IneffectiveMatch => "Remove the match, or move its rule to the front.",
            Self::HostNotFoundInGateway => "Add the host to a server of the gateway, or correct it.",
            Self::SchemaWarning => "Look at the field that the finding points at; the object is used as it is.",
            Self::AddressesRequired => "Add addresses, or use a protocol that names its host (HTTP, HTTPS, TLS).",
            Self::DeprecatedAnnotation => "Use what replaces the annotation, as the message says.",
            Self::AlphaAnnotation => "Nothing, if you accept that the feature may change between versions.",
            Self::ServicesDisagreeOnPort => "Reach a port of the workload by the same port of each Service.",
            Self::DuplicateGatewayCertificate => "Serve the hosts of one certificate from one Gateway.",
            Self::InvalidWebhook => "Remove or correct one of the webhooks, so that each pod is injected once.",
            Self::IngressSubsetIgnored => "Route to the subsets from a Gateway's hosts instead.",
            Self::ReservedUser => "Run the container as another user.",
            Self::ConflictingGateways => "Merge the servers into one Gateway, or give them different hosts or ports.",
            Self::AutoImageNotInjected => "Put the namespace or the pods under a webhook that injects.",
            Self::AutoImage => "Recreate the pod in a namespace where the webhook injects.",
            Self::InjectionByDefault => "Label the namespace if its pods should get no sidecar.",
            Self::ClaimRoutingWithoutTokens => "Add a RequestAuthentication that selects the gateway's workloads.",
            Self::ExternalNamePort => "Give the port a name with another protocol, such as `http` or `tls`.",
            Self::RelativePatch | Self::RelativePatchByVersion => {
                "Set priority, so that the filters are applied in a known order, or use INSERT_FIRST."
            }
            Self::ReplaceNotApplicable => "Use MERGE, or REMOVE and ADD.",
            Self::AddNotApplicable => "Use MERGE, or ADD a VIRTUAL_HOST.",
            Self::RemoveNotApplicable => "Remove the object that makes the route instead.",
            Self::NoTelemetryProvider => "Name a provider, or set defaultProviders in the settings of the mesh.",
            Self::ProxyImageMismatch => "Restart the workloads, so that they get the installed proxy.",
            Self::ConflictingTelemetrySelectors => {
                "Change the selectors so that a pod is selected by one Telemetry only."
            }
            Self::SeveralDefaultTelemetries => "Keep one Telemetry without selector in the namespace.",
            Self::InvalidGatewayCredential => "Put a certificate that holds and its private key into the Secret.",
            Self::GatewayPortNotInService => "Add the port to the gateway's Service, or use one that it has.",
            Self::ExternalControlPlaneAddress => "Correct the address of the webhook.",
            Self::ExternalControlPlaneIp => "Use a host name, so that the address can change.",
            Self::InternalGateway => "Name the Kubernetes Gateway in parentRefs of an HTTPRoute.",
            Self::IneffectiveSelector => "Use targetRefs to bind the policy to the Gateway.",
            Self::IneffectivePolicy => "Do what the message says, or remove the object.",
            Self::NegativeCondition => "Look at the reason and message of the condition.",
            Self::SubsetWithoutPods => "Correct the subset's labels, or deploy pods that have them.",
            Self::UnknownRuleHost => "Correct the host, or add the Service or ServiceEntry.",
            Self::UnrestrictedKeyFetch => "Set BLOCKED_CIDRS_IN_JWKS_URIS on istiod to your internal networks.",
            Self::OldGatewayApi => "Install the definitions of a newer Gateway API.",
            Self::ConflictingServiceEntries => "Give the port of the host the same protocol everywhere.",
            Self::Syntax => "Correct the YAML at the place that the finding names.",
            Self::UnreadableFile => "Make the file readable, as UTF-8, and not larger than the limit.",
            Self::NotAnObject => "Begin each document with apiVersion, kind and metadata.",
            Self::UnknownKind => "Correct kind or apiVersion.",
            Self::KindNotSupported => "Remove the object, or do not rely on it here.",
            Self::DuplicateObject => "Keep one of the definitions.",
            Self::DuplicateSubset => "Define each subset of a host once.",
            Self::WeightSum => "Change the weights so that they add up to 100.",
            Self::CertificateEnding => "Renew the certificate and put it into the Secret.",
            Self::GatewayPortProtocol => "Use another port, or the protocol that the older Gateway has.",
            Self::ShadowedRoute => "Put the narrower rule before the wider one, or remove it.",
            Self::TimeoutShorterThanTries => "Raise timeout, or lower attempts or perTryTimeout.",
            Self::PolicyReach => "If that is meant, nothing; otherwise correct the rules.",
            Self::SelectorWithoutWorkloads => "Correct the labels, or remove the object.",
            Self::HostOwnedByAnother => "Merge the objects, or remove the younger one.",
            Self::WaypointSelector => "Remove workloadSelector, or split the service.",
            Self::RouteCacheCleared => {
                "Bind the policy to the Gateway or Service, or make sure that the filter keeps the route."
            }
            Self::MutualTlsMismatch => {
                "Let the DestinationRule use ISTIO_MUTUAL (or leave tls out), or let the PeerAuthentication accept plain text."
            }
            Self::KeyOfAnother => "Put the private key into the Secret that was made for the certificate.",
            Self::InconsistentService => "Make the Services alike, or give them different names.",
            Self::IngressBackend => "Correct the name or the port of the backend, or add the Service.",
            Self::HeldBack => "Correct the new version; it comes into force by itself.",
            Self::Shadowed => "Nothing, if that is meant; otherwise remove the object from one of the sources.",
            Self::NotCarriedOut => "Do not rely on that part of the object.",
        }
    }

    /// What Istio's documentation says of the code; `None` for this crate's own codes.
    #[must_use]
    pub fn upstream_page(self) -> Option<String> {
        let number = self.as_str().strip_prefix("IST")?;
        Some(format!("https://istio.io/latest/docs/reference/config/analysis/ist{number}/"))
    }

    /// Where to read about this code: Istio's page, or this crate's own for its own codes.
    #[must_use]
    pub fn documentation(self) -> String {
        self.upstream_page().unwrap_or_else(|| self.page())
    }

    /// The page about this code, by its place in the repository.
    #[must_use]
    pub fn page(self) -> String {
        format!("mesh-config/docs/codes/{self}.md")
    }
}
