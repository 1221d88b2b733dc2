//! Names for facts that are all text on the wire.

use std::{borrow::Borrow, fmt, sync::Arc};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as it is on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text! {
    /// The name of one resource among those of its type. Cheap to clone.
    ResourceName
}

text! {
    /// The version of one resource, or of one state-of-the-world response. Compared for equality only. Cheap to clone.
    Version
}

text! {
    /// Ties a request to the response it answers. Empty on the wire means "answers none".
    Nonce
}

text! {
    /// `Node.id`: the name under which a client introduces itself.
    NodeId
}

impl Version {
    /// The version of content: 16 hexadecimal digits of XXH3-64. Equal bytes have equal versions in every process.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(xxhash_rust::xxh3::xxh3_64(bytes))
    }

    /// The version that stands for a hash made elsewhere.
    #[must_use]
    pub fn from_hash(hash: u64) -> Self {
        Self(Arc::from(format!("{hash:016x}")))
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn version_is_content() {
        assert_eq!(Version::of(b"a"), Version::of(b"a"));
        assert_ne!(Version::of(b"a"), Version::of(b"b"));
        assert_eq!(Version::of(b"").as_str(), "2d06800538d394c2"); // the published XXH3-64 of nothing
    }
}
