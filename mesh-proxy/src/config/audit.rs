//! No field is ignored silently.
//!
//! Generated types drop what they do not know, and a translator reads only what it knows. So what arrives is compared, on
//! its bytes, with tables written beside the translators: a field that is set and in no table is refused with its path.

mod compile;

use std::{collections::HashMap, fmt::Write as _, sync::OnceLock};

use mesh_xds_api::any::Any;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::FieldError;

/// Errors reported for one resource at most.
pub const MAX_FIELDS: usize = 16;
/// Messages inside each other at most, `Any` included.
const MAX_DEPTH: usize = 100;

/// What is carried of one message. Made by [`supported!`](crate::supported).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTable {
    /// Full name of the message.
    pub message: &'static str,
    /// Fields that do what the API says.
    pub carried: &'static [&'static str],
    /// Fields that are taken only with some values, and which.
    pub limited: &'static [(&'static str, &'static str)],
    /// Fields that may be set to anything, and why that changes nothing here.
    pub irrelevant: &'static [(&'static str, &'static str)],
}

/// Tables of supported fields, one for each message: a `static` slice of [`MessageTable`].
///
/// ```
/// mesh_proxy::supported! {
///     /// Tables of an imagined filter.
///     pub static ROUTER =
///     envoy.extensions.filters.http.router.v3.Router {
///         irrelevant: start_child_span = "there is no tracing";
///     }
/// }
/// ```
#[macro_export]
macro_rules! supported {
    ($(#[$doc:meta])* $vis:vis static $name:ident = $(
        $first:ident $(. $part:ident)* {
            $(carried: $($carried:ident),+ $(,)?;)?
            $(limited: $($limited:ident = $only:expr),+ $(,)?;)?
            $(irrelevant: $($irrelevant:ident = $why:expr),+ $(,)?;)?
        }
    )*) => {
        $(#[$doc])*
        $vis static $name: &[$crate::config::MessageTable] = &[$(
            $crate::config::MessageTable {
                message: concat!(stringify!($first) $(, ".", stringify!($part))*),
                carried: &[$($(stringify!($carried)),+)?],
                limited: &[$($((stringify!($limited), $only)),+)?],
                irrelevant: &[$($((stringify!($irrelevant), $why)),+)?],
            }
        ),*];
    };
}

/// The tables against which messages of one kind are compared. Compiled on first use; meant to be a `static`.
///
/// Where several tables speak of the same message, the first one counts.
#[derive(Debug)]
pub struct Audit {
    tables: &'static [&'static [MessageTable]],
    compiled: OnceLock<Compiled>,
}

#[derive(Debug, Default)]
struct Compiled {
    by_name: HashMap<&'static str, usize>,
    messages: Vec<HashMap<u32, Field>>,
}

#[derive(Debug)]
struct Field {
    name: String,
    repeated: bool,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    /// Nothing inside needs a look.
    Leaf,
    Message(usize),
    Any,
    /// A map; what its values are.
    Map(Box<Verdict>),
    /// Refused when set; a scalar without presence counts as set only when it is not zero.
    Refused {
        presence: bool,
    },
}

impl Audit {
    /// Compares with these tables.
    #[must_use]
    pub const fn new(tables: &'static [&'static [MessageTable]]) -> Self {
        Self { tables, compiled: OnceLock::new() }
    }

    /// Compares what is in `any` with the tables.
    ///
    /// An `Any` inside is compared as well if there is a table of its type; if there is none, it is left to whoever unpacks
    /// it.
    ///
    /// # Errors
    /// The fields which are set and not supported, [`MAX_FIELDS`] at most; or that the bytes are malformed.
    pub fn check(&self, any: &Any) -> Result<(), Vec<FieldError>> {
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        let compiled = self.compiled.get_or_init(|| compile::compile(self.tables));
        let Some(&message) = compiled.by_name.get(name) else {
            return Err(vec![FieldError::new("", format!("{name} is not carried"))]);
        };
        let mut walk = Walk { compiled, path: Vec::new(), errors: Vec::new() };
        if walk.message(message, &any.value).is_err() && walk.errors.is_empty() {
            walk.error("cannot be decoded");
        }
        if walk.errors.is_empty() { Ok(()) } else { Err(walk.errors) }
    }

    /// As [`check`](Self::check), the first error only: what a filter's factory needs.
    ///
    /// # Errors
    /// As `check`.
    pub fn check_first(&self, any: &Any) -> Result<(), FieldError> {
        self.check(any).map_err(|mut errors| errors.swap_remove(0))
    }

    /// The tables in force, in order, each message once.
    pub(crate) fn messages(&self) -> Vec<&'static MessageTable> {
        let mut seen: Vec<&MessageTable> = Vec::new();
        for table in self.tables.iter().copied().flatten() {
            if !seen.iter().any(|known| known.message == table.message) {
                seen.push(table);
            }
        }
        seen
    }
}

