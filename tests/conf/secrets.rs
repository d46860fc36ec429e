//! Secrets come from outside the conf, and nothing that is printed repeats them.

use super::*;

const SECRET: &str = "hunter2-hunter2-hunter2";

fn headers(value: &str, variables: &[(&str, &str)]) -> Loaded {
    let text = format!("edge:\n  origins:\n    - url: http://o.example/\n      headers: {{authorization: {value}}}\n");
    load(&text, variables, &Flags::default())
}

fn token(value: &str, variables: &[(&str, &str)]) -> Loaded {
    load(&format!("edge:\n  admin: {{token: {value}}}\n"), variables, &Flags::default())
}

fn kept(dir: &Path, text: &[u8]) -> String {
    let path = dir.join("secret");
    std::fs::write(&path, text).unwrap();
    format!("{{file: {}}}", path.display())
}

#[test]
fn a_field_is_set_from_the_conf_a_variable_or_a_file_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let value = format!("Bearer {SECRET}");
    for written in [format!("{value:?}"), "{env: KEY}".into(), kept(dir.path(), format!("{value}\n").as_bytes())] {
        let conf = headers(&written, &[("KEY", &value)]).unwrap();
        let (name, found) = &conf.edge.origins[0].headers[0];
        assert_eq!((name.as_str(), found.to_str().unwrap()), ("authorization", value.as_str()));
        assert!(found.is_sensitive());
        assert!(!format!("{conf:?} {conf:#?}").contains("hunter2"), "{written}");
    }
}

#[test]
fn a_token_comes_from_a_variable_or_a_file_and_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    for written in ["{env: KEY}".into(), kept(dir.path(), format!("{SECRET}\r\n").as_bytes())] {
        let conf = token(&written, &[("KEY", SECRET)]).unwrap();
        let found = conf.edge.admin.token.clone().unwrap();
        assert!(found.matches(SECRET.as_bytes()) && !found.matches(b"hunter2"));
        assert!(!format!("{conf:?} {conf:#?}").contains("hunter2"), "{written}");
    }
    let by_variable =
        load("", &[("SVC_EDGE_EDGE__ADMIN__TOKEN", "{env: KEY}"), ("KEY", SECRET)], &Flags::default()).unwrap();
    assert!(by_variable.edge.admin.token.unwrap().matches(SECRET.as_bytes()));
    let without = "edge: {metrics: null, admin: {token: {env: KEY}}}";
    one_error(load(without, &[("KEY", SECRET)], &Flags::default()), "c.yaml:1:38: ", &["`edge.metrics` is not"]);
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = |text: &[u8]| kept(dir.path(), text);
    let not_utf_8 = file(b"hunter2\xff");
    one_error(headers(&not_utf_8, &[]), "c.yaml:4:32: ", &["is not UTF-8"]);
    let large = file(&b"hunter2".repeat(2000));
    one_error(headers(&large, &[]), "c.yaml:4:32: ", &["larger than 8192 bytes"]);
    for (value, variables, part) in [
        ("{env: KEY}", &[][..], "the variable `KEY` is not set"),
        ("{env: KEY}", &[("KEY", "")], "the variable `KEY` is no field value"),
        ("{env: KEY}", &[("KEY", "hunter2\r\nX-Evil: 1")], "the variable `KEY` is no field value"),
        ("{env: KEY}", &[("KEY", " hunter2")], "is no field value"),
        ("{env: \"hunter2 hunter2\"}", &[], "has an `env` that is no name of a variable"),
        ("{env: SVC_EDGE_KEY}", &[], "name it without `SVC_EDGE_`"),
        ("{env: }", &[], "has no value"),
        ("{env: [a]}", &[], "is a list"),
        ("{env: KEY, file: x}", &[("KEY", "a")], "has not one of `env` and `file` alone"),
        ("{}", &[], "has not one of `env` and `file` alone"),
        ("{evn: KEY}", &[("KEY", "a")], "has neither `env` nor `file`"),
        ("{file: none}", &[], "`none` cannot be read: No such file"),
        ("{file: .}", &[], "`.` cannot be read: not a regular file"),
        ("{file: /dev/zero}", &[], "not a regular file"),
        ("[hunter2]", &[], "is a list"),
        ("null", &[], "has no value"),
        ("\"\"", &[], "is no field value"),
        ("\"hunter2\\nX-Evil: 1\"", &[], "is no field value"),
        ("\"hunter2é\"", &[], "is no field value"),
    ] {
        let lines = errors(headers(value, variables));
        assert_eq!(lines.len(), 1, "{value}: {lines:?}");
        assert!(
            lines[0].starts_with("c.yaml:4:") && lines[0].contains(part) && !lines[0].contains("hunter2"),
            "{lines:?}"
        );
    }
}

