//! Purges on the admin listener: `PURGE` and `DELETE` of `/admin/objects/{path}`, with the token of the conf.

use svc_edge_origin::{Gate, Origin, Script, pattern};

use super::*;
use crate::http::Client;

const TOKEN: &str = "correct-horse-battery-staple";

/// A server whose admin listener knows the token.
fn with_token(origin: &Origin, options: &str) -> Server {
    let setup = live_with(origin, options, FILL).edge("  admin: {token: {env: E2E_ADMIN_TOKEN}}\n");
    setup.environment("E2E_ADMIN_TOKEN", TOKEN).start()
}

/// A request of the admin listener for what stands behind `/admin/objects/`.
fn ask(server: &Server, method: &str, object: &str, headers: &[(&str, &str)]) -> Response {
    Client::connect(server.admin).request(method, &format!("/admin/objects/{object}"), headers)
}

/// Purge with the token; how many objects went.
fn purge(server: &Server, method: &str, object: &str) -> u64 {
    let answer = ask(server, method, object, &[("Authorization", &format!("Bearer {TOKEN}"))]);
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{object}: {answer:?}");
    answer.json()["objects"].as_u64().unwrap()
}

/// Fill each of these and wait until it is stored.
fn fill(server: &Server, names: &[&str]) {
    for name in names {
        get(server, name, &[]);
        await_stored(server, name);
    }
}

#[test]
fn whoever_lacks_the_token_is_401_and_removes_nothing() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = with_token(&origin, "");
    fill(&server, &["a"]);
    let bearer = |token: &str| format!("Bearer {token}");
    let wrong = [
        String::new(),
        "Bearer".into(),
        bearer(""),
        bearer("wrong"),
        bearer(&TOKEN[..TOKEN.len() - 1]),
        bearer(&format!("{TOKEN}x")),
        bearer(&TOKEN.to_uppercase()),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
    ];
    for method in ["PURGE", "DELETE"] {
        for object in ["live/a", "live/", "", "..", "none"] {
            let without = ask(&server, method, object, &[]);
            assert_eq!((without.status, without.header("www-authenticate")), (401, Some("Bearer")), "{object}");
            for credentials in &wrong {
                let answer = ask(&server, method, object, &[("Authorization", credentials)]);
                assert_eq!(answer.status, 401, "{method} {object}: {credentials:?}");
            }
            let right = bearer(TOKEN);
            let two = [("Authorization", right.as_str()), ("Authorization", "Bearer wrong")];
            assert_eq!(ask(&server, method, object, &two).status, 401, "two fields are none");
        }
        assert_eq!(ask(&server, method, &format!("live/a?token={TOKEN}"), &[]).status, 401, "nor a query");
    }
    assert!(says(&get(&server, "a", &[]), "hit"));
    assert_eq!(origin.requests("/s/a").len(), 1);
    assert!(server.logged("purged").is_empty());
}

#[test]
fn without_a_token_in_the_conf_nobody_purges() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = live(&origin);
    fill(&server, &["a"]);
    for method in ["PURGE", "DELETE"] {
        for headers in [&[][..], &[("Authorization", "Bearer ")], &[("Authorization", "Bearer null")]] {
            let answer = ask(&server, method, "live/a", headers);
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {headers:?}");
        }
    }
    assert!(says(&get(&server, "a", &[]), "hit"));
}

#[test]
fn the_public_listener_purges_nothing() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = with_token(&origin, "");
    fill(&server, &["a"]);
    let bearer = format!("Bearer {TOKEN}");
    for method in ["PURGE", "DELETE"] {
        for target in ["/admin/objects/live/a", "/edge/assets/live/a"] {
            let answer = server.client().request(method, target, &[("Authorization", &bearer)]);
            assert!(matches!(answer.status, 404 | 405), "{method} {target}: {answer:?}");
        }
    }
    assert!(says(&get(&server, "a", &[]), "hit"));
}

