//! Flag over environment over file over default.

use super::*;

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default() {
    let text = "edge: {bind: 127.0.0.1:1, metrics: 127.0.0.1:2, cas: {dir: file}, log: {level: error, sample: 5}, packs: [{path: f.pmtiles}]}";
    let variables = [
        ("SVC_EDGE_EDGE__BIND", "127.0.0.1:11,[::1]:12"),
        ("SVC_EDGE_EDGE__CAS__DIR", "variable"),
        ("SVC_EDGE_EDGE__LOG__LEVEL", "warn"),
        ("SVC_EDGE_EDGE__PACKS", "n=e.pmtiles, g.mbtiles"),
    ];
    let by_file = file(text).unwrap();
    assert_eq!((by_file.edge.cas.dir, by_file.edge.log.level), (PathBuf::from("file"), log::LevelFilter::Error));
    let by_variable = load(text, &variables, &Flags::default()).unwrap().edge;
    assert_eq!(by_variable.bind, [bind("127.0.0.1:11"), bind("[::1]:12")]);
    assert_eq!(by_variable.packs, [pack("e.pmtiles", "n"), pack("g.mbtiles", "g")]);
    assert_eq!((by_variable.cas.dir, by_variable.log.level), (PathBuf::from("variable"), log::LevelFilter::Warn));
    let flags = Flags {
        bind: vec!["127.0.0.1:21".into()],
        packs: vec!["./a=b.pmtiles".into(), "m=./c d.pmtiles".into()],
        cas_dir: Some("flag".into()),
        log_level: Some("trace".into()),
        rps: Some("null".into()),
        inflight: Some("7".into()),
        ..Flags::default()
    };
    let one = load(text, &variables, &Flags { packs: vec!["m=x".into()], ..flags.clone() }).unwrap().edge;
    assert_eq!(one.packs, [pack("x", "m")]);
    assert_eq!((one.cas.dir, one.log.level), (PathBuf::from("flag"), log::LevelFilter::Trace));
    assert_eq!((one.bind, one.metrics), (vec![bind("127.0.0.1:21")], Some("127.0.0.1:2".parse().unwrap())));
    assert_eq!((one.ingress.shed.rps_limit, one.ingress.shed.max_inflight), (None, Some(7)));
    assert_eq!((one.log.sample, one.log.access), (5, AccessLog::Sampled));
    // The stem `a=b` is no name, and the text before `=` is none either.
    one_error(load(text, &variables, &flags), "--pack: ", &["`a=b`, from the file's name, is no name of a pack"]);
}

#[test]
fn wrong_variables_and_flags_are_named_with_what_is_allowed() {
    one_error(
        environment("SVC_EDGE_THREADS", "x"),
        "SVC_EDGE_THREADS: ",
        &["`threads`: `x` is no whole number", "allowed"],
    );
    one_error(environment("SVC_EDGE_THREADS", ""), "SVC_EDGE_THREADS: ", &["is empty"]);
    one_error(environment("SVC_EDGE_EDGE__CAS", "x"), "SVC_EDGE_EDGE__CAS: ", &["is a map", "SVC_EDGE_EDGE__CAS__DIR"]);
    one_error(
        environment("SVC_EDGE_EDGE__PACKS", "[{path: a, nam: b}]"),
        "SVC_EDGE_EDGE__PACKS: ",
        &["did you mean `edge.packs[].name`?"],
    );
    one_error(environment("SVC_EDGE_EDGE__PACKS", "[{path: a]"), "SVC_EDGE_EDGE__PACKS: ", &["is no YAML list"]);
    let flags = Flags { bind: vec!["127.0.0.1:1".into(), "nowhere".into()], ..Flags::default() };
    one_error(load("", &[], &flags), "--bind: ", &["`nowhere` is no address to listen on", "`IP:port`"]);
    one_error(load("", &[], &Flags { cas_dir: Some("".into()), ..Flags::default() }), "--cas-dir: ", &["is empty"]);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![0xff]);
    one_error(
        Conf::from_parts(None, [("SVC_EDGE_THREADS".into(), value)], &Flags::default()),
        "SVC_EDGE_THREADS: ",
        &["not UTF-8"],
    );
}

#[test]
fn variables_of_others_and_service_links_are_left_alone() {
    for name in
        ["PATH", "SVC_EDGE", "SVC_EDGE_CONF", "SVC_EDGE_SERVICE_HOST", "SVC_EDGE_PORT_8080_TCP_ADDR", "svc_edge_x"]
    {
        assert_eq!(environment(name, "anything").unwrap(), defaults(), "{name}");
    }
}

#[test]
fn commands_on_the_cas_take_its_directory_from_the_flag_then_the_conf() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    std::fs::write(&path, "edge: {cas: {dir: mine, max_objects: 7}}").unwrap();
    let cas = resolve_cas(Some(&path), None).unwrap();
    assert_eq!((cas.dir.as_path(), cas.max_objects), ("mine".as_ref(), 7));
    let cas = resolve_cas(Some(&path), Some("yours".as_ref())).unwrap();
    assert_eq!((cas.dir.as_path(), cas.max_objects), ("yours".as_ref(), 7));
    assert_eq!(resolve_cas(None, None).unwrap(), defaults().edge.cas);
    std::fs::write(&path, "edge: {csa: {}}").unwrap();
    assert!(resolve_cas(Some(&path), Some("yours".as_ref())).is_err());
}

#[test]
fn a_list_in_a_variable_is_separated_by_commas_or_yaml() {
    for value in ["a.example, B.example:8443", "[a.example, \"b.example:8443\"]"] {
        let hosts = environment("SVC_EDGE_EDGE__HTTP__HOSTS", value).unwrap().edge.http.hosts;
        assert_eq!(hosts, ["a.example", "b.example:8443"], "{value}");
    }
    let cors = |value| environment("SVC_EDGE_EDGE__HTTP__CORS__ALLOW_ORIGINS", value).unwrap().edge.http.cors;
    assert_eq!(cors("*"), CorsConf::Any);
    assert_eq!(cors("https://A.example"), CorsConf::Origins(vec!["https://a.example".into()]));
    assert_eq!(cors("[]"), CorsConf::Origins(vec![]));
}

#[test]
fn a_variable_whose_value_has_commas_and_is_no_list_is_taken_whole() {
    let conf = environment("SVC_EDGE_EDGE__HTTP__CACHE_CONTROL", "public, max-age=60").unwrap();
    assert_eq!(conf.edge.http.cache_control, "public, max-age=60");
}

#[test]
fn a_variable_that_is_near_no_key_has_no_suggestion() {
    let lines = errors(environment("SVC_EDGE_PORT", "8080"));
    assert!(lines[0].starts_with("SVC_EDGE_PORT: names no key; allowed: "), "{lines:?}");
}
