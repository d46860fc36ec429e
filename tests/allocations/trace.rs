//! Where allocations come from: two profiles in DHAT's format, one taken from the other.
//!
//! A frame belongs to whoever wrote its file: to us (then it is named in `Files`), to a crate, or to Rust's library. An allocation is told apart by the frames of
//! crates between it and the first one of ours: what Pingora allocates while it does the same for both servers has the same ones, and is taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

/// Frames of ours that are told of a stack.
const OURS: usize = 3;
/// Frames of crates that are told.
const CRATES: usize = 6;

/// What is allocated by the same frames of crates.
#[derive(Default)]
struct Place {
    blocks: f64,
    bytes: f64,
    /// The frames of ours that lead here, with their share.
    ours: BTreeMap<String, Share>,
}

#[derive(Default)]
struct Share {
    blocks: f64,
    bytes: f64,
}

/// What `all` allocates beyond `less`, where that is given, by place, as text; both are profiles of `requests` requests.
pub fn difference(less: Option<&str>, all: &str, requests: usize) -> String {
    let files = Files::of_ours();
    let base = less.map(|less| places(&files, less, requests)).unwrap_or_default();
    let all = places(&files, all, requests);
    let mut lines: Vec<(f64, String)> = Vec::new();
    for (chain, place) in &all {
        let more = place.blocks - base.get(chain).map_or(0.0, |base| base.blocks);
        if more < 0.001 {
            continue;
        }
        let mut text = format!("{more:8.3} by {}\n", told(chain));
        for (stack, share) in &place.ours {
            let _ = writeln!(text, "         {:8.3} ({:.0} bytes) from {stack}", share.blocks, share.bytes);
        }
        for (stack, share) in base.get(chain).into_iter().flat_map(|base| &base.ours) {
            let _ = writeln!(text, "         {:8.3} ({:.0} bytes) less: from {stack}", -share.blocks, share.bytes);
        }
        lines.push((more, text));
    }
    for (chain, place) in &base {
        let less = place.blocks - all.get(chain).map_or(0.0, |place| place.blocks);
        if less >= 0.001 {
            lines.push((-less, format!("{:8.3} by {}\n", -less, told(chain))));
        }
    }
    lines.sort_by(|one, other| other.0.total_cmp(&one.0));
    lines.into_iter().map(|(_, line)| line).collect()
}

/// The innermost frames of crates.
fn told(chain: &str) -> String {
    let frames: Vec<&str> = chain.split(" < ").collect();
    match frames.len() {
        _ if chain.is_empty() => "ourselves".into(),
        0..=CRATES => chain.to_owned(),
        more => format!("{} < {} more", frames[..CRATES].join(" < "), more - CRATES),
    }
}

/// The places of a profile.
fn places(files: &Files, profile: &str, requests: usize) -> BTreeMap<String, Place> {
    let profile: Value = serde_json::from_str(profile).unwrap();
    let frames: Vec<Frame> =
        profile["ftbl"].as_array().unwrap().iter().map(|text| Frame::of(files, text.as_str().unwrap())).collect();
    let mut places = BTreeMap::<String, Place>::new();
    for point in profile["pps"].as_array().unwrap() {
        let stack = point["fs"].as_array().unwrap().iter().map(|index| &frames[index.as_u64().unwrap() as usize]);
        let stack: Vec<&Frame> = stack.collect();
        let first = stack.iter().position(|frame| frame.whose == Whose::Ours).unwrap_or(stack.len());
        let chain: Vec<&str> = texts(&stack[..first], Whose::Crates);
        let ours: Vec<&str> = texts(&stack[first..], Whose::Ours);
        let each = |of: &str| point[of].as_f64().unwrap() / requests as f64;
        let place = places.entry(chain.join(" < ")).or_default();
        place.blocks += each("tbk");
        place.bytes += each("tb");
        let share = place.ours.entry(ours[..ours.len().min(OURS)].join(" < ")).or_default();
        share.blocks += each("tbk");
        share.bytes += each("tb");
    }
    places
}

fn texts<'a>(stack: &[&'a Frame], whose: Whose) -> Vec<&'a str> {
    stack.iter().filter(|frame| frame.whose == whose).map(|frame| frame.place.as_str()).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Ours,
    Crates,
    Rust,
}

/// `path:line` of a frame, and who wrote it.
struct Frame {
    whose: Whose,
    place: String,
}

impl Frame {
    /// From `0xaddress: function (the/last/components.rs:line:column)`.
    fn of(files: &Files, text: &str) -> Self {
        let place = text.rsplit_once(" (").map_or("", |(_, place)| place.trim_end_matches(')'));
        let place = place.rsplit_once(':').map_or(place, |(line, _column)| line).to_owned();
        let path = place.rsplit_once(':').map_or(place.as_str(), |(path, _line)| path);
        let whose = if files.ours.contains(path) {
            Whose::Ours
        } else if path.is_empty() || Files::is_rust(path) || path.ends_with("tests/allocations.rs") {
            // The last is where the counting allocator stands.
            Whose::Rust
        } else {
            Whose::Crates
        };
        Self { whose, place }
    }
}

/// The files of ours, as a profile names them: by their last three components.
struct Files {
    ours: BTreeSet<String>,
}

impl Files {
    fn of_ours() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut ours = BTreeSet::new();
        for top in ["src", "tests/in_process"] {
            collect(&root.join(top), &mut ours);
        }
        Self { ours }
    }

    /// Files of Rust's library and of the allocator that counts.
    fn is_rust(path: &str) -> bool {
        const DIRS: [&str; 9] = [
            "???",
            "alloc/src/",
            "core/src/",
            "std/src/",
            "collections/",
            "btree/",
            "src/raw_vec/",
            "src/vec/",
            "src/boxed/",
        ];
        const FILES: [&str; 10] = [
            "src/ops/function.rs",
            "src/future/future.rs",
            "src/convert/mod.rs",
            "src/panic/unwind_safe.rs",
            "src/thread/local.rs",
            "src/fmt/mod.rs",
            "src/fmt/rt.rs",
            "src/fmt/num.rs",
            "src/macros/mod.rs",
            "src/iter/traits/collect.rs",
        ];
        DIRS.iter().any(|start| path.starts_with(start)) || FILES.contains(&path) || path.starts_with("dhat-")
    }
}

fn collect(dir: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
            continue;
        }
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        into.insert(parts[parts.len() - 3..].join("/"));
        // Files that stand at the top are named from the root of the repository.
        let own = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        into.insert(own.display().to_string());
    }
}
