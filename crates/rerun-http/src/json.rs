//! How JSON is read.

use std::fmt;
use std::marker::PhantomData;

use rerun_files::sniff;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads a JSON object; the error says where it is not what it should be.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if let Some(what) = sniff::not_json(bytes) {
        return Err(format!("the body must be JSON in UTF-8; {what}"));
    }
    let bytes = bytes.strip_prefix(sniff::UTF_8_MARK).unwrap_or(bytes);
    // Read from bytes, fields that are ignored could hold what is no UTF-8.
    let text =
        str::from_utf8(bytes).map_err(|error| format!("the body is malformed JSON: {error}"))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let body: Object<T> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() && path != "." {
            format!("`{path}`: {error}")
        } else if error.is_data() {
            format!("the body: {error}")
        } else {
            format!("the body is malformed JSON: {error}")
        }
    })?;
    json.end()
        .map_err(|error| format!("the body is malformed JSON: {error}"))?;
    Ok(body.0)
}

/// A struct that is read from a JSON object alone: left to itself serde takes an array, too.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer
            .deserialize_map(ObjectVisitor(PhantomData))
            .map(Self)
    }
}

/// A JSON integer. One that 64 bits cannot hold is the nearest that they can: it is out of every
/// range that such a number has here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Integer(pub(crate) i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;

        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_i64<E>(self, value: i64) -> Result<Integer, E> {
                Ok(Integer(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Integer, E> {
                Ok(Integer(i64::try_from(value).unwrap_or(i64::MAX)))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Integer, E> {
                // Integers of more than 64 bits arrive as floating point numbers.
                const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
                if value >= TWO_POW_63 {
                    Ok(Integer(i64::MAX))
                } else if value <= -TWO_POW_63 {
                    Ok(Integer(i64::MIN))
                } else if value.fract() == 0.0 {
                    // To JSON Schema `5.0` is an integer, and some clients write it so.
                    let whole = format!("{value:.0}").parse();
                    whole.map(Integer).map_err(E::custom)
                } else {
                    Err(E::invalid_type(de::Unexpected::Float(value), &self))
                }
            }
        }

        deserializer.deserialize_i64(IntegerVisitor)
    }
}
