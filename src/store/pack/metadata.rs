//! The JSON metadata of packs: the few fields that TileJSON takes from it, read without building the rest.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::store::StoreError;

/// The most metadata, in bytes of JSON, before it is called too large: what is kept of it goes into each TileJSON.
pub const MAX_BYTES: u64 = 4 << 20;

/// The most values that `vector_layers` may consist of: each costs up to a hundred bytes of memory, for two of JSON.
const MAX_NODES: usize = 100_000;

/// What a pack says of itself in JSON; every field may be missing.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Metadata {
    /// Human-readable name.
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    /// Description.
    #[serde(default, deserialize_with = "text")]
    pub description: Option<String>,
    /// Attribution.
    #[serde(default, deserialize_with = "text")]
    pub attribution: Option<String>,
    /// Version of the data set.
    #[serde(default, deserialize_with = "text")]
    pub version: Option<String>,
    /// An array of objects, as it stands there; anything else is dropped.
    #[serde(default)]
    pub vector_layers: Option<serde_json::Value>,
}

impl Metadata {
    /// Read a JSON object. Fields that aren't text where text belongs are left out; numbers are taken as text.
    ///
    /// Errors: [`StoreError::TooLarge`] above [`MAX_BYTES`] or 100,000 values of `vector_layers`; [`StoreError::Corrupt`] where it
    /// isn't a JSON object.
    pub fn parse(json: &[u8]) -> Result<Self, StoreError> {
        if json.len() as u64 > MAX_BYTES {
            return Err(StoreError::TooLarge("metadata of more than 4 MiB".into()));
        }
        // The derived readers take an array for an object whose fields stand in order.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(StoreError::Corrupt("metadata: not a JSON object".into()));
        }
        let corrupt = |error: serde_json::Error| StoreError::Corrupt(format!("metadata: {error}").into());
        // Counted before it is built.
        let size: Size = serde_json::from_slice(json).map_err(corrupt)?;
        if size.vector_layers.0 > MAX_NODES {
            return Err(StoreError::TooLarge("vector_layers of more than 100,000 values".into()));
        }
        let mut metadata: Self = serde_json::from_slice(json).map_err(corrupt)?;
        metadata.vector_layers = metadata.vector_layers.filter(is_array_of_objects);
        Ok(metadata)
    }
}

fn is_array_of_objects(value: &serde_json::Value) -> bool {
    value.as_array().is_some_and(|layers| layers.iter().all(serde_json::Value::is_object))
}

#[derive(Deserialize)]
struct Size {
    #[serde(default)]
    vector_layers: Nodes,
}

/// The number of values that a JSON value consists of.
#[derive(Default)]
struct Nodes(usize);

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Count)
    }
}

struct Count;

impl<'de> Visitor<'de> for Count {
    type Value = Nodes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Nodes, E> {
        Ok(Nodes(1))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Nodes, E> {
        Ok(Nodes(1))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Nodes, E> {
        Ok(Nodes(1))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Nodes, E> {
        Ok(Nodes(1))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Nodes, E> {
        Ok(Nodes(1))
    }

    fn visit_str<E>(self, _: &str) -> Result<Nodes, E> {
        Ok(Nodes(1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Nodes, A::Error> {
        let mut nodes = 1;
        while let Some(Nodes(n)) = seq.next_element()? {
            nodes += n;
        }
        Ok(Nodes(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Nodes, A::Error> {
        let mut nodes = 1;
        while let Some((_, Nodes(n))) = map.next_entry::<IgnoredAny, Nodes>()? {
            nodes += 1 + n;
        }
        Ok(Nodes(nodes))
    }
}

/// Text, or a number as text; `None` for anything else, which is skipped without being built.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_any(Text)
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(value.to_owned()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_of_any_type_are_read_or_left_out_but_never_an_error() {
        let metadata = Metadata::parse(
            br#"{"name":"Basemap","version":4.5,"description":{"a":[1]},"attribution":null,
                "vector_layers":[{"id":"water","fields":{}}],"tilestats":{"layers":[1,2,3]}}"#,
        )
        .unwrap();
        assert_eq!(metadata.name.as_deref(), Some("Basemap"));
        assert_eq!(metadata.version.as_deref(), Some("4.5"));
        assert_eq!((metadata.description, metadata.attribution), (None, None));
        assert_eq!(metadata.vector_layers.unwrap()[0]["id"], "water");
        for dropped in [r#"{"vector_layers":"x"}"#, r#"{"vector_layers":[1]}"#, r#"{"vector_layers":null}"#, "{}"] {
            assert_eq!(Metadata::parse(dropped.as_bytes()).unwrap(), Metadata::default(), "{dropped}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_corrupt() {
        for bad in ["", "[]", "7", "{", r#"{"name":}"#, "\u{0}"] {
            assert!(matches!(Metadata::parse(bad.as_bytes()), Err(StoreError::Corrupt(_))), "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(Metadata::parse(format!("{{\"x\":{deep}").as_bytes()), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn vector_layers_that_would_swell_in_memory_are_refused_before_they_are_built() {
        let swelling = format!(r#"{{"vector_layers":[{}{{}}]}}"#, "{},".repeat(200_000));
        assert!(matches!(Metadata::parse(swelling.as_bytes()), Err(StoreError::TooLarge(_))));
        // The same amount where nothing is kept is no problem.
        let ignored = format!(r#"{{"tilestats":[{}{{}}]}}"#, "{},".repeat(200_000));
        assert!(Metadata::parse(ignored.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Metadata::parse(&bytes);
        }
    }
}
