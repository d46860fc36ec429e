//! What differs between a running conf and the one that was read anew, and which of the two is in force for each key.

use svc_edge::conf::{Changes, Reload, Sources};

use super::keys::{OTHERS, WITHOUT_OTHERS};
use super::*;

/// Read `text` anew while `running` serves.
fn over(running: &Conf, text: &str) -> (Conf, Changes) {
    file(text).unwrap_or_else(|errors| panic!("{text}{errors}")).over(running)
}

#[test]
fn a_change_of_every_key_is_seen_and_is_in_force_or_waits_as_the_table_says() {
    for key in KEYS.iter().filter(|key| !WITHOUT_OTHERS.contains(&key.path)) {
        let (_, value) = OTHERS.iter().find(|(path, _)| *path == key.path).unwrap();
        let (text, ..) = document(key, key.name(), value);
        let (wanted, running) = (file(&text).unwrap(), keys::base(key));
        let (force, changes) = over(&running, &text);
        let list = key.path.split_once("[]").map_or(key.path, |(list, _)| list);
        match key.reload() {
            Reload::Now => {
                assert_eq!(changes, Changes { changed: vec![list], needs_upgrade: vec![] }, "{text}");
                assert_eq!(force, wanted, "{text}");
            }
            Reload::Upgrade => {
                assert_eq!(changes, Changes { changed: vec![], needs_upgrade: vec![list] }, "{text}");
                assert_eq!(force, running, "{text}");
            }
        }
        // And back.
        let (_, back) = running.clone().over(&wanted);
        assert_eq!(back.changed.len() + back.needs_upgrade.len(), 1, "{text}");
    }
}

#[test]
fn nothing_changes_where_the_same_is_written_another_way() {
    let running = file("edge: {cas: {max_bytes: 1GiB}, fill: {total_timeout: 60s}, bind: 127.0.0.1:80}").unwrap();
    for text in [
        "edge: {cas: {max_bytes: 1024MiB}, fill: {total_timeout: 1m}, bind: [localhost:80]}",
        "edge:\n  bind: 127.0.0.1:80\n  cas: {max_bytes: 1073741824, max_objects: 1000000}\n  packs: []\n",
    ] {
        assert_eq!(over(&running, text), (running.clone(), Changes::default()), "{text}");
    }
}

#[test]
fn keys_of_both_kinds_change_each_in_its_way() {
    let running = file("edge: {bind: 127.0.0.1:80, log: {level: info}}").unwrap();
    let (force, changes) = over(&running, "threads: 64\nedge: {bind: 127.0.0.1:81, log: {level: debug}, mode: live}");
    assert_eq!(changes.changed, ["edge.mode", "edge.log.level"]);
    assert_eq!(changes.needs_upgrade, ["threads", "edge.bind"]);
    assert_eq!((&force.edge.bind, force.server.threads), (&running.edge.bind, running.server.threads));
    assert_eq!((force.edge.log.level, force.edge.mode), (log::LevelFilter::Debug, Mode::Live));
    // What waits is told each time, until it is what runs.
    let (_, again) = over(&force, "edge: {bind: 127.0.0.1:81, log: {level: debug}, mode: live}");
    assert_eq!(again, Changes { changed: vec![], needs_upgrade: vec!["edge.bind"] });
    let (_, back) = over(&force, "edge: {bind: 127.0.0.1:80, log: {level: debug}, mode: live}");
    assert_eq!(back, Changes::default());
}

#[test]
fn a_value_of_a_flag_or_a_variable_stays_whatever_the_file_says_now() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let flags = Flags { log_level: Some("warn".into()), packs: vec!["x=x.pmtiles".into()], ..Flags::default() };
    let sources = Sources::new(Some(&path), flags.clone());
    write("edge: {log: {level: info, sample: 3}}");
    let running = sources.load().unwrap();
    write("edge: {log: {level: debug, sample: 4}, packs: [{path: y.pmtiles}]}");
    let (force, changes) = sources.load().unwrap().over(&running);
    assert_eq!(changes.changed, ["edge.log.sample"]);
    assert_eq!((force.edge.log.level, force.edge.packs.len()), (log::LevelFilter::Warn, 1));
    let environment = [("SVC_EDGE_EDGE__LOG__SAMPLE", "9")];
    let text = |sample: u32| format!("edge: {{log: {{sample: {sample}}}}}");
    let running = load(&text(1), &environment, &flags).unwrap();
    let (_, changes) = load(&text(2), &environment, &flags).unwrap().over(&running);
    assert_eq!(changes, Changes::default());
}

#[test]
fn what_the_conf_names_outside_itself_is_compared_by_what_it_holds_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (token, lock, ca) = (dir.path().join("token"), dir.path().join("lock"), dir.path().join("ca.pem"));
    let bundle = std::fs::read_to_string("tests/conf/fixtures/ca.pem").unwrap();
    let pin = |byte: &str| format!("{}  fonts/a\n", byte.repeat(32));
    let text = format!(
        "ca_file: {}\nedge:\n  cas: {{lock: {}}}\n  admin: {{token: {{file: {}}}}}\n",
        ca.display(),
        lock.display(),
        token.display()
    );
    std::fs::write(&token, "a-secret-of-sixteen-bytes").unwrap();
    std::fs::write(&lock, pin("00")).unwrap();
    std::fs::write(&ca, &bundle).unwrap();
    let running = file(&text).unwrap();
    assert_eq!(over(&running, &text).1, Changes::default());
    std::fs::write(&token, "another-secret-of-as-many").unwrap();
    let changes = over(&running, &text).1;
    assert_eq!(changes.changed, ["edge.admin.token"]);
    assert!(!format!("{changes:?}").contains("secret-of"));
    std::fs::write(&lock, pin("01")).unwrap();
    assert_eq!(over(&running, &text).1.changed, ["edge.cas.lock", "edge.admin.token"]);
    std::fs::write(&ca, format!("{bundle}\n{bundle}")).unwrap();
    assert_eq!(over(&running, &text).1.changed, ["ca_file", "edge.cas.lock", "edge.admin.token"]);
}

#[test]
fn the_page_of_the_conf_says_of_every_key_whether_a_reload_changes_it() {
    let page = docs::page();
    for key in KEYS {
        let row =
            page.lines().find(|line| line.starts_with(&format!("| `{}` |", key.name())) && line.contains(key.help));
        let says = if key.reload() == Reload::Now { "| yes |" } else { "| no |" };
        assert!(row.is_some_and(|row| row.contains(says)), "{}", key.path);
    }
}