#[test]
fn a_path_goes_with_its_queries_and_variants_at_once_and_its_neighbours_stay() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    origin.answer("/s/varied", |request| {
        text(request.header("accept-language").unwrap_or("none")).header("Vary", "Accept-Language")
    });
    let server = with_token(&origin, ", query: keep");
    let languages = [("Accept-Language", "de"), ("Accept-Language", "fr")];
    let neighbours = ["ab", "a/b", "A", "b"];
    for method in ["PURGE", "DELETE"] {
        fill(&server, &["a", "a?x=1", "a?x=2"]);
        fill(&server, &neighbours);
        for language in languages {
            get(&server, "varied", &[language]);
            server.eventually("stored", || stored(&server, "varied", &[language]).is_some());
        }
        assert_eq!(purge(&server, method, "live/a"), 3, "{method}");
        assert_eq!(purge(&server, method, "live/varied"), 2, "{method}");
        let gone = [("a", None), ("a?x=1", None), ("a?x=2", None)];
        for (name, language) in gone.into_iter().chain(languages.map(|language| ("varied", Some(language)))) {
            let headers: Vec<_> = language.into_iter().collect();
            assert!(stored(&server, name, &headers).is_none(), "{name} {language:?} at once");
            assert!(says(&get(&server, name, &headers), "fwd=miss"), "{name} {language:?}");
            server.eventually("stored again", || stored(&server, name, &headers).is_some());
        }
        for name in neighbours {
            assert!(says(&get(&server, name, &[]), "hit"), "{name}");
        }
    }
    assert_eq!(server.logged("purged").len(), 4);
    assert_eq!(purge(&server, "PURGE", "live/none"), 0);
}

#[test]
fn a_prefix_goes_with_all_below_it_and_nothing_beside_it() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let server = with_token(&origin, ", query: keep");
    let (below, beside) = (["deep/a", "deep/a?x=1", "deep/b/c"], ["deep", "deeper/a", "dee/a"]);
    fill(&server, &below);
    fill(&server, &beside);
    assert_eq!(purge(&server, "PURGE", "live/deep/"), 3);
    below.iter().for_each(|name| assert!(stored(&server, name, &[]).is_none(), "{name}"));
    beside.iter().for_each(|name| assert!(stored(&server, name, &[]).is_some(), "{name}"));
    // Escaped or not, it is one path.
    fill(&server, &["deep/a"]);
    assert_eq!(purge(&server, "DELETE", "l%69ve/deep/%61"), 1);
    assert!(stored(&server, "deep/a", &[]).is_none());
    assert_eq!(purge(&server, "DELETE", ""), 3, "nothing is a prefix of everything");
    beside.iter().for_each(|name| assert!(stored(&server, name, &[]).is_none(), "{name}"));
}

#[test]
fn what_is_no_path_is_400_and_removes_nothing() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = with_token(&origin, "");
    fill(&server, &["a"]);
    let bearer = format!("Bearer {TOKEN}");
    for bad in
        ["/", "//", "live//a", "live/./a", "live/../a", "..", "live/%2e%2e/", "live/a%00", "live/%zz", "live%5Ca"]
    {
        for method in ["PURGE", "DELETE"] {
            let answer = ask(&server, method, bad, &[("Authorization", &bearer)]);
            assert_eq!(answer.status, 400, "{method} {bad}: {answer:?}");
        }
    }
    for method in ["GET", "POST", "PUT"] {
        let answer = ask(&server, method, "live/a", &[("Authorization", &bearer), ("Content-Length", "0")]);
        assert!(matches!(answer.status, 404 | 405), "{method}: {answer:?}");
    }
    assert!(says(&get(&server, "a", &[]), "hit"));
}

#[test]
fn a_fill_that_moves_is_not_stored_behind_a_purge_and_later_readers_start_anew() {
    for object in ["live/deep/a", "live/deep/", ""] {
        let (origin, gate) = (Origin::start(), Gate::new());
        let old = Script::fresh(60).pattern(100_000).wait(&gate).pattern(100_000);
        origin.route("/s/deep/a", [old, text("new")]);
        let server = with_token(&origin, "");
        let mut reader = server.client();
        reader.ask("GET", &asset("deep/a"), &[]);
        reader.head().unwrap();
        assert!(pattern::is_at(0, &reader.exactly(100_000).unwrap()));
        purge(&server, "PURGE", object);
        // The old fill moves still, and nobody joins it any more.
        assert_eq!(get(&server, "deep/a", &[]).text(), "new", "{object:?}");
        assert_eq!(await_stored(&server, "deep/a").text(), "new");
        gate.open();
        let rest = reader.rest().unwrap();
        assert!(rest.len() == 100_000 && pattern::is_at(100_000, &rest), "who read it gets all of it");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(stored(&server, "deep/a", &[]).unwrap().text(), "new", "{object:?}: the old one did not come back");
        assert_eq!(origin.requests("/s/deep/a").len(), 2);
    }
}

#[test]
fn imported_objects_are_purged_offline_too_with_a_token_from_a_file() {
    let setup = setup().asset("a.txt", b"hello").asset("b.txt", b"there");
    let file = setup.dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let server = setup.edge(&format!("  admin: {{token: {{file: {}}}}}\n", file.display())).start();
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "hello");
    assert_eq!(purge(&server, "PURGE", "site/a.txt"), 1);
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).status, 404);
    assert_eq!(server.get("/edge/assets/site/b.txt", &[]).text(), "there");
    assert!(!format!("{:?}", server.log()).contains(TOKEN));
}
