//! Entity tags and lists of them (RFC 9110 §8.8.3): read strictly, compared weakly or strongly.

/// An entity tag, borrowed from the field it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Read a field value that is one tag and nothing else: `"x"` or `W/"x"`. The `W` is upper case, there are no
    /// escapes, and the quotes may hold commas and bytes above 0x7F, but no space, control or quote.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        match Self::take(value) {
            Some((tag, [])) => Some(tag),
            _ => None,
        }
    }

    /// Whether the tag says `W/`.
    pub fn is_weak(self) -> bool {
        self.weak
    }

    /// What stands between the quotes.
    pub fn opaque(self) -> &'a [u8] {
        self.opaque
    }

    /// Strong comparison (RFC 9110 §8.8.3.2): the same, and neither of them weak.
    pub fn strong_eq(self, other: EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison (RFC 9110 §8.8.3.2): the same between the quotes.
    pub fn weak_eq(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// Read a tag at the start of `input`; what follows it comes second.
    fn take(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match input.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, input),
        };
        let inside = quoted.strip_prefix(b"\"")?;
        // `etagc` is 0x21, 0x23–0x7E and obs-text.
        let end = inside.iter().position(|byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
        let (opaque, rest) = inside.split_at(end);
        Some((Self { weak, opaque }, rest.strip_prefix(b"\"")?))
    }
}

/// A list of tags stopped making sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of entity tags")]
pub struct Malformed;

/// The tags of one field line, in order. Empty elements and white space around commas are skipped (RFC 9110 §5.6.1.2).
/// At the first thing that is no tag it yields [`Malformed`] and ends: where the next tag would begin can't be known
/// then.
#[derive(Clone, Debug)]
pub struct List<'a> {
    rest: &'a [u8],
}

impl<'a> List<'a> {
    /// The tags of `line`.
    pub fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    fn step(&mut self) -> Result<EntityTag<'a>, Malformed> {
        let (tag, after) = EntityTag::take(self.rest).ok_or(Malformed)?;
        let after = skip(after, |byte| matches!(byte, b' ' | b'\t'));
        if !matches!(after, [] | [b',', ..]) {
            return Err(Malformed);
        }
        self.rest = after;
        Ok(tag)
    }
}

impl<'a> Iterator for List<'a> {
    type Item = Result<EntityTag<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = skip(self.rest, |byte| matches!(byte, b' ' | b'\t' | b','));
        if self.rest.is_empty() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.rest = &[];
        }
        Some(step)
    }
}

/// `input` from its first byte that is not `skipped`.
fn skip(input: &[u8], skipped: impl Fn(u8) -> bool) -> &[u8] {
    let start = input.iter().position(|byte| !skipped(*byte)).unwrap_or(input.len());
    &input[start..]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn tag(text: &str) -> EntityTag<'_> {
        EntityTag::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_tag_is_read_by_its_grammar_and_no_further() {
        for good in [r#""""#, r#""a""#, r#"W/"a""#, r#"W/"""#, r#""a,b""#, r#""!""#, r#""\""#, "\"é\"", r#""b3:00ff""#]
        {
            let parsed = tag(good);
            assert_eq!(parsed.is_weak(), good.starts_with('W'), "{good}");
            assert_eq!(parsed.opaque(), good.trim_start_matches("W/").trim_matches('"').as_bytes(), "{good}");
        }
        assert!(EntityTag::parse(b"\"\x80\xff\"").is_some());
        let bad = [
            "", "a", "*", "\"", "\"a", "a\"", "W/a", "w/\"a\"", "W\"a\"", "\"a b\"", "\"a\"\"", "\"a\" ", " \"a\"",
            "\"\t\"",
        ];
        for bad in bad {
            assert_eq!(EntityTag::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(EntityTag::parse(b"\"\x7f\""), None);
    }

    #[test]
    fn comparison_is_the_table_of_rfc_9110_8_8_3_2() {
        let table = [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
            (r#""a""#, r#""A""#, false, false),
        ];
        for (one, other, strong, weak) in table {
            assert_eq!(tag(one).strong_eq(tag(other)), strong, "{one} {other}");
            assert_eq!(tag(other).strong_eq(tag(one)), strong, "{other} {one}");
            assert_eq!(tag(one).weak_eq(tag(other)), weak, "{one} {other}");
            assert_eq!(tag(other).weak_eq(tag(one)), weak, "{other} {one}");
        }
    }

    #[test]
    fn a_list_skips_empty_elements_and_white_space() {
        let expected = vec![Ok(tag(r#""a""#)), Ok(tag(r#"W/"b,c""#))];
        for line in [r#""a",W/"b,c""#, r#""a" , W/"b,c""#, ",, \t\"a\"\t,, ,W/\"b,c\",,", r#" "a",W/"b,c" "#] {
            assert_eq!(List::new(line.as_bytes()).collect::<Vec<_>>(), expected, "{line}");
        }
        for line in ["", " ", ",", " , ,\t"] {
            assert_eq!(List::new(line.as_bytes()).count(), 0, "{line:?}");
        }
    }

    #[test]
    fn a_list_ends_at_the_first_thing_that_is_no_tag() {
        for line in
            [r#""a",b,"c""#, r#""a","b"#, r#""a",*"#, r#""a",w/"b""#, r#""a","b" "c""#, r#""a","b"x"#, r#""a","b""c""#]
        {
            assert_eq!(List::new(line.as_bytes()).collect::<Vec<_>>(), [Ok(tag(r#""a""#)), Err(Malformed)], "{line}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_lists_never_panic_and_always_end(line in prop::collection::vec(prop_oneof![
            any::<u8>(), Just(b'"'), Just(b','), Just(b'W'), Just(b'/'), Just(b' '),
        ], 0..60)) {
            let items = List::new(&line).count();
            prop_assert!(items <= line.len());
            EntityTag::parse(&line);
        }

        #[test]
        fn a_list_that_was_written_is_read_back(tags in prop::collection::vec((any::<bool>(), "[!#-~]{0,9}"), 0..6)) {
            let write = |(weak, text): &(bool, String)| format!("{}\"{text}\"", if *weak { "W/" } else { "" });
            let line = tags.iter().map(write).collect::<Vec<_>>().join(", ");
            let read: Vec<_> = List::new(line.as_bytes()).map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), tags.len());
            for (read, (weak, text)) in read.iter().zip(&tags) {
                prop_assert_eq!((read.is_weak(), read.opaque()), (*weak, text.as_bytes()));
            }
        }
    }
}
