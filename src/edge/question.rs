//! What a canonical key asks of which store, and the store's answer. A pack's name claims its archive, its TileJSON and its tiles;
//! every other path is the CAS's.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, header};
use pingora::http::RequestHeader;
use tokio::sync::Semaphore;

use super::fail::Refusal;
use super::ready::{Presentation, Source};
use super::route::{self, ASSETS, BLOBS};
use super::settings::Settings;
use crate::conf::MissingTile;
use crate::observe::metrics::{HitKind, Reason, Route};
use crate::rules::encoding::Coding;
use crate::rules::tile::TileId;
use crate::rules::tilejson;
use crate::store::cas::Cas;
use crate::store::pack::Tile;
use crate::store::pack::mounts::{Mount, Mounts};
use crate::store::{Body, Object, StoreError};

/// `Cache-Control` of a blob by its hash: it can never be another.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// A request that is looked up.
pub struct Asked<'a> {
    pub request: &'a RequestHeader,
    /// Its canonical path without the leading slash.
    pub key: &'a str,
    /// The address it came to.
    pub local: Option<std::net::SocketAddr>,
    /// The scheme of URLs that lead to it by the same way.
    pub scheme: &'static str,
}

/// Whose a key is.
pub enum Place {
    /// The path of an asset that no pack claims: the CAS's, or an origin's. See `asset`.
    Asset(String),
    /// Something that one store alone can have.
    Store(Question),
}

/// What a key asks of which store.
pub enum Question {
    /// A blob by its hash.
    Blob(blake3::Hash),
    /// A tile of a pack.
    Tile(Arc<Mount>, TileId),
    /// The raw archive of a pack.
    Archive(Arc<Mount>),
    /// The TileJSON of a pack.
    TileJson {
        /// The pack.
        mount: Arc<Mount>,
        /// Its tiles' URL template.
        tiles: String,
        /// The template doesn't depend on the request.
        constant: bool,
    },
    /// A place that no pack has.
    Nowhere(Route),
}

/// What a store answers.
pub enum Answer {
    Object(Object),
    /// A tile that is absent where absence is an answer.
    NoContent,
    Nothing,
}

impl Place {
    /// What a request asks.
    pub fn of(asked: &Asked, mounts: &Mounts, settings: &Settings) -> Result<Self, Refusal> {
        let key = asked.key;
        if let Some(hex) = key.strip_prefix(BLOBS) {
            // Lower case only: a blob has one URL.
            let canonical = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            let hash = canonical.then(|| blake3::Hash::from_hex(hex).ok()).flatten();
            return Ok(Self::Store(hash.map_or(Question::Nowhere(Route::Blob), Question::Blob)));
        }
        let path = key.strip_prefix(ASSETS).ok_or_else(|| Refusal::new(Reason::NotFound))?;
        if let Some((name, rest)) = path.split_once('/') {
            let mut parts = rest.split('/');
            if let (Some(z), Some(x), Some(y), None) = (parts.next(), parts.next(), parts.next(), parts.next())
                && let Some(mount) = mounts.get(name)
            {
                return Ok(Self::Store(Question::tile(mount, route::tile(z, x, y)?)));
            }
        } else if let Some(mount) = path.strip_suffix(".pmtiles").and_then(|name| mounts.get(name)) {
            return Ok(Self::Store(Question::Archive(mount)));
        } else if let Some(name) = path.strip_suffix(".json")
            && let Some(mount) = mounts.get(name)
        {
            let (base, constant) = base_url(settings, asked);
            let extension = mount.facts().map(|facts| facts.tile_type.extensions()).unwrap_or_default().first();
            let extension = extension.map(|extension| format!(".{extension}")).unwrap_or_default();
            let tiles = format!("{base}/{ASSETS}{name}/{{z}}/{{x}}/{{y}}{extension}");
            return Ok(Self::Store(Question::TileJson { mount, tiles, constant }));
        }
        Ok(Self::Asset(path.to_owned()))
    }

    /// The route it came by.
    pub fn route(&self) -> Route {
        match self {
            Self::Asset(_) => Route::Asset,
            Self::Store(question) => question.route(),
        }
    }
}

impl Question {
    fn tile(mount: Arc<Mount>, address: Option<(TileId, Option<&str>)>) -> Self {
        let Some((tile, extension)) = address else { return Self::Nowhere(Route::Tile) };
        // A pack that is out of service says so itself, whatever was asked of it.
        let known = |extension| mount.facts().is_none_or(|facts| facts.tile_type.extensions().contains(&extension));
        if extension.is_none_or(known) { Self::Tile(mount, tile) } else { Self::Nowhere(Route::Tile) }
    }

    /// The route it came by.
    pub fn route(&self) -> Route {
        match self {
            Self::Blob(_) => Route::Blob,
            Self::Tile(..) => Route::Tile,
            Self::Archive(_) => Route::Archive,
            Self::TileJson { .. } => Route::TileJson,
            Self::Nowhere(route) => *route,
        }
    }

