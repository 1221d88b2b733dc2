//! Reading the configuration of filters.

use std::net::IpAddr;

use mesh_xds_api::{
    any::Any,
    envoy::{
        config::core::v3::CidrRange as ProtoRange,
        r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
    },
};
use prost::{Message, Name};

use crate::{
    config::{Audit, FieldError},
    model::{CidrRange, RuntimeFraction},
    supported,
};

supported! {
    /// Values that several filters share.
    pub(super) static VALUES =
    envoy.config.core.v3.CidrRange {
        carried: address_prefix, prefix_len;
    }
    envoy.type.v3.FractionalPercent {
        carried: numerator, denominator;
    }
    envoy.type.v3.Int64Range {
        carried: start, end;
    }
    envoy.type.v3.Int32Range {
        carried: start, end;
    }
    envoy.type.v3.DoubleRange {
        carried: start, end;
    }
}

/// The message in `any`, if nothing in it is set that `audit` does not know.
pub(super) fn unpack<M: Message + Name + Default>(any: &Any, audit: &Audit) -> Result<M, FieldError> {
    audit.check_first(any)?;
    mesh_xds_api::any::unpack(any).map_err(|error| FieldError::new("", error.to_string()))
}

pub(super) fn refuse<T>(path: &str, reason: impl Into<String>) -> Result<T, FieldError> {
    Err(FieldError::new(path, reason))
}

pub(super) fn cidr(value: &ProtoRange) -> Result<CidrRange, FieldError> {
    let Ok(ip) = value.address_prefix.parse::<IpAddr>() else {
        return refuse("address_prefix", format!("{:?} is no IP address", value.address_prefix));
    };
    let len = u8::try_from(value.prefix_len.unwrap_or(0)).unwrap_or(u8::MAX);
    match CidrRange::new(ip, len) {
        Ok(range) => Ok(range.trunc()),
        Err(_) => refuse("prefix_len", "is longer than the address"),
    }
}

/// A share; none at all if it is not set.
pub(super) fn fraction(value: Option<&FractionalPercent>) -> Result<RuntimeFraction, FieldError> {
    let Some(value) = value else { return Ok(RuntimeFraction { numerator: 0, denominator: 100 }) };
    let denominator = match DenominatorType::try_from(value.denominator) {
        Ok(DenominatorType::Hundred) => 100,
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Million) => 1_000_000,
        Err(_) => return refuse("denominator", format!("{} is no denominator", value.denominator)),
    };
    Ok(RuntimeFraction { numerator: value.numerator, denominator })
}

/// Each of `values` translated; errors name its index.
pub(super) fn each<T, U>(
    values: &[T],
    field: &str,
    translate: impl Fn(&T) -> Result<U, FieldError>,
) -> Result<Vec<U>, FieldError> {
    let one = |(i, value)| translate(value).map_err(|error| error.within(format_args!("{field}[{i}]")));
    values.iter().enumerate().map(one).collect()
}

/// Errors of `result` seen from the message that holds `field`.
pub(super) fn at<T>(result: Result<T, FieldError>, field: &str) -> Result<T, FieldError> {
    result.map_err(|error| error.within(field))
}
