//! Packing messages into [`Any`] and out of it.

use bytes::Bytes;
use prost::{Message, Name};

use crate::TypeUrl;
pub use crate::google::protobuf::Any;

/// What [`unpack`] can refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The `Any` holds another type than asked for.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// Type URL asked for.
        expected: String,
        /// Type URL found.
        found: String,
    },
    /// The bytes are no message of the type.
    #[error("{type_url} cannot be decoded")]
    Decode {
        /// Type URL of the message.
        type_url: String,
        /// What prost says.
        #[source]
        source: prost::DecodeError,
    },
}

/// `message` as an [`Any`] with its `type.googleapis.com/` URL.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: Bytes::from(message.encode_to_vec()) }
}

/// The message inside `any`.
///
/// # Errors
/// [`UnpackError::WrongType`] if `any` holds another type, [`UnpackError::Decode`] if its bytes are malformed.
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, UnpackError> {
    if !is::<M>(any) {
        return Err(UnpackError::WrongType { expected: M::type_url(), found: any.type_url.clone() });
    }
    M::decode(any.value.clone()).map_err(|source| UnpackError::Decode { type_url: any.type_url.clone(), source })
}

/// Whether `any` holds an `M`: the part behind the last slash of its type URL is `M`'s full name.
#[must_use]
pub fn is<M: Name>(any: &Any) -> bool {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    name.strip_suffix(M::NAME).and_then(|p| p.strip_suffix('.')) == Some(M::PACKAGE)
}

/// The type URL of `M`.
#[must_use]
pub fn type_url_of<M: Name>() -> TypeUrl {
    TypeUrl::from(M::type_url())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::config::{cluster::v3::Cluster, listener::v3::Listener};

    #[test]
    fn round_trip_and_wrong_type() {
        let cluster = Cluster { name: "a".into(), ..Default::default() };
        let any = pack(&cluster);
        assert_eq!(any.type_url, "type.googleapis.com/envoy.config.cluster.v3.Cluster");
        assert_eq!(unpack::<Cluster>(&any).unwrap(), cluster);
        assert!(matches!(unpack::<Listener>(&any), Err(UnpackError::WrongType { .. })));
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        let any = Any { type_url: Cluster::type_url(), value: Bytes::from_static(&[0x0a, 0xff]) };
        assert!(matches!(unpack::<Cluster>(&any), Err(UnpackError::Decode { .. })));
    }
}
