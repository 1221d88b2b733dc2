//! Texts that serde reads as keys and as variants.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};

use super::fault::Fault;

/// Reads a key, also where the model wants a number.
pub(super) struct KeyReader<'a>(pub(super) &'a str);

macro_rules! number_keys {
    ($($method:ident $visit:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.0.parse() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(Fault::new(format!("the key {:?} must be a number", self.0))),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for KeyReader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.0)
    }

    number_keys!(deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64);

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The variant of an enum without content.
pub(super) struct Variant<'a>(pub(super) &'a str);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Fault;
    type Variant = Unit;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Unit), Fault> {
        seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(self.0)).map(|value| (value, Unit))
    }
}

/// That an enum's variant has no content.
pub(super) struct Unit;

impl<'de> VariantAccess<'de> for Unit {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Fault> {
        Err(Fault::new("expected a plain value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        Err(Fault::new("expected a plain value"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Fault> {
        Err(Fault::new("expected a plain value"))
    }
}
