//! What is written from the table: `docs/conf.md` and `conf/svc-edge.yaml`.

use std::fmt::Write;

use super::kind::Kind;
use super::reload::Reload;
use super::table::{KEYS, Key, SECTIONS, Section};

/// The packs that the sample conf shows.
const SAMPLE_PACKS: [(&str, &str); 3] = [
    ("testing/data/tile.pmtiles", "tile"),
    ("testing/data/world.mbtiles", "world"),
    ("testing/data/raster.pmtiles", "raster"),
];

/// The listener with TLS that the sample conf shows: its address, its certificate and the key.
const SAMPLE_BIND: (&str, &str, &str) = ("127.0.0.1:8443", "cert.pem", "key.pem");

/// Prefix and URL of the origin that the sample conf shows.
const SAMPLE_ORIGIN: (&str, &str) = ("fonts/", "https://fonts.example/s/");

const PREFACE: &str = "\
<!-- Written by `svc-edge docs conf` from src/conf/table.rs. -->
# Conf

One YAML file, given with `--conf FILE` or `SVC_EDGE_CONF`; without it every key has its default. A value is taken from the flag,
else from the environment, else from the file, else from the default. Unknown keys, keys that stand twice and keys that would do
nothing are errors. `svc-edge check --conf FILE` says what is wrong, each as `file:line:column: what is wrong; what is allowed`, and
exits with 2.

- The environment variable of a key is its path in capitals, with `__` for each dot: `SVC_EDGE_EDGE__MODE` is `edge.mode`. Lists are
  separated by commas, or YAML in brackets. A `SVC_EDGE_…` variable that names no key is an error, but for those that Kubernetes
  makes for a service named `svc-edge`.
- Relative paths are relative to the directory that svc-edge is started in, wherever the file is.
- Sizes: `KiB`, `MiB`, `GiB` are powers of 1024, `KB`, `MB`, `GB` of 1000; a plain number is bytes. Durations: `50ms`, `5s`, `1h 30m`.
- `edge.packs` in a variable takes `PATH` or `NAME=PATH`, as `--pack` does, or maps in brackets; `edge.origins` takes maps in brackets.
- A flag or a variable gives `edge.bind` addresses in clear text; certificates stand in the file.
- A secret stands as `{env: NAME}` or `{file: PATH}`. It is read at the start and on SIGHUP, and no error, log or command prints it. A
  newline at the end of the file is no part of it; a variable's name may not begin with `SVC_EDGE_`.
- An origin's `url` replaces its `prefix`: with `prefix: fonts/` and `url: https://fonts.example/s/`, a miss of `fonts/a b.pbf` asks
  fonts.example for `/s/a%20b.pbf`.
- A section whose keys are all left out, or that is empty, has its defaults.
- SIGHUP has the conf read again, with everything it names: the same file, under the same flags and in the same environment. It is checked whole,
  packs included, and takes effect at once or, where anything is wrong with it, not at all. Keys with `yes` under *reload* change while serving; the
  others keep their values, and are named in the log and by `conf_needs_upgrade`, until the process is replaced.

`conf/svc-edge.yaml` shows every key at its default.
";

/// The text of `docs/conf.md`.
pub fn page() -> String {
    let mut page = PREFACE.to_owned();
    for section in SECTIONS {
        let title = if section.path.is_empty() { "Top level" } else { section.path };
        let title = if section.path.is_empty() { title.to_owned() } else { format!("`{title}`") };
        // Writing to a string does not fail.
        let _ = write!(
            page,
            "\n## {title}\n\n{}\n\n| key | default | allowed | reload | what |\n|---|---|---|---|---|\n",
            section.help
        );
        for key in KEYS.iter().filter(|key| key.section() == section.path) {
            let default = if key.default.is_empty() { "required".to_owned() } else { format!("`{}`", key.default) };
            let allowed = key.kind.to_string().replace('|', "\\|");
            let reload = match key.reload() {
                Reload::Now => "yes",
                Reload::Upgrade => "no",
            };
            let _ = writeln!(page, "| `{}` | {default} | {allowed} | {reload} | {} |", key.name(), key.help);
        }
    }
    page
}

