//! Faults put in on purpose. Source: Istio's `HTTPFaultInjection`.

use mesh_config::model::{FaultAbort as AbortSettings, FaultDelay as DelaySettings, HttpFaultInjection};
use mesh_xds_api::envoy::extensions::filters::{
    common::fault::v3::{FaultDelay, fault_delay::FaultDelaySecifier},
    http::fault::v3::{FaultAbort, HttpFault, fault_abort::ErrorType},
};

use crate::translate::proto;

/// Name of the filter that puts the faults in.
pub(super) const FILTER: &str = "envoy.filters.http.fault";

/// The faults of a rule; `None` if there is nothing to put in.
pub(super) fn fault(settings: &HttpFaultInjection) -> Option<HttpFault> {
    let delay = settings.delay.as_ref().and_then(delay);
    let abort = settings.abort.as_ref().and_then(abort);
    (delay.is_some() || abort.is_some()).then(|| HttpFault { delay, abort, ..Default::default() })
}

fn delay(settings: &DelaySettings) -> Option<FaultDelay> {
    let share = settings.percentage.map(|p| p.value).or(settings.percent.map(f64::from)).unwrap_or(0.0);
    let fixed = settings.fixed_delay?;
    Some(FaultDelay {
        percentage: Some(proto::fractional(share)),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(proto::duration(fixed.as_std()))),
    })
}

fn abort(settings: &AbortSettings) -> Option<FaultAbort> {
    let share = settings.percentage.map_or(0.0, |p| p.value);
    let by_name = settings.grpc_status.as_deref().and_then(grpc_status).map(ErrorType::GrpcStatus);
    let by_code = settings.http_status.and_then(|status| u32::try_from(status).ok()).map(ErrorType::HttpStatus);
    Some(FaultAbort {
        percentage: Some(proto::fractional(share)),
        error_type: Some(by_code.or(by_name)?),
        ..Default::default()
    })
}

/// The number of a gRPC status. Source: gRPC's "Status codes and their use".
fn grpc_status(name: &str) -> Option<u32> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let by_name = NAMES.iter().position(|known| *known == name).and_then(|index| u32::try_from(index).ok());
    by_name.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_config::model::{Duration, Percent};
    use mesh_xds_api::json;

    #[test]
    fn delay_and_abort() {
        let all = Some(Percent { value: 100.0 });
        let made = fault(&HttpFaultInjection {
            delay: Some(DelaySettings {
                percentage: all,
                fixed_delay: Some(Duration::from_secs(7)),
                ..DelaySettings::default()
            }),
            abort: Some(AbortSettings { percentage: all, http_status: Some(555), ..AbortSettings::default() }),
        });
        let json = json::to_value(&made.unwrap());
        assert_eq!(json["delay"]["fixed_delay"], "7s");
        assert_eq!(json["abort"]["http_status"], 555);
        assert_eq!(json["abort"]["percentage"]["numerator"], 1_000_000);
        assert_eq!(json["abort"]["percentage"]["denominator"], "MILLION");
    }

    #[test]
    fn grpc_names() {
        assert_eq!(grpc_status("UNAVAILABLE"), Some(14));
        assert_eq!(grpc_status("14"), Some(14));
        assert_eq!(grpc_status("nothing"), None);
        assert_eq!(fault(&HttpFaultInjection::default()), None);
    }
}
