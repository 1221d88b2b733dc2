use std::time::Duration;

use ::http::StatusCode;
use mesh_xds_api::{
    any::Any,
    envoy::extensions::filters::{
        common::fault::v3::{FaultDelay, fault_delay::FaultDelaySecifier},
        http::fault::v3::{FaultAbort, HttpFault, fault_abort::ErrorType},
    },
};

use super::{Abort, Config, Delay};
use crate::{
    config::{Audit, FieldError, MATCHERS, header_matchers},
    filters::proto::{VALUES, at, fraction, refuse, unpack},
    supported,
};

const NO_RUNTIME: &str = "there is no runtime that could set it";

supported! {
    static TABLES =
    envoy.extensions.filters.http.fault.v3.HTTPFault {
        carried: delay, abort, upstream_cluster, headers, downstream_nodes, max_active_faults;
        irrelevant: delay_percent_runtime = NO_RUNTIME, abort_percent_runtime = NO_RUNTIME,
            delay_duration_runtime = NO_RUNTIME, abort_http_status_runtime = NO_RUNTIME,
            max_active_faults_runtime = NO_RUNTIME, response_rate_limit_percent_runtime = NO_RUNTIME,
            abort_grpc_status_runtime = NO_RUNTIME,
            disable_downstream_cluster_stats = "there are no statistics by downstream cluster";
    }
    envoy.extensions.filters.http.fault.v3.FaultAbort {
        carried: http_status, grpc_status, header_abort, percentage;
    }
    envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort {}
    envoy.extensions.filters.common.fault.v3.FaultDelay {
        carried: fixed_delay, header_delay, percentage;
    }
    envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay {}
}

pub(in crate::filters) static AUDIT: Audit = Audit::new(&[TABLES, VALUES, MATCHERS]);

pub(super) fn config(any: &Any) -> Result<Config, FieldError> {
    let proto: HttpFault = unpack(any, &AUDIT)?;
    let delay = match &proto.delay {
        Some(delay) => {
            Some((at(how_long(delay), "delay")?, at(fraction(delay.percentage.as_ref()), "delay.percentage")?))
        }
        None => None,
    };
    let abort = match &proto.abort {
        Some(abort) => Some((at(how(abort), "abort")?, at(fraction(abort.percentage.as_ref()), "abort.percentage")?)),
        None => None,
    };
    Ok(Config {
        delay,
        abort,
        upstream_cluster: proto.upstream_cluster,
        headers: header_matchers(&proto.headers, "headers")?,
        downstream_nodes: proto.downstream_nodes,
        max_active: proto.max_active_faults.map(u64::from),
    })
}

fn how_long(proto: &FaultDelay) -> Result<Delay, FieldError> {
    match &proto.fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(delay)) => match Duration::try_from(*delay) {
            Ok(delay) if delay > Duration::ZERO => Ok(Delay::Fixed(delay)),
            _ => refuse("fixed_delay", "must be above zero"),
        },
        Some(FaultDelaySecifier::HeaderDelay(_)) => Ok(Delay::Header),
        None => refuse("", "one of fixed_delay, header_delay is required"),
    }
}

fn how(proto: &FaultAbort) -> Result<Abort, FieldError> {
    match &proto.error_type {
        Some(ErrorType::HttpStatus(status)) => {
            let code = u16::try_from(*status).ok().filter(|code| (200..600).contains(code));
            match code.and_then(|code| StatusCode::from_u16(code).ok()) {
                Some(status) => Ok(Abort::Http(status)),
                None => refuse("http_status", "must be from 200 to 599"),
            }
        }
        Some(ErrorType::GrpcStatus(code)) => match u16::try_from(*code) {
            Ok(code) => Ok(Abort::Grpc(code)),
            Err(_) => refuse("grpc_status", "is no gRPC status"),
        },
        Some(ErrorType::HeaderAbort(_)) => Ok(Abort::Header),
        None => refuse("", "one of http_status, grpc_status, header_abort is required"),
    }
}
