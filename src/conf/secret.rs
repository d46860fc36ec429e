//! Secrets: taken from a variable or a file when the conf is loaded, and never printed again, not even when they are wrong.

use std::fmt;
use std::path::Path;

use super::kind::Kind;
use super::outside::{Outside, read_regular};
use super::value::{Converted, Wrong, echo, text};
use super::yaml::{Node, Value};

/// Bound on a secret, in bytes: no header block of an origin's would take more.
const MAX_BYTES: u64 = 8 << 10;
/// The shortest token that may guard the admin listener, in bytes.
const MIN_TOKEN: usize = 16;

/// A text that only its user sees: `Debug` doesn't show it.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keep `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the secret, in a time that doesn't depend on where the two differ.
    pub fn matches(&self, given: &[u8]) -> bool {
        // The crate compares hashes in constant time.
        blake3::hash(self.0.as_bytes()) == blake3::hash(given)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A token: of a variable or a file, as a conf is no place for one.
pub(super) fn token(outside: &Outside, _: &Kind, node: &Node) -> Converted<Secret> {
    if let Value::Scalar(_) = node.value {
        return Err(Wrong::new(node, "is written into the conf"));
    }
    let Some(token) = elsewhere(outside, node)? else { return Ok(Secret::new("")) };
    let wrong = |why: &str| Err(Wrong::new(node, format!("{} {why}", source(node))));
    match token {
        token if token.len() < MIN_TOKEN => wrong(&format!("is shorter than {MIN_TOKEN} bytes")),
        token if !token.bytes().all(|byte| byte.is_ascii_graphic()) => wrong("has more than visible ASCII"),
        token => Ok(Secret::new(token)),
    }
}

/// The value of a field (RFC 9110 §5.5, visible ASCII with spaces inside): as it stands, or of a variable or a file.
pub(super) fn field(outside: &Outside, node: &Node) -> Converted<Secret> {
    let value = match &node.value {
        Value::Scalar(text) => text.clone(),
        _ => match elsewhere(outside, node)? {
            Some(value) => value,
            None => return Ok(Secret::new("")),
        },
    };
    let visible = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if value.is_empty() || !visible || value.trim() != value {
        return Err(Wrong::new(node, format!("{} is no field value", source(node))));
    }
    Ok(Secret::new(value))
}

/// What a `{env: NAME}` or `{file: PATH}` stands for; `None` where nothing outside the conf is read.
fn elsewhere(outside: &Outside, node: &Node) -> Converted<Option<String>> {
    let wrong = |why: String| Wrong::new(node, why);
    let Value::Map(entries) = &node.value else {
        return Err(wrong(if node.value == Value::Null { "has no value" } else { "is a list" }.into()));
    };
    let [entry] = entries.as_slice() else { return Err(wrong("has not one of `env` and `file` alone".into())) };
    let named = text(&Kind::Path, &entry.node)?;
    match entry.key.as_str() {
        // What is no name may be the secret itself.
        "env" if !is_name(named) => Err(wrong("has an `env` that is no name of a variable".into())),
        "env" if outside.read => outside.variable(named).map(|value| Some(value.to_owned())).map_err(wrong),
        "file" if outside.read => file(Path::new(named)).map(Some).map_err(wrong),
        "env" | "file" => Ok(None),
        _ => Err(wrong("has neither `env` nor `file`".into())),
    }
}

/// The text of a file, without the newline that editors put at its end.
fn file(path: &Path) -> Result<String, String> {
    let name = echo(&path.to_string_lossy());
    let bytes = read_regular(path, MAX_BYTES).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("`{name}` is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Where a secret came from, for an error that can't repeat it.
fn source(node: &Node) -> String {
    match &node.value {
        Value::Map(entries) => match entries.first() {
            Some(entry) => match &entry.node.value {
                Value::Scalar(name) if entry.key == "env" => format!("the variable `{}`", echo(name)),
                Value::Scalar(name) => format!("the text of `{}`", echo(name)),
                _ => "the value".into(),
            },
            None => "the value".into(),
        },
        _ => "the value".into(),
    }
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_secret_is_compared_and_never_shown() {
        let secret = Secret::new("correct horse");
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "Secret(…) Some(\n    Secret(…),\n)");
        assert!(secret.matches(b"correct horse") && secret.expose() == "correct horse");
        for other in [&b""[..], b"correct hors", b"correct horse ", b"Correct horse"] {
            assert!(!secret.matches(other));
        }
        assert_ne!(secret, Secret::new("another"));
    }
}