#[test]
fn a_token_in_the_conf_or_of_few_bytes_is_refused_without_repeating_it() {
    for (value, variables, part) in [
        (SECRET, &[][..], "is written into the conf"),
        ("{env: KEY}", &[("KEY", "hunter2-hunter2")], "the variable `KEY` is shorter than 16 bytes"),
        ("{env: KEY}", &[("KEY", "hunter2 hunter2 hunter2")], "the variable `KEY` has more than visible ASCII"),
        ("{env: KEY}", &[], "the variable `KEY` is not set"),
    ] {
        let lines = errors(token(value, variables));
        assert!(lines.len() == 1 && lines[0].starts_with("c.yaml:2:18: `edge.admin.token`: "), "{lines:?}");
        assert!(lines[0].contains(part) && !lines[0].contains("hunter2"), "{lines:?}");
    }
    for (name, value) in [
        ("SVC_EDGE_EDGE__ADMIN__TOKEN", SECRET),
        ("SVC_EDGE_EDGE__ADMIN__TOKEN", "{hunter2: [}"),
        ("SVC_EDGE_EDGE__ORIGINS", "[{url: \"http://o.example/\", headers: {a: \"hunter2\"]"),
        ("SVC_EDGE_EDGE__ORIGINS", "hunter2"),
    ] {
        let lines = errors(environment(name, value));
        assert!(lines.len() == 1 && lines[0].starts_with(name) && !lines[0].contains("hunter2"), "{lines:?}");
    }
}

#[test]
fn a_command_on_the_cas_needs_none_of_what_the_conf_names_outside_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    let text = "ca_file: none.pem\nedge:\n  mode: live\n  cas: {max_objects: 7, lock: none.lock}\n  admin: {token: {env: SECRET_OF_NOBODY}}\n  origins:\n    - {url: \"https://o.example/\", headers: {authorization: {file: none}}}\n";
    std::fs::write(&path, text).unwrap();
    assert_eq!(resolve_cas(Some(&path), None).unwrap().max_objects, 7);
    assert_eq!(errors(Conf::load(Some(&path), &Flags::default())).len(), 4, "a server needs each of them");
    std::fs::write(&path, text.replace("SECRET_OF_NOBODY", "\"no name\"")).unwrap();
    assert!(resolve_cas(Some(&path), None).is_err(), "but the conf must be right");
}

proptest! {
    #[test]
    fn no_value_of_a_field_or_a_token_is_ever_printed(noise in "\\PC{0,12}", quoted: bool) {
        let secret = format!("{noise}hunter2{noise}");
        let written = if quoted { format!("{secret:?}") } else { secret.clone() };
        for loaded in [headers(&written, &[]), token(&written, &[]), headers("{env: KEY}", &[("KEY", &secret)]), token("{env: KEY}", &[("KEY", &secret)])] {
            let printed = match loaded {
                Ok(conf) => format!("{conf:?}"),
                Err(errors) => errors.to_string(),
            };
            // Whoever writes `{` or `:` into an unquoted value writes keys, and keys are named.
            if quoted || !printed.contains("unknown") && !noise.contains(['{', '}', ':', ',', '[', '&', '*', '!']) {
                prop_assert!(!printed.contains("hunter2"), "{}", printed);
            }
        }
    }
}