/// Well-known types are values, not messages with fields to look into.
fn is_plain(name: &str) -> bool {
    name.starts_with("google.protobuf.")
}

/// Names of fields on the way from the resource, and their position or key.
struct Walk<'c> {
    compiled: &'c Compiled,
    path: Vec<(&'c str, Place)>,
    errors: Vec<FieldError>,
}

#[derive(Clone)]
enum Place {
    Single,
    Index(usize),
    Key(String),
}

/// The bytes are no message.
struct Malformed;

impl<'c> Walk<'c> {
    fn message(&mut self, at: usize, mut bytes: &[u8]) -> Result<(), Malformed> {
        if self.path.len() > MAX_DEPTH {
            self.error("is nested too deeply");
            return Ok(());
        }
        let fields = &self.compiled.messages[at];
        let mut counts: HashMap<u32, usize> = HashMap::new();
        while !bytes.is_empty() && self.errors.len() < MAX_FIELDS {
            let (number, value) = next_field(&mut bytes)?;
            let Some(field) = fields.get(&number) else {
                self.path.push(("", Place::Key(format!("#{number}"))));
                self.error("is a field this version does not know");
                self.path.pop();
                continue;
            };
            let place = if field.repeated {
                let count = counts.entry(number).or_default();
                *count += 1;
                Place::Index(*count - 1)
            } else {
                Place::Single
            };
            self.path.push((&field.name, place));
            let result = self.field(&field.verdict, value);
            self.path.pop();
            result?;
        }
        Ok(())
    }

    fn field(&mut self, verdict: &'c Verdict, value: Wire<'_>) -> Result<(), Malformed> {
        match (verdict, value) {
            (Verdict::Leaf, _) => Ok(()),
            (Verdict::Refused { presence: false }, value) if value.is_zero() => Ok(()),
            (Verdict::Refused { .. }, _) => {
                self.error("is not carried");
                Ok(())
            }
            (Verdict::Message(at), Wire::Bytes(bytes)) => self.message(*at, bytes),
            (Verdict::Any, Wire::Bytes(bytes)) => self.any(bytes),
            (Verdict::Map(values), Wire::Bytes(bytes)) => self.entry(values, bytes),
            (_, Wire::Number(_)) => Err(Malformed),
        }
    }

    fn any(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        let (mut name, mut inner): (&[u8], &[u8]) = (&[], &[]);
        while !bytes.is_empty() {
            match next_field(&mut bytes)? {
                (1, Wire::Bytes(url)) => name = url,
                (2, Wire::Bytes(value)) => inner = value,
                _ => {}
            }
        }
        let name = std::str::from_utf8(name).map_err(|_| Malformed)?.rsplit('/').next().unwrap_or_default();
        match self.compiled.by_name.get(name) {
            Some(at) => self.message(*at, inner),
            None => Ok(()),
        }
    }

    fn entry(&mut self, values: &'c Verdict, mut bytes: &[u8]) -> Result<(), Malformed> {
        let (mut key, mut value) = (String::new(), Wire::Bytes(&[]));
        while !bytes.is_empty() {
            match next_field(&mut bytes)? {
                (1, Wire::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                (1, Wire::Number(number)) => key = number.to_string(),
                (2, found) => value = found,
                _ => {}
            }
        }
        if let Some((_, place)) = self.path.last_mut() {
            *place = Place::Key(format!("{key:?}"));
        }
        self.field(values, value)
    }

    fn error(&mut self, reason: &str) {
        let mut path = String::new();
        for (name, place) in &self.path {
            if !path.is_empty() && !name.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            // Writing to a String cannot fail.
            let _ = match place {
                Place::Single => Ok(()),
                Place::Index(at) => write!(path, "[{at}]"),
                Place::Key(key) => write!(path, "[{key}]"),
            };
        }
        self.errors.push(FieldError::new(path, reason));
    }
}

/// A value on the wire.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Wire<'_> {
    fn is_zero(self) -> bool {
        match self {
            Wire::Number(number) => number == 0,
            Wire::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

fn next_field<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Wire<'a>), Malformed> {
    let (number, wire_type) = decode_key(bytes).map_err(|_| Malformed)?;
    let value = match wire_type {
        WireType::Varint => Wire::Number(decode_varint(bytes).map_err(|_| Malformed)?),
        WireType::SixtyFourBit => Wire::Number(u64::from_le_bytes(take(bytes)?)),
        WireType::ThirtyTwoBit => Wire::Number(u64::from(u32::from_le_bytes(take(bytes)?))),
        WireType::LengthDelimited => {
            let len = decode_varint(bytes).map_err(|_| Malformed)?;
            let (value, rest) =
                usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len)).ok_or(Malformed)?;
            *bytes = rest;
            Wire::Bytes(value)
        }
        // Groups are in no message of proto3.
        WireType::StartGroup | WireType::EndGroup => return Err(Malformed),
    };
    Ok((number, value))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (value, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    *bytes = rest;
    Ok(*value)
}

#[cfg(test)]
pub(crate) mod tests {
    use mesh_xds_api::{descriptor_pool, json};
    use proptest::prelude::*;
    use prost_reflect::Kind;
    use serde_json::json;

