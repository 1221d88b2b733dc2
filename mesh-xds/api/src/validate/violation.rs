//! What is wrong, where, and by which rule.

use std::fmt;

/// The most violations that are told of one message; the check ends with the last of them.
pub const MAX_VIOLATIONS: usize = 16;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Full name of the message that states the rule, such as `envoy.config.core.v3.SocketAddress`.
    pub message: &'static str,
    /// The field from the outermost message on, named as in the `.proto` files:
    /// `load_assignment.endpoints[0].lb_endpoints[2].endpoint.address`, `metadata.filter_metadata["k"]`. The content of
    /// an `Any` has the path of the `Any`. The path of a `oneof` ends in its name.
    pub path: String,
    /// The option that states the rule, such as `string.min_len`, `message.required`, `oneof.required`,
    /// `repeated.items.uint32.lte`. Two are no options: `wire` (the bytes are no message) and `depth`.
    pub rule: &'static str,
    /// The rule in words: `must not be empty`.
    pub reason: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)?;
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why a message must not be sent: at least one [`Violation`], at most [`MAX_VIOLATIONS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations {
    list: Vec<Violation>,
    truncated: bool,
}

impl Violations {
    /// `None` where nothing was found.
    pub(super) fn of(list: Vec<Violation>, truncated: bool) -> Option<Self> {
        (!list.is_empty()).then_some(Self { list, truncated })
    }

    /// The violations: the elements of lists as they come, then by field number.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.list
    }

    /// Whether there may be more than were kept.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Violations {
    type Item = &'a Violation;
    type IntoIter = std::slice::Iter<'a, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            violation.fmt(f)?;
        }
        if self.truncated { f.write_str("; and perhaps more") } else { Ok(()) }
    }
}

impl std::error::Error for Violations {}