/// The text of `conf/svc-edge.yaml`: each key at its default, but for the packs, which are the samples; and an origin in comments.
pub fn sample() -> String {
    let mut out = String::from(
        "# Every key at its default, with the sample packs. Written by `svc-edge docs sample`; see docs/conf.md.\n",
    );
    for section in SECTIONS.iter().filter(|section| !section.path.ends_with("[]")) {
        open_section(&mut out, section);
        for key in KEYS.iter().filter(|key| key.section() == section.path) {
            let indent = indent_of(section.path);
            comment(&mut out, &indent, key.help);
            match key.kind {
                Kind::Packs => {
                    let _ = writeln!(out, "{indent}{}:", key.name());
                    sample_packs(&mut out, &indent);
                }
                _ => {
                    let _ = writeln!(out, "{indent}{}: {}", key.name(), key.default);
                }
            }
            match key.kind {
                Kind::Binds => sample_bind(&mut out, &indent),
                Kind::Origins => sample_origin(&mut out, &indent),
                _ => {}
            }
        }
    }
    out
}

/// A section's name, at the indentation of the one around it. Sections follow the keys of the one that they stand in.
fn open_section(out: &mut String, section: &Section) {
    let Some(name) = section.path.rsplit('.').next().filter(|name| !name.is_empty()) else { return };
    let around = section.path.rsplit_once('.').map_or("", |(around, _)| around);
    let indent = indent_of(around);
    out.push('\n');
    comment(out, &indent, section.help);
    let _ = writeln!(out, "{indent}{name}:");
}

/// The first sample shows every key of a pack; the others show what differs.
fn sample_packs(out: &mut String, indent: &str) {
    for (index, (path, name)) in SAMPLE_PACKS.iter().enumerate() {
        let _ = writeln!(out, "{indent}  - path: {path}");
        let keys = |key: &&Key| key.section() == "edge.packs[]" && key.name() != "path";
        for key in KEYS.iter().filter(keys) {
            let value = if key.name() == "name" { name } else { key.default };
            if index == 0 {
                comment(out, &format!("{indent}    "), key.help);
            }
            if index == 0 || key.name() == "name" {
                let _ = writeln!(out, "{indent}    {}: {value}", key.name());
            }
        }
    }
}

/// An origin, every key at its default but for the two that say which it is. It is commented out, as a server is offline until
/// it is told otherwise: `#` alone stands before what is conf, `# ` before what is said of it.
fn sample_origin(out: &mut String, indent: &str) {
    comment(out, &format!("{indent}  "), "An origin; with one, `[]` above goes away:");
    for (index, key) in KEYS.iter().filter(|key| key.section() == "edge.origins[]").enumerate() {
        let value = match key.name() {
            "prefix" => SAMPLE_ORIGIN.0,
            "url" => SAMPLE_ORIGIN.1,
            _ => key.default,
        };
        comment(out, &format!("{indent}  "), key.help);
        let _ = writeln!(out, "{indent}  #{} {}: {value}", if index == 0 { "-" } else { " " }, key.name());
    }
}

/// A listener with TLS, in comments as [`sample_origin`] has them: certificates are the operator's.
fn sample_bind(out: &mut String, indent: &str) {
    comment(out, &format!("{indent}  "), "A listener with TLS; with one, the address above goes into the list:");
    for (index, key) in KEYS.iter().filter(|key| key.section().starts_with("edge.bind[]")).enumerate() {
        let within = if key.section() == "edge.bind[]" { "" } else { "    " };
        let dash = if index == 0 || key.name() == "cert" { "-" } else { " " };
        let value = match key.name() {
            "addr" => SAMPLE_BIND.0,
            "cert" => SAMPLE_BIND.1,
            "key" => SAMPLE_BIND.2,
            "tls" => "",
            _ => key.default,
        };
        comment(out, &format!("{indent}  "), key.help);
        let line = format!("{indent}  #{within}{dash} {}: {value}", key.name());
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// A sentence as comment lines of at most 120 columns.
fn comment(out: &mut String, indent: &str, text: &str) {
    let mut line = format!("{indent}#");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > 120 {
            let _ = writeln!(out, "{line}");
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

fn indent_of(section: &str) -> String {
    let depth = if section.is_empty() { 0 } else { section.matches('.').count() + 1 };
    "  ".repeat(depth)
}
