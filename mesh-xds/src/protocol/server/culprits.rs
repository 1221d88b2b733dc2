//! Which resources of a push a refusal means.

use crate::ResourceName;

/// The resources of a push that a client's message names, by their place. Clients that know better than "all or nothing" say
/// so in words only: there is no field for it.
#[derive(Debug)]
pub(super) struct Culprits(Vec<bool>);

impl Culprits {
    /// The names come with whether they can be meant.
    pub(super) fn of<'a>(message: &str, names: impl Iterator<Item = (&'a ResourceName, bool)>) -> Self {
        let by_place = places(message);
        let named = |(index, (name, possible)): (usize, (&ResourceName, bool))| {
            possible && (by_place.contains(&index) || mentions(message, name.as_str()))
        };
        Self(names.enumerate().map(named).collect())
    }

    /// Whether the message names the resource at `index`.
    pub(super) fn is_named(&self, index: usize) -> bool {
        self.0.get(index).copied().unwrap_or_default()
    }

    /// Whether the message names any.
    pub(super) fn any_named(&self) -> bool {
        self.0.contains(&true)
    }

    /// Whether the resource at `index` is refused: it is named, or none is.
    pub(super) fn has(&self, index: usize) -> bool {
        self.is_named(index) || !self.any_named()
    }
}

/// gRPC's JavaScript client has no name in its message, but says `resource index N:`, which is the place in the response.
fn places(message: &str) -> Vec<usize> {
    let number = |text: &str| text.split_once(':')?.0.parse().ok();
    message.split("resource index ").skip(1).filter_map(number).collect()
}

/// Whether `text` has `name` as a whole, not as a part of another name.
fn mentions(text: &str, name: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || "-_/|~".contains(c);
    text.match_indices(name).any(|(at, _)| {
        let mut before = text[..at].chars().rev();
        let mut after = text[at + name.len()..].chars();
        // A dot ends a sentence, or joins the parts of a name.
        let joins = |next: Option<char>, then: Option<char>| match next {
            Some('.') => then.is_some_and(goes_on),
            next => next.is_some_and(goes_on),
        };
        !joins(before.next(), before.next()) && !joins(after.next(), after.next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_mentioned_as_a_whole() {
        for text in ["a.b", "Error adding listener(s) a.b: no", "[a.b]", "cluster a.b.", "x, a.b, y", "\"a.b\""] {
            assert!(mentions(text, "a.b"), "{text}");
        }
        for text in ["", "a-b", "a.b.c", "x.a.b", "outbound|80||a.b", "a.bb", "a.b/c a.b-1"] {
            assert!(!mentions(text, "a.b"), "{text}");
        }
        assert!(mentions("a.b.c is bad, and so is a.b", "a.b"));
    }
}