    /// Whether the answer may be kept: it is the same for the next request of this key.
    pub fn constant(&self) -> bool {
        !matches!(self, Self::TileJson { constant: false, .. })
    }

    /// The places of the pack that it asks, so that one pack can't take all.
    pub fn places(&self) -> Option<Arc<Semaphore>> {
        match self {
            Self::Tile(mount, _) | Self::Archive(mount) | Self::TileJson { mount, .. } => Some(mount.places().clone()),
            Self::Blob(_) | Self::Nowhere(_) => None,
        }
    }

    /// Ask. May block on a disk, a database or on hashing.
    pub fn ask(&self, cas: &Cas) -> Result<Answer, StoreError> {
        let object = |found: Option<Object>| found.map_or(Answer::Nothing, Answer::Object);
        match self {
            Self::Blob(hash) => cas.blob(hash).map(object),
            Self::Archive(mount) => mount.archive().map(object),
            Self::TileJson { mount, tiles, .. } => tile_json(mount, tiles).map(Answer::Object),
            Self::Nowhere(_) => Ok(Answer::Nothing),
            Self::Tile(mount, tile) => Ok(match mount.tile(*tile)? {
                Tile::Found(object) => Answer::Object(object),
                Tile::OutsideZoom => Answer::Nothing,
                Tile::Absent => match mount.conf().missing_tile {
                    MissingTile::NoContent => Answer::NoContent,
                    MissingTile::NotFound => Answer::Nothing,
                    MissingTile::Auto if mount.facts().is_some_and(|facts| facts.tile_type.is_vector()) => {
                        Answer::NoContent
                    }
                    MissingTile::Auto => Answer::Nothing,
                },
            }),
        }
    }

    /// How the answer is presented. `coding` is the one it is stored in.
    pub fn presentation(&self, settings: &Settings, coding: Coding) -> Presentation {
        let (kind, cache_control) = match self {
            Self::Blob(_) => (HitKind::Cas, IMMUTABLE),
            Self::Tile(mount, _) | Self::Archive(mount) | Self::TileJson { mount, .. } => {
                let own = mount.conf().cache_control.as_deref().and_then(|text| HeaderValue::try_from(text).ok());
                (HitKind::Pack, own.unwrap_or_else(|| settings.cache_control.clone()))
            }
            Self::Nowhere(_) => (HitKind::Pack, settings.cache_control.clone()),
        };
        Presentation { route: self.route(), kind, cache_control, negotiable: coding != Coding::Identity, ranges: true }
    }

    /// What the answer's being valid depends on. Call it before [`Question::ask`].
    pub fn source(&self, cas: &Arc<Cas>) -> Source {
        let stamp = match self {
            Self::Tile(mount, _) | Self::Archive(mount) | Self::TileJson { mount, .. } => {
                return Source::Mount(mount.clone());
            }
            Self::Blob(hash) => cas.stamp_blob(hash),
            Self::Nowhere(_) => cas.stamp(""),
        };
        Source::Cas { cas: cas.clone(), stamp, recency: None }
    }
}

fn tile_json(mount: &Mount, tiles: &str) -> Result<Object, StoreError> {
    let facts = mount.facts().ok_or(StoreError::Changed)?;
    let body = Bytes::from(tilejson::document(facts, tiles));
    let hash = blake3::hash(&body);
    Ok(Object {
        body: Body::Whole(body),
        etag: format!("\"b3:{}\"", hash.to_hex()).into(),
        hash: Some(hash),
        last_modified: None,
        content_type: Cow::Borrowed("application/json"),
        coding: Coding::Identity,
    })
}

/// `scheme://authority` of absolute URLs, and whether it is the same for every request: what the conf says; else the Host, if the conf
/// lists it (anyone can send any Host); else the address of the first listener, or, where that is every address, the one that the request
/// came to.
fn base_url<'a>(settings: &'a Settings, asked: &Asked) -> (Cow<'a, str>, bool) {
    if let Some(url) = &settings.public_url {
        return (url.as_str().into(), true);
    }
    let own: Cow<str> = match asked.local.filter(|_| settings.bound.ip().is_unspecified()) {
        Some(local) => format!("{}://{local}", asked.scheme).into(),
        None => format!("{}://{}", settings.scheme, settings.bound).into(),
    };
    if settings.hosts.is_empty() {
        return (own, !settings.bound.ip().is_unspecified());
    }
    let host = asked.request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| asked.request.uri.authority().map(http::uri::Authority::as_str));
    let listed = host.and_then(|host| settings.hosts.iter().find(|listed| listed.eq_ignore_ascii_case(host)));
    (listed.map_or(own, |host| format!("{}://{host}", asked.scheme).into()), false)
}
