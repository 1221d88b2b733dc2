//! Reading the configuration of filters.

use mesh_xds_api::{any::Any, envoy::r#type::v3::FractionalPercent};
use prost::{Message, Name};

pub(super) use crate::config::value::{VALUES, cidr};
use crate::{
    config::{Audit, FieldError, value},
    model::RuntimeFraction,
};

/// The message in `any`, if nothing in it is set that `audit` does not know.
pub(super) fn unpack<M: Message + Name + Default>(any: &Any, audit: &Audit) -> Result<M, FieldError> {
    audit.check_first(any)?;
    mesh_xds_api::any::unpack(any).map_err(|error| FieldError::new("", error.to_string()))
}

pub(super) fn refuse<T>(path: &str, reason: impl Into<String>) -> Result<T, FieldError> {
    Err(FieldError::new(path, reason))
}

/// A share; none at all if it is not set.
pub(super) fn fraction(value: Option<&FractionalPercent>) -> Result<RuntimeFraction, FieldError> {
    value.map_or(Ok(RuntimeFraction { numerator: 0, denominator: 100 }), value::fraction)
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
