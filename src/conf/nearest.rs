//! "Did you mean": the nearest known name to one that is unknown.

use super::table::{KEYS, SECTIONS, join, names_in};

/// Names longer than this are no misspellings, and their distances would cost more than they tell.
const MAX_NAME: usize = 64;

/// The path of the key or section that `name` in `section` most likely meant: first among its neighbours, then anywhere.
pub(super) fn nearest_key(section: &str, name: &str) -> Option<String> {
    let here = nearest(name, names_in(section).into_iter());
    if let Some(near) = here {
        return Some(join(section, near));
    }
    let paths = || KEYS.iter().map(|key| key.path).chain(SECTIONS.iter().map(|section| section.path));
    let last = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    let near = nearest(name, paths().map(last))?;
    paths().find(|path| last(path) == near).map(str::to_owned)
}

/// The candidate nearest to `name`, if it is near enough to be what was meant: a third of its letters may be wrong.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let name = name.to_lowercase();
    let distance = |candidate: &&str| strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
    // Of two that are as near, a letter too many or too few is likelier than another one: `osts` is `hosts` and not `hsts`.
    let related = |candidate: &str| is_part(&name, candidate) || is_part(candidate, &name);
    let near = candidates.min_by_key(|candidate| (distance(candidate), !related(candidate)))?;
    (distance(&near) <= (near.chars().count() / 3).max(1)).then_some(near)
}

/// Whether the letters of `part` stand in `whole`, in their order.
fn is_part(part: &str, whole: &str) -> bool {
    let mut letters = whole.chars();
    part.chars().all(|letter| letters.any(|other| other == letter))
}
