//! What an unsafe request makes invalid (RFC 9111 §4.4).

use http::header::{CONTENT_LOCATION, HeaderMap, LOCATION};
use http::{Method, Uri};

/// Whether an answer with `status` to a request with `method` invalidates what is stored: the method is not known to be
/// safe (RFC 9110 §9.2.1), and the answer is no error.
pub fn invalidates(method: &Method, status: u16) -> bool {
    !method.is_safe() && (200..400).contains(&status)
}

/// The targets that are invalid after such an answer, each once, as path and query: the request's own, then those in
/// `Location` and `Content-Location` that have its origin (§4.4: others must not be touched). Percent-encoding stays as
/// it is. `target` is absolute; without an authority nothing has its origin.
pub fn invalidated(target: &Uri, response: &HeaderMap) -> Vec<String> {
    let own = target.path_and_query().map_or("/", |path| path.as_str());
    let mut targets = vec![own.to_owned()];
    let references = [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| response.get(name));
    for reference in references.filter_map(|value| value.to_str().ok()) {
        if let Some(resolved) = resolve(target, reference).filter(|resolved| !targets.contains(resolved)) {
            targets.push(resolved);
        }
    }
    targets
}

/// Path and query of what `reference` names, seen from `base` (RFC 3986 §5.2.2), if it has the same origin
/// (RFC 9110 §4.3.1).
fn resolve(base: &Uri, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (before_query, query) = match reference.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (reference, None),
    };
    let (scheme, rest) = split_scheme(before_query);
    if scheme.is_some_and(|scheme| !base.scheme_str().is_some_and(|own| own.eq_ignore_ascii_case(scheme))) {
        return None;
    }
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (Some(authority), path)
        }
        None => (None, rest),
    };
    let same_origin = match authority {
        Some(authority) => same_authority(base, authority),
        // `http:x` names no origin at all.
        None => scheme.is_none() && base.authority().is_some(),
    };
    if !same_origin {
        return None;
    }
    let own = base.path();
    let (path, query) = match path {
        "" if authority.is_none() => (own.to_owned(), query.or(base.query())),
        "" => ("/".to_owned(), query),
        path if path.starts_with('/') => (path.to_owned(), query),
        path => (format!("{}{path}", &own[..own.rfind('/').map_or(0, |last| last + 1)]), query),
    };
    let path = without_dots(&path);
    Some(query.map_or(path.clone(), |query| format!("{path}?{query}")))
}

/// A scheme at the start of a reference, and what follows its colon.
fn split_scheme(reference: &str) -> (Option<&str>, &str) {
    match reference.split_once(':') {
        Some((scheme, rest))
            if scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) =>
        {
            (Some(scheme), rest)
        }
        _ => (None, reference),
    }
}

/// Whether `authority` is that of `base`: the host without case, the port with the scheme's default filled in. One with
/// userinfo is another.
fn same_authority(base: &Uri, authority: &str) -> bool {
    let default = match base.scheme_str() {
        Some("https") => "443",
        _ => "80",
    };
    let split = |authority: &str| {
        let (host, port) = match authority.rsplit_once(':') {
            // The colon of an IPv6 address stands inside brackets.
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, ""),
        };
        (host.to_ascii_lowercase(), if port.is_empty() { default } else { port }.to_owned())
    };
    base.authority().is_some_and(|own| split(own.as_str()) == split(authority))
}

/// A path without `.` and `..` segments (RFC 3986 §5.2.4). It starts with a slash.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(usize::from(path.starts_with('/'))).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn base() -> Uri {
        "http://Origin.test:8080/a/b/c?q=1".parse().unwrap()
    }

    #[test]
    fn only_unsafe_methods_invalidate_and_only_when_they_did_something() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "PROPPATCH", "ANYTHING"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            for status in [200, 201, 204, 299, 301, 303, 304, 399] {
                assert!(invalidates(&method, status), "{method} {status}");
            }
            for status in [100, 199, 400, 404, 500, 503, 599] {
                assert!(!invalidates(&method, status), "{method} {status}");
            }
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert!(!invalidates(&method, 200), "{method}");
        }
    }

    #[test]
    fn references_are_resolved_as_rfc_3986_5_4_shows() {
        // The base there is `http://a/b/c/d;p?q`.
        let base: Uri = "http://a/b/c/d;p?q".parse().unwrap();
        let table = [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./g/.", "/b/c/g/"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("//a", "/"),
            ("//a?y", "/?y"),
            ("http://a/x", "/x"),
        ];
        for (reference, expected) in table {
            assert_eq!(resolve(&base, reference).as_deref(), Some(expected), "{reference}");
        }
        for other in ["//g", "g:h", "http:g", "https://a/x", "http://a:81/x", "http://u@a/x", "http://b/x"] {
            assert_eq!(resolve(&base, other), None, "{other}");
        }
    }

    #[test]
    fn the_origin_is_compared_without_case_and_with_default_ports() {
        for same in ["http://origin.TEST:8080/x", "HTTP://origin.test:8080/x", "//origin.test:8080/x", "/x"] {
            assert_eq!(resolve(&base(), same).as_deref(), Some("/x"), "{same}");
        }
        for other in ["http://origin.test/x", "https://origin.test:8080/x", "//origin.test.:8080/x", "//:8080/x"] {
            assert_eq!(resolve(&base(), other), None, "{other}");
        }
        let plain: Uri = "https://[::1]/x".parse().unwrap();
        for same in ["https://[::1]:443/y", "https://[::1]/y", "https://[::1]:/y"] {
            assert_eq!(resolve(&plain, same).as_deref(), Some("/y"), "{same}");
        }
        assert_eq!(resolve(&plain, "https://[::1]:80/y"), None);
        assert_eq!(resolve(&"/no/origin".parse().unwrap(), "/x"), None);
    }

    #[test]
    fn the_target_and_its_locations_are_invalid_each_once() {
        let mut response = HeaderMap::new();
        assert_eq!(invalidated(&base(), &response), ["/a/b/c?q=1"]);
        response.insert(LOCATION, HeaderValue::from_static("d"));
        response.insert(CONTENT_LOCATION, HeaderValue::from_static("http://origin.test:8080/e"));
        assert_eq!(invalidated(&base(), &response), ["/a/b/c?q=1", "/a/b/d", "/e"]);
        response.insert(LOCATION, HeaderValue::from_static("/e"));
        assert_eq!(invalidated(&base(), &response), ["/a/b/c?q=1", "/e"]);
        response.insert(LOCATION, HeaderValue::from_static("http://elsewhere.test/e"));
        response.insert(CONTENT_LOCATION, HeaderValue::from_bytes(b"/\xff").unwrap());
        assert_eq!(invalidated(&base(), &response), ["/a/b/c?q=1"]);
    }

    proptest! {
        #[test]
        fn whatever_a_location_says_its_path_is_absolute_and_without_dots(reference in "[a-c./?#:@%\\[\\]]{0,24}|\\PC{0,16}") {
            if let Some(resolved) = resolve(&base(), &reference) {
                prop_assert!(resolved.starts_with('/'));
                let path = resolved.split('?').next().unwrap();
                prop_assert!(!path.split('/').any(|segment| segment == "." || segment == ".."), "{}", resolved);
            }
        }
    }
}
