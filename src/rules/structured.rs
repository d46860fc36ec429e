//! Structured fields (RFC 9651): reading a Dictionary, exactly. A field that breaks the grammar anywhere is as if it
//! were not there (§4.2), so nothing of it may count before all of it was read. What the members mean is for each field
//! to say.

/// The value of a member, as far as the fields that we read care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An Integer: at most 15 digits.
    Integer(i64),
    /// A Boolean; a member without a value is true.
    Boolean(bool),
    /// A Token.
    Token(&'a str),
    /// A String without its quotes, its escapes (`\"`, `\\`) still in it.
    String(&'a str),
    /// A Decimal, Byte Sequence, Date, Display String or Inner List.
    Other,
}

/// The field is no Dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a structured dictionary")]
pub struct Malformed;

/// Tell `member` each member of the Dictionary in `lines`, in order and without its parameters. Where a key comes
/// again, the later value replaces the earlier (§3.2); that is for `member` to do, and to forget everything if this
/// fails in the end.
pub fn dictionary<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    mut member: impl FnMut(&'a str, Value<'a>),
) -> Result<(), Malformed> {
    let mut lines = lines.into_iter().peekable();
    let mut first = true;
    while let Some(line) = lines.next() {
        let mut cursor = Cursor { rest: line };
        cursor.skip(b" ");
        // Lines are joined by commas (§4.2), so an empty one among others leaves a comma too many.
        if cursor.rest.is_empty() && first && lines.peek().is_none() {
            return Ok(());
        }
        first = false;
        loop {
            let key = cursor.key()?;
            member(key, cursor.member_value()?);
            cursor.skip(b" \t");
            if cursor.rest.is_empty() {
                break;
            }
            cursor.require(b',')?;
            cursor.skip(b" \t");
        }
    }
    Ok(())
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn require(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.eat(byte) { Ok(()) } else { Err(Malformed) }
    }

    fn skip(&mut self, padding: &[u8]) {
        self.take_while(|byte| padding.contains(&byte));
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !wanted(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// §4.2.3.3.
    fn key(&mut self) -> Result<&'a str, Malformed> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*') {
            return Err(Malformed);
        }
        text(self.take_while(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'*')
        }))
    }

    /// What follows a key of a Dictionary (§4.2.2).
    fn member_value(&mut self) -> Result<Value<'a>, Malformed> {
        let value = match (self.eat(b'='), self.peek()) {
            (false, _) => Value::Boolean(true),
            (true, Some(b'(')) => self.inner_list()?,
            (true, _) => self.bare_item()?,
        };
        self.parameters()?;
        Ok(value)
    }

    /// §4.2.1.2, without the parameters behind it.
    fn inner_list(&mut self) -> Result<Value<'a>, Malformed> {
        self.require(b'(')?;
        loop {
            self.skip(b" ");
            if self.eat(b')') {
                return Ok(Value::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return Err(Malformed);
            }
        }
    }

    /// §4.2.3.2. None of the fields that we read gives parameters a meaning.
    fn parameters(&mut self) -> Result<(), Malformed> {
        while self.eat(b';') {
            self.skip(b" ");
            self.key()?;
            if self.eat(b'=') {
                self.bare_item()?;
            }
        }
        Ok(())
    }

    /// §4.2.3.1.
    fn bare_item(&mut self) -> Result<Value<'a>, Malformed> {
        match self.peek().ok_or(Malformed)? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => Ok(Value::Token(text(self.take_while(is_token))?)),
            b':' => self.byte_sequence(),
            b'?' => {
                self.next()?;
                match self.next()? {
                    b'0' => Ok(Value::Boolean(false)),
                    b'1' => Ok(Value::Boolean(true)),
                    _ => Err(Malformed),
                }
            }
            b'@' => {
                self.next()?;
                match self.number()? {
                    Value::Integer(_) => Ok(Value::Other),
                    _ => Err(Malformed),
                }
            }
            b'%' => self.display_string(),
            _ => Err(Malformed),
        }
    }

    /// §4.2.4: an Integer of at most 15 digits, or a Decimal of at most 12 before and 3 behind the point.
    fn number(&mut self) -> Result<Value<'a>, Malformed> {
        let negative = self.eat(b'-');
        let whole = self.take_while(|byte| byte.is_ascii_digit());
        if self.peek() == Some(b'.') && !whole.is_empty() {
            self.next()?;
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let fits = whole.len() <= 12 && (1..=3).contains(&fraction.len());
            return if fits { Ok(Value::Other) } else { Err(Malformed) };
        }
        if !(1..=15).contains(&whole.len()) {
            return Err(Malformed);
        }
        let number = whole.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        Ok(Value::Integer(if negative { -number } else { number }))
    }

    /// §4.2.5.
    fn string(&mut self) -> Result<Value<'a>, Malformed> {
        self.require(b'"')?;
        let inside = self.rest;
        let mut length = 0;
        loop {
            match self.next()? {
                b'"' => return Ok(Value::String(text(&inside[..length])?)),
                b'\\' => {
                    if !matches!(self.next()?, b'"' | b'\\') {
                        return Err(Malformed);
                    }
                    length += 2;
                }
                0x20..=0x7e => length += 1,
                _ => return Err(Malformed),
            }
        }
    }

    /// §4.2.7.
    fn byte_sequence(&mut self) -> Result<Value<'a>, Malformed> {
        self.require(b':')?;
        self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
        self.require(b':')?;
        Ok(Value::Other)
    }

    /// §4.2.10: quoted, with `%xx` in lower case for bytes of UTF-8.
    fn display_string(&mut self) -> Result<Value<'a>, Malformed> {
        self.require(b'%')?;
        self.require(b'"')?;
        let mut decoded = Vec::new();
        loop {
            match self.next()? {
                b'"' => break,
                b'%' => decoded.push(self.hex_digit()? << 4 | self.hex_digit()?),
                byte @ 0x20..=0x7e => decoded.push(byte),
                _ => return Err(Malformed),
            }
        }
        std::str::from_utf8(&decoded).map(|_| Value::Other).map_err(|_| Malformed)
    }

    fn hex_digit(&mut self) -> Result<u8, Malformed> {
        match self.next()? {
            digit @ b'0'..=b'9' => Ok(digit - b'0'),
            digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(Malformed),
        }
    }
}

/// `tchar`, `:` and `/` (§4.2.6).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
}

/// Everything that the grammar lets into a key, token or string is ASCII.
fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests;
