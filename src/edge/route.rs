//! What a path asks for.

use std::borrow::Cow;

use pingora::http::RequestHeader;

use super::fail::Refusal;
use crate::observe::metrics::Reason;
use crate::rules::asset_key;
use crate::rules::tile::TileId;

/// The prefix of assets, as it stands in canonical keys.
pub const ASSETS: &str = "edge/assets/";
/// The prefix of blobs by hash.
pub const BLOBS: &str = "edge/cas/b3/";

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Is the process there, is it ready.
    Probe(Probe),
    /// Something in a store; the canonical path without its leading slash.
    Key(Cow<'a, str>),
}

/// A question of a load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `/healthz`: the process answers.
    Health,
    /// `/readyz`: every condition of readiness holds.
    Ready,
}

/// The path of a request target, as it was sent: without a query, a fragment, or the scheme and authority of the absolute form.
pub fn raw_path(request: &RequestHeader) -> &[u8] {
    let target = request.raw_path();
    let end = target.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(target.len());
    let path = target.get(..end).unwrap_or_default();
    match path.first() {
        Some(b'/') | None => path,
        // RFC 9112 §3.2.2: a server must take the absolute form too. Pingora has compared its authority with Host.
        _ => after_authority(path),
    }
}

fn after_authority(path: &[u8]) -> &[u8] {
    let Some(scheme) = path.windows(3).position(|w| w == b"://") else { return path };
    let rest = path.get(scheme + 3..).unwrap_or_default();
    match rest.iter().position(|b| *b == b'/') {
        Some(slash) => rest.get(slash..).unwrap_or_default(),
        None => b"/",
    }
}

/// The probe that a path is.
pub fn probe(path: &[u8]) -> Option<Probe> {
    match path {
        b"/healthz" => Some(Probe::Health),
        b"/readyz" => Some(Probe::Ready),
        _ => None,
    }
}

/// Where a request goes; a path outside every route is refused.
pub fn target(request: &RequestHeader) -> Result<Target<'_>, Refusal> {
    let path = raw_path(request);
    if let Some(probe) = probe(path) {
        return Ok(Target::Probe(probe));
    }
    if matches!(path, b"/" | b"*") {
        return Err(Refusal::new(Reason::NotFound));
    }
    let key = asset_key::canonical(path.strip_prefix(b"/").ok_or(Refusal::new(Reason::BadPath))?)?;
    if key.starts_with(ASSETS) || key.starts_with(BLOBS) {
        Ok(Target::Key(key))
    } else {
        Err(Refusal::new(Reason::NotFound))
    }
}

/// The tile that `z`, `x` and `y[.ext]` name: `Ok(None)` for a place that doesn't exist, an error for what is no number.
pub fn tile<'a>(z: &str, x: &str, y: &'a str) -> Result<Option<(TileId, Option<&'a str>)>, Refusal> {
    let (y, extension) = match y.split_once('.') {
        Some((y, extension)) => (y, Some(extension)),
        None => (y, None),
    };
    let (z, x, y) = (number(z)?, number(x)?, number(y)?);
    let (Some(z), Some(x), Some(y)) = (z.and_then(|z| u8::try_from(z).ok()), x, y) else { return Ok(None) };
    Ok(TileId::new(z, x, y).map(|tile| (tile, extension)))
}

/// A coordinate: digits without a leading zero, so that a tile has one URL. `Ok(None)` where it is larger than any tile's.
fn number(text: &str) -> Result<Option<u32>, Refusal> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { Ok(text.parse().ok()) } else { Err(Refusal::new(Reason::BadPath)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn request(target: &[u8]) -> RequestHeader {
        RequestHeader::build("GET", target, None).unwrap()
    }

    #[test]
    fn a_path_ends_at_its_query_and_its_fragment() {
        for (sent, path) in [
            ("/edge/assets/a?b=c", "/edge/assets/a"),
            ("/edge/assets/a?b#c", "/edge/assets/a"),
            ("/edge/assets/a", "/edge/assets/a"),
            ("http://h/edge/assets/a?b", "/edge/assets/a"),
            ("http://h", "/"),
            ("/", "/"),
        ] {
            assert_eq!(raw_path(&request(sent.as_bytes())), path.as_bytes(), "{sent}");
        }
    }

    #[test]
    fn only_the_routes_of_the_design_lead_anywhere() {
        for found in
            ["/edge/assets/a", "/edge/assets/t/1/2/3.mvt", "/edge/cas/b3/00", "/%65dge/assets/a", "/healthz", "/readyz"]
        {
            assert!(target(&request(found.as_bytes())).is_ok(), "{found}");
        }
        for lost in [
            "/",
            "/edge",
            "/edge/cas/x",
            "/metrics",
            "/edge/assets/",
            "/edge/assets//a",
            "/edge/assets/../x",
            "/healthz/x",
        ] {
            assert!(target(&request(lost.as_bytes())).is_err(), "{lost}");
        }
    }

    #[test]
    fn a_tile_address_is_a_place_nowhere_or_no_address() {
        assert_eq!(tile("3", "4", "5.mvt").unwrap(), Some((TileId::new(3, 4, 5).unwrap(), Some("mvt"))));
        assert_eq!(tile("0", "0", "0").unwrap(), Some((TileId::new(0, 0, 0).unwrap(), None)));
        for (z, x, y) in [
            ("3", "8", "0"),
            ("31", "0", "0"),
            ("300", "0", "0"),
            ("3", "99999999999999999999", "0"),
            ("3", "0", "8.png"),
        ] {
            assert_eq!(tile(z, x, y).unwrap(), None, "{z}/{x}/{y}");
        }
        for (z, x, y) in [
            ("a", "0", "0"),
            ("3", "-1", "0"),
            ("3", "+1", "0"),
            ("3", "01", "0"),
            ("", "0", "0"),
            ("3", "0", ".mvt"),
            ("3", "0", "1e2"),
            ("٣", "0", "0"),
        ] {
            assert!(tile(z, x, y).is_err(), "{z}/{x}/{y}");
        }
    }
}
