//! An edge of this process with something to serve, and the requests of the hit path.

use std::path::Path;

use svc_edge::boot::in_process;
use svc_edge::conf::{Conf, Flags};
use svc_edge::edge::Front;
use svc_edge::observe::log::{self as edge_log, Format};
use svc_edge::store::cas::{Cas, ImportOptions};

use super::wire::{Answer, Client};

/// One kind of hit.
pub struct Case {
    /// As the report of the harness names it.
    pub name: &'static str,
    /// The request, ready to be sent.
    pub request: String,
    /// What it is answered with.
    pub status: &'static str,
    /// Whether the answer has content.
    pub content: bool,
}

/// Which way a hit goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the bytes of the request to those of the answer.
    Short,
    /// Through Pingora's HTTP server, as everything unusual goes.
    Long,
}

/// An edge over a directory of its own, its log on, and with every limit, but none that is reached.
pub struct Served {
    pub front: Front,
    _dir: tempfile::TempDir,
}

/// Sizes of the assets.
const ASSETS: [(&str, usize); 4] = [("4k", 4 << 10), ("64k", 64 << 10), ("1m", 1 << 20), ("8m", 8 << 20)];

impl Served {
    /// Import the assets and mount the sample packs.
    pub fn by(way: Way) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("testing/data");
        let yaml = format!(
            "threads: 1\n\
             edge:\n  bind: 127.0.0.1:8080\n  metrics: off\n\
             \x20 cas: {{dir: {cas:?}}}\n\
             \x20 packs: [{{path: {tile:?}}}, {{path: {raster:?}}}, {{path: {world:?}}}]\n\
             \x20 http: {{direct: {direct}}}\n\
             \x20 ingress: {{rps_limit: 1000000, rps_per_client: 1000000, keepalive_requests: null}}\n",
            cas = dir.path().join("cas"),
            tile = packs.join("tile.pmtiles"),
            raster = packs.join("raster.pmtiles"),
            world = packs.join("world.mbtiles"),
            direct = way == Way::Short,
        );
        let conf = Conf::from_parts(Some(("in-process.yaml", yaml.as_bytes())), [], &Flags::default()).unwrap();
        import(&conf, dir.path());
        edge_log::init(Format::Json, conf.edge.log.level, Some(Path::new("/dev/null"))).unwrap();
        edge_log::start_writer();
        Self { front: in_process(&conf).unwrap(), _dir: dir }
    }
}

/// Files of bytes that compress to nothing less, imported as `bench/4k.bin` and so on.
fn import(conf: &Conf, dir: &Path) {
    let files = dir.join("files");
    std::fs::create_dir(&files).unwrap();
    let mut hasher = blake3::Hasher::new();
    for (name, length) in ASSETS {
        let mut bytes = vec![0; length];
        hasher.update(name.as_bytes()).finalize_xof().fill(&mut bytes);
        std::fs::write(files.join(format!("{name}.bin")), bytes).unwrap();
    }
    let cas = Cas::open(&conf.edge.cas).unwrap();
    let report = cas.import(&files, "bench", &ImportOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(report.refused, 0, "{:?}", report.refusals);
}

/// An answer to `case` from memory, which is that of a connection's second request.
pub async fn answer(served: &Served, case: &Case) -> Answer {
    let mut client = Client::connect(&served.front);
    client.ask(case.request.as_bytes(), case.content).await;
    let answer = client.ask(case.request.as_bytes(), case.content).await;
    assert_eq!(answer.status(), case.status, "{}", case.name);
    assert_eq!(answer.body.is_empty(), !case.content, "{}", case.name);
    client.close().await;
    answer
}

/// The hits that are measured.
pub async fn hits(served: &Served) -> Vec<Case> {
    let fields = answer(served, &cases("").remove(0)).await.fields();
    let (_, etag) = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("etag")).unwrap();
    cases(&etag)
}

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} /edge/assets/{path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// The hits; `etag` is that of `bench/4k.bin`.
fn cases(etag: &str) -> Vec<Case> {
    let case = |name, status, content, request| Case { name, request, status, content };
    let gzip = "Accept-Encoding: gzip\r\n";
    vec![
        case("asset_4k", "200", true, request("GET", "bench/4k.bin", "")),
        case("asset_64k", "200", true, request("GET", "bench/64k.bin", "")),
        case("range_4k", "206", true, request("GET", "bench/64k.bin", "Range: bytes=4096-8191\r\n")),
        case("range_64k", "206", true, request("GET", "bench/1m.bin", "Range: bytes=65536-131071\r\n")),
        case("not_modified", "304", false, request("GET", "bench/4k.bin", &format!("If-None-Match: {etag}\r\n"))),
        case("head_4k", "200", false, request("HEAD", "bench/4k.bin", "")),
        case("tile_mvt", "200", true, request("GET", "tile/0/0/0.mvt", gzip)),
        case("tile_png", "200", true, request("GET", "raster/0/0/0.png", "")),
        case("asset_1m", "200", true, request("GET", "bench/1m.bin", "")),
    ]
}
