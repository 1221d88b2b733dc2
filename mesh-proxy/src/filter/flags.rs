use std::fmt;

macro_rules! flags {
    ($($bit:literal $name:ident $short:literal $long:literal $doc:literal;)*) => {
        /// Why a stream ended as it did, as Envoy's `%RESPONSE_FLAGS%` spells it. A set.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct ResponseFlags(u32);

        impl ResponseFlags {
            $(#[doc = concat!("`", $short, "`: ", $doc)]
            pub const $name: ResponseFlags = ResponseFlags(1 << $bit);)*

            const ALL: &[(ResponseFlags, &str, &str)] = &[$((Self::$name, $short, $long),)*];
        }
    };
}

flags! {
    4 UPSTREAM_RETRY_LIMIT "URX" "UpstreamRetryLimitExceeded" "the retry or connect limit was reached";
    0 NO_HEALTHY_UPSTREAM "UH" "NoHealthyUpstream" "no healthy host in the cluster";
    1 UPSTREAM_CONNECTION_FAILURE "UF" "UpstreamConnectionFailure" "connecting upstream failed";
    2 UPSTREAM_OVERFLOW "UO" "UpstreamOverflow" "a circuit breaker was open";
    3 NO_ROUTE "NR" "NoRouteFound" "no route, or no filter chain";
    5 NO_CLUSTER "NC" "NoClusterFound" "the route's cluster does not exist";
    6 DURATION_TIMEOUT "DT" "DurationTimeout" "the longest life of a stream or connection was reached";
    7 DOWNSTREAM_TERMINATION "DC" "DownstreamConnectionTermination" "the client closed the connection";
    8 UPSTREAM_TERMINATION "UC" "UpstreamConnectionTermination" "the upstream closed the connection";
    9 UPSTREAM_RESET "UR" "UpstreamRemoteReset" "the upstream reset the stream";
    10 LOCAL_RESET "LR" "LocalReset" "the stream was reset here";
    11 UPSTREAM_TIMEOUT "UT" "UpstreamRequestTimeout" "the upstream did not answer in time";
    12 STREAM_IDLE_TIMEOUT "SI" "StreamIdleTimeout" "nothing moved on the stream";
    13 DELAY_INJECTED "DI" "DelayInjected" "a fault delayed the request";
    14 FAULT_INJECTED "FI" "FaultInjected" "a fault aborted the request";
    15 RATE_LIMITED "RL" "RateLimited" "rate limited here";
    16 UNAUTHORIZED "UAEX" "UnauthorizedExternalService" "the authorisation service said no";
    17 RATE_LIMIT_SERVICE_ERROR "RLSE" "RateLimitServiceError" "the rate limit service failed";
    18 INVALID_ENVOY_HEADERS "IH" "InvalidEnvoyRequestHeaders" "a strictly checked header was invalid";
    19 DOWNSTREAM_PROTOCOL_ERROR "DPE" "DownstreamProtocolError" "the client broke the protocol";
    20 UPSTREAM_PROTOCOL_ERROR "UPE" "UpstreamProtocolError" "the upstream broke the protocol";
    21 UPSTREAM_MAX_STREAM_DURATION "UMSDR" "UpstreamMaxStreamDurationReached" "the upstream stream's longest life was reached";
    22 DNS_FAILURE "DF" "DnsResolutionFailed" "a name could not be resolved";
    23 DROP_OVERLOAD "DO" "DropOverload" "dropped by configuration";
    24 OVERLOAD "OM" "OverloadManagerTerminated" "shed by the overload manager";
}

impl ResponseFlags {
    /// No flag.
    pub const NONE: ResponseFlags = ResponseFlags(0);

    /// Adds `other`.
    pub fn insert(&mut self, other: ResponseFlags) {
        self.0 |= other.0;
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub fn contains(self, other: ResponseFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flag with this short name.
    #[must_use]
    pub fn from_short(short: &str) -> Option<ResponseFlags> {
        Self::ALL.iter().find(|(_, s, _)| *s == short).map(|(f, ..)| *f)
    }

    /// Short names of the flags that are set: the retry limit first, which is told before the failure it ends with.
    pub fn short_names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(move |(f, ..)| self.contains(*f)).map(|(_, s, _)| *s)
    }

    /// Long names of the flags that are set (`%RESPONSE_FLAGS_LONG%`).
    pub fn long_names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(move |(f, ..)| self.contains(*f)).map(|(.., l)| *l)
    }
}

impl std::ops::BitOr for ResponseFlags {
    type Output = ResponseFlags;
    fn bitor(self, other: ResponseFlags) -> ResponseFlags {
        ResponseFlags(self.0 | other.0)
    }
}

/// Short names joined with commas, `-` if there is none: the form of `%RESPONSE_FLAGS%`.
impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (i, name) in self.short_names().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseFlags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::ResponseFlags as F;

    #[test]
    fn spelled_as_envoy() {
        assert_eq!(F::NONE.to_string(), "-");
        assert_eq!((F::UPSTREAM_TERMINATION | F::UPSTREAM_RETRY_LIMIT).to_string(), "URX,UC");
        assert_eq!(F::from_short("DI"), Some(F::DELAY_INJECTED));
    }
}
