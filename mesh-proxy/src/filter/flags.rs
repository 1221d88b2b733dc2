use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// Bits of a flag's number in the order.
const WIDTH: u32 = 5;

macro_rules! flags {
    ($($bit:literal $name:ident $short:literal $long:literal $doc:literal;)*) => {
        /// Why a stream ended as it did, as Envoy's `%RESPONSE_FLAGS%` spells it. A set that remembers the order in which
        /// its first twelve flags came, as Envoy does: only names are told by it, two sets are equal without.
        #[derive(Clone, Copy, Default)]
        pub struct ResponseFlags {
            set: u32,
            /// Numbers of flags, counted from 1, the first one lowest.
            order: u64,
        }

        impl ResponseFlags {
            $(#[doc = concat!("`", $short, "`: ", $doc)]
            pub const $name: ResponseFlags = ResponseFlags { set: 1 << $bit, order: $bit + 1 };)*

            const ALL: &[(ResponseFlags, &str, &str)] = &[$((Self::$name, $short, $long),)*];
        }
    };
}

flags! {
    0 NO_HEALTHY_UPSTREAM "UH" "NoHealthyUpstream" "no healthy host in the cluster";
    1 UPSTREAM_CONNECTION_FAILURE "UF" "UpstreamConnectionFailure" "connecting upstream failed";
    2 UPSTREAM_OVERFLOW "UO" "UpstreamOverflow" "a circuit breaker was open";
    3 NO_ROUTE "NR" "NoRouteFound" "no route, or no filter chain";
    4 UPSTREAM_RETRY_LIMIT "URX" "UpstreamRetryLimitExceeded" "the retry or connect limit was reached";
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
    pub const NONE: ResponseFlags = ResponseFlags { set: 0, order: 0 };

    /// Adds `other`, behind what is there.
    pub fn insert(&mut self, other: ResponseFlags) {
        for (flag, ..) in other.entries().filter(|(flag, ..)| self.set & flag.set == 0) {
            let used = (u64::BITS - self.order.leading_zeros()).div_ceil(WIDTH) * WIDTH;
            if used + WIDTH <= u64::BITS {
                self.order |= flag.order << used;
            }
        }
        self.set |= other.set;
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub fn contains(self, other: ResponseFlags) -> bool {
        self.set & other.set == other.set
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.set == 0
    }

    /// The flag with this short name.
    #[must_use]
    pub fn from_short(short: &str) -> Option<ResponseFlags> {
        Self::ALL.iter().find(|(_, s, _)| *s == short).map(|(f, ..)| *f)
    }

    /// Short names of the flags that are set, in the order in which they came.
    pub fn short_names(self) -> impl Iterator<Item = &'static str> {
        self.entries().map(|(_, s, _)| *s)
    }

    /// Long names of the flags that are set (`%RESPONSE_FLAGS_LONG%`), in the order in which they came.
    pub fn long_names(self) -> impl Iterator<Item = &'static str> {
        self.entries().map(|(.., l)| *l)
    }

    /// What is known of the flags that are set: those whose order is remembered first.
    fn entries(self) -> impl Iterator<Item = &'static (ResponseFlags, &'static str, &'static str)> {
        let first = self.numbers().filter_map(|number| Self::ALL.iter().find(|(flag, ..)| flag.order == number));
        let others = move |flag: &ResponseFlags| self.contains(*flag) && !self.numbers().any(|n| n == flag.order);
        first.chain(Self::ALL.iter().filter(move |(flag, ..)| others(flag)))
    }

    fn numbers(self) -> impl Iterator<Item = u64> {
        (0..u64::BITS / WIDTH).map(move |at| self.order >> (at * WIDTH) & ((1 << WIDTH) - 1))
    }
}

impl PartialEq for ResponseFlags {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}

impl Eq for ResponseFlags {}

impl Hash for ResponseFlags {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.set.hash(state);
    }
}

impl std::ops::BitOr for ResponseFlags {
    type Output = ResponseFlags;
    fn bitor(mut self, other: ResponseFlags) -> ResponseFlags {
        self.insert(other);
        self
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
        assert_eq!((F::UPSTREAM_TERMINATION | F::UPSTREAM_RETRY_LIMIT).to_string(), "UC,URX");
        assert_eq!((F::UPSTREAM_RETRY_LIMIT | F::UPSTREAM_TERMINATION | F::UPSTREAM_RETRY_LIMIT).to_string(), "URX,UC");
        assert_eq!(
            F::UPSTREAM_TERMINATION | F::UPSTREAM_RETRY_LIMIT,
            F::UPSTREAM_RETRY_LIMIT | F::UPSTREAM_TERMINATION
        );
        assert_eq!(F::from_short("DI"), Some(F::DELAY_INJECTED));
    }

    #[test]
    fn every_flag_is_told() {
        let all = F::ALL.iter().rev().fold(F::NONE, |all, (flag, ..)| all | *flag);
        let names: Vec<_> = all.short_names().collect();
        assert_eq!((names.len(), names[0]), (F::ALL.len(), "OM"));
    }
}