    use super::*;

    supported! {
        static TEST =
        envoy.config.listener.v3.Listener {
            carried: name, filter_chains, metadata;
            irrelevant: drain_type = "test";
        }
        envoy.config.listener.v3.FilterChain {
            carried: filters;
        }
        envoy.config.listener.v3.Filter {
            carried: name, typed_config;
        }
        envoy.config.core.v3.Metadata {
            carried: filter_metadata;
        }
        envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy {
            carried: cluster;
            limited: idle_timeout = "test";
        }
    }
    static AUDIT: Audit = Audit::new(&[TEST]);

    fn paths(value: serde_json::Value) -> Vec<String> {
        let any = json::any_from_value(&value).unwrap();
        AUDIT.check(&any).err().unwrap_or_default().into_iter().map(|e| e.path).collect()
    }

    fn listener(mut value: serde_json::Value) -> serde_json::Value {
        value["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
        value
    }

    #[test]
    fn set_and_in_no_table_is_refused_by_path() {
        let tcp = |extra: serde_json::Value| {
            let mut config = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "cluster": "c", "idle_timeout": "1s"});
            config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            listener(json!({"name": "l", "drain_type": "MODIFY_ONLY", "filter_chains": [{}, {"filters": [
                {"name": "f"}, {"name": "t", "typed_config": config}]}]}))
        };
        assert_eq!(paths(tcp(json!({}))), Vec::<String>::new());
        assert_eq!(
            paths(tcp(json!({"stat_prefix": "s", "tunneling_config": {"hostname": "h"}}))),
            [
                "filter_chains[1].filters[1].typed_config.stat_prefix",
                "filter_chains[1].filters[1].typed_config.tunneling_config"
            ]
        );
        assert_eq!(paths(listener(json!({"transparent": false}))), ["transparent"]);
        assert_eq!(paths(listener(json!({"reuse_port": false}))), Vec::<String>::new());
        let any = json!({"@type": "type.googleapis.com/envoy.config.core.v3.Address"});
        let metadata = json!({"metadata": {"filter_metadata": {"a": {"x": 1}}, "typed_filter_metadata": {"a": any}}});
        assert_eq!(paths(listener(metadata)), ["metadata.typed_filter_metadata"]);
    }

    #[test]
    fn unknown_numbers_and_types_are_refused() {
        let any = |type_url: &str, value: &'static [u8]| Any { type_url: type_url.into(), value: value.into() };
        let url = "type.googleapis.com/envoy.config.listener.v3.Listener";
        let errors = AUDIT.check(&any(url, &[0xfa, 0x7f, 0x01, b'x'])).unwrap_err();
        assert_eq!(errors[0].path, "[#2047]");
        assert!(AUDIT.check(&any("x/acme.Other", &[])).unwrap_err()[0].reason.contains("acme.Other"));
        assert_eq!(AUDIT.check(&any(url, &[0x0a, 0x7f])).unwrap_err()[0].reason, "cannot be decoded");
    }

    proptest! {
        #[test]
        fn any_bytes_end_well(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let url = "type.googleapis.com/envoy.config.listener.v3.Listener".to_owned();
            let _ = AUDIT.check(&Any { type_url: url, value: bytes.into() });
        }
    }

    /// Every name in the tables exists, and every message below a supported field has a table.
    pub(crate) fn assert_complete(audit: &Audit, root: &str) {
        let tables = audit.messages();
        // Those inside an Any are reached from no field.
        let mut todo: Vec<String> = tables.iter().map(|table| table.message.to_owned()).collect();
        todo.push(root.to_owned());
        let mut seen = std::collections::HashSet::new();
        while let Some(name) = todo.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let table = tables.iter().find(|t| t.message == name).unwrap_or_else(|| panic!("no table for {name}"));
            let message = descriptor_pool().get_message_by_name(&name).unwrap_or_else(|| panic!("no message {name}"));
            let names = table.carried.iter().chain(table.limited.iter().map(|(f, _)| f));
            for field in names {
                let field = message.get_field_by_name(field).unwrap_or_else(|| panic!("{name} has no {field}"));
                let kind = match field.kind() {
                    Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
                    kind => kind,
                };
                if let Kind::Message(inner) = kind
                    && !is_plain(inner.full_name())
                {
                    todo.push(inner.full_name().to_owned());
                }
            }
            for (field, _) in table.irrelevant {
                assert!(message.get_field_by_name(field).is_some(), "{name} has no {field}");
            }
        }
    }
}
