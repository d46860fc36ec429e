//! Whatever the bytes are, the loader answers.

use super::*;

/// Texts that look like confs: known keys at wrong places, odd values, broken nesting.
fn near_confs() -> impl Strategy<Value = String> {
    let names: Vec<&str> =
        KEYS.iter().map(Key::name).chain(["edge", "cas", "http", "cors", "packs", "- path", "? ", "<<"]).collect();
    let values = [
        "", "{", "[", "1", "null", "5s", "64KiB", "&a", "*a", "!!str", "\"", "'", "|", ">", "-", "true", "é", "\\",
        "#", ",", "}",
    ];
    let line = (0_usize..6, proptest::sample::select(names), proptest::sample::select(values.to_vec()), "\\PC{0,4}");
    proptest::collection::vec(line, 0..30).prop_map(|lines| {
        lines
            .iter()
            .map(|(indent, name, value, more)| format!("{}{name}: {value}{more}\n", " ".repeat(*indent)))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic_the_loader(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Conf::from_parts(Some(("c.yaml", &bytes)), [], &Flags::default());
    }

    #[test]
    fn arbitrary_texts_never_panic_the_loader(text in "[ \\-\\[\\]{}:,#&*!|>'\"%@?a-c\n\t~]{0,200}") {
        let _ = file(&text);
    }

    #[test]
    fn texts_near_a_conf_never_panic_the_loader_and_each_error_is_one_line(text in near_confs()) {
        if let Err(errors) = file(&text) {
            let lines = errors.to_string();
            prop_assert_eq!(lines.lines().count(), errors.len());
            prop_assert!(lines.lines().all(|line| line.starts_with("c.yaml:")), "{}", lines);
        }
    }

    #[test]
    fn arbitrary_values_never_panic_a_key(index in 0..KEYS.len(), value in "\\PC{0,40}") {
        let (text, ..) = document(&KEYS[index], KEYS[index].name(), &value);
        let _ = file(&text);
        if let Some(variable) = KEYS[index].variable() {
            let _ = environment(&variable, &value);
        }
    }
}
