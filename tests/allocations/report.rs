//! The table of allocations, as text and as `testing/performance/allocations.json` has it.

/// What a request allocates.
#[derive(Clone, Copy)]
pub struct Cost {
    pub blocks: f64,
    pub bytes: f64,
    /// How long it took, in seconds, under the counting allocator.
    pub seconds: f64,
}

/// A kind of hit, with what each server allocated for it.
pub struct Line {
    pub name: &'static str,
    /// By svc-edge, the short way.
    pub short: Cost,
    /// By svc-edge, through Pingora's HTTP server.
    pub long: Cost,
    /// By a bare Pingora that answers the same.
    pub pingora: Cost,
}

impl Line {
    /// Allocations of ours on the long way.
    pub fn beyond(&self) -> f64 {
        self.long.blocks - self.pingora.blocks
    }
}

/// The table as text.
pub fn table(lines: &[Line]) -> String {
    let head = format!(
        "{:<14}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>13}",
        "a hit of", "short", "bytes", "long", "bytes", "pingora", "bytes", "long-pingora"
    );
    let rows = lines.iter().map(|line| {
        let costs = [&line.short, &line.long, &line.pingora];
        let costs: String = costs.map(|cost| format!("{:>9.2}{:>9.0}", cost.blocks, cost.bytes)).concat();
        format!("{:<14}{costs}{:>13.2}", line.name, line.beyond())
    });
    std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}

/// The table as JSON. `ours` are the allocations of a hit on the way that it goes, the short one; `pingora` those of a bare Pingora that answers the same, `long` ours on the long
/// way beyond them.
pub fn json(lines: &[Line]) -> String {
    let round = |number: f64| (number * 100.0).round() / 100.0;
    let per_hit: serde_json::Map<String, serde_json::Value> = lines
        .iter()
        .map(|line| {
            let cost = serde_json::json!({
                "ours": round(line.short.blocks),
                "ours_bytes": line.short.bytes.round(),
                "pingora": round(line.pingora.blocks),
                "pingora_bytes": line.pingora.bytes.round(),
                "long": round(line.beyond()),
                "long_bytes": (line.long.bytes - line.pingora.bytes).round(),
            });
            (line.name.to_owned(), cost)
        })
        .collect();
    let report = serde_json::json!({ "schema": 1, "kind": "svc-edge-allocations", "per_hit": per_hit });
    serde_json::to_string_pretty(&report).unwrap() + "\n"
}
