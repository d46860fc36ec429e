//! Requirements of RFC 9111 that only a running server can keep, each with the end-to-end tests that show it.

use std::path::{Path, PathBuf};

/// Section, what it asks for, and the tests, by their names in `tests/e2e`.
pub const ELSEWHERE: [(&str, &str, &[&str]); 9] = [
    (
        "2",
        "the key is the method and the target: another query that is kept is another key",
        &[
            "the_query_is_dropped_or_kept_as_the_conf_says",
            "no_field_of_a_client_makes_a_key_of_its_own",
            "without_pass_other_methods_are_refused_and_ask_nobody",
        ],
    ),
    (
        "3.3",
        "an incomplete answer is not used as a complete one, nor a part sent without 206",
        &[
            "the_readers_of_a_fill_that_breaks_off_are_cut_and_nothing_is_stored",
            "a_body_that_ends_with_the_connection_passes_through_and_is_not_stored",
            "a_partial_answer_that_nobody_asked_for_is_not_stored",
            "a_range_on_a_miss_fills_the_whole_and_answers_when_its_bytes_are_there",
        ],
    ),
    (
        "3.4",
        "parts are combined only by a strong validator: parts are not stored, so none are combined",
        &[
            "parts_that_passed_through_are_never_put_together_nor_used_for_another_part",
            "a_range_of_what_is_above_range_fill_max_is_passed_through_unstored",
        ],
    ),
    (
        "4",
        "Age is generated and counts from the origin's Date, unsafe methods are written through",
        &[
            "age_counts_from_the_origin_on",
            "with_pass_a_request_goes_through_with_its_body_and_its_answer_comes_back",
            "the_date_of_an_answer_is_when_it_is_sent_and_its_age_begins_at_the_origins",
        ],
    ),
    (
        "4.3.2",
        "conditions of clients are evaluated against what is stored; on a miss none is sent on, as our tags are not the origin's",
        &[
            "a_miss_becomes_a_hit_with_the_hash_as_its_tag",
            "a_client_whose_copy_is_still_right_gets_304_after_the_origin_has_confirmed_it",
            "on_a_miss_if_none_match_yields_200_and_never_reaches_the_origin",
            "on_a_miss_if_match_is_compared_with_the_tag_of_what_was_filled",
            "on_a_miss_if_range_never_matches",
        ],
    ),
    (
        "4.3.3",
        "a full answer to a condition is the answer, and replaces what was stored",
        &[
            "what_has_changed_comes_whole_and_replaces_what_was_stored",
            "a_reset_and_a_5xx_are_errors_for_stale_if_error_too",
        ],
    ),
    (
        "4.3.5",
        "an answer to HEAD updates: HEAD is never sent for what is stored",
        &[
            "head_of_what_is_stored_is_answered_from_it_and_never_sent_to_the_origin",
            "head_on_a_miss_has_the_headers_of_get_and_no_body",
        ],
    ),
    ("5.2", "directives are passed on to clients", &["every_directive_reaches_the_client_as_the_origin_wrote_it"]),
    (
        "5.2.2.6",
        "content with no-transform is not decoded for a client",
        &["what_may_not_be_transformed_keeps_its_coding_even_for_who_does_not_take_it"],
    ),
];

#[test]
fn each_requirement_kept_elsewhere_names_tests_that_exist() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/live"), &mut files);
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    assert!(!is_test(&text, "a_test_that_nobody_wrote") && !is_test(&text, "get"), "a helper is no test");
    let mut missing = Vec::new();
    for (section, _, tests) in ELSEWHERE {
        assert!(!tests.is_empty(), "§{section}");
        missing.extend(tests.iter().filter(|test| !is_test(&text, test)).map(|test| format!("§{section}: {test}")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Whether a function of this name stands right behind `#[test]`, where nothing can have it ignored.
fn is_test(text: &str, name: &str) -> bool {
    text.contains(&format!("#[test]\nfn {name}() {{"))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
