//! Whether two runs had one conf. Ports and directories are chosen anew for every run, and are no difference.

/// The most lines of each side that are shown.
const SHOWN: usize = 5;

/// What stands in one of the two YAML texts alone, as a sentence; nothing where they say the same.
pub fn difference(before: &str, now: &str) -> Option<String> {
    let (before, now) = (lines(before), lines(now));
    let only = |of: &[String], other: &[String]| -> Vec<String> {
        of.iter().filter(|line| !other.contains(line)).map(|line| format!("`{line}`")).collect()
    };
    let (gone, new) = (only(&before, &now), only(&now, &before));
    let shown = |lines: &[String]| match lines.len() {
        0 => "nothing".to_owned(),
        many if many > SHOWN => format!("{} and {} lines more", lines[..SHOWN].join(", "), many - SHOWN),
        _ => lines.join(", "),
    };
    match gone.is_empty() && new.is_empty() {
        true => None,
        false => Some(format!("the conf is not the baseline's: that has {}, this has {}", shown(&gone), shown(&new))),
    }
}

/// The lines that say something, without what differs from run to run. Comments and empty lines say nothing.
fn lines(text: &str) -> Vec<String> {
    let said = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines().map(str::trim).filter(said).map(lasting).collect()
}

/// A line with only the last part of each path, and without the port of each address.
fn lasting(line: &str) -> String {
    let is_edge = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | '[' | ']' | ',' | '"' | '\'');
    line.split_inclusive(is_edge)
        .map(|piece| {
            let word = piece.trim_end_matches(is_edge);
            let word_only = word.rsplit('/').next().unwrap_or(word);
            let kept = match word_only.rsplit_once(':') {
                Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
                _ => word_only,
            };
            format!("{kept}{}", &piece[word.len()..])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    const CONF: &str = "threads: 1\nedge:\n  bind: 127.0.0.1:40123\n  cas: {dir: /tmp/a/edge-40123/cas}\n  packs:\n    - {path: /tmp/a/png.pmtiles, verify: header}\n";

    #[test]
    fn ports_directories_and_comments_are_no_difference() {
        let other = CONF.replace("40123", "39999").replace("/tmp/a", "/var/b/c") + "\n# later\n";
        assert_eq!(difference(CONF, &other), None);
    }

    #[test]
    fn a_key_that_differs_is_shown_from_both_sides() {
        let said = difference(CONF, &CONF.replace("verify: header", "verify: full")).unwrap();
        assert!(said.contains("that has `- {path: png.pmtiles, verify: header}`"), "{said}");
        assert!(said.contains("this has `- {path: png.pmtiles, verify: full}`"), "{said}");
        let said = difference(CONF, &CONF.replace("threads: 1", "threads: 2")).unwrap();
        assert!(said.contains("`threads: 1`, this has `threads: 2`"), "{said}");
    }

    #[test]
    fn a_conf_that_is_another_altogether_is_shown_in_part() {
        let many: String = (0..20).map(|n| format!("key{n}: x\n")).collect();
        let said = difference("", &many).unwrap();
        assert!(said.contains("that has nothing") && said.contains("and 15 lines more"), "{said}");
    }
}
