//! Answers, prepared: what is sent for the very bytes of a request.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::rc::Rc;

/// From this length on a body is sent by `sendfile`, in bytes: below, a copy from memory is as cheap.
pub const SENDFILE_FROM: u64 = 1 << 20;
/// Distinct requests whose answers are kept. A load asks for some hundreds; one that varies without end must not fill the memory.
const KEPT: usize = 4096;

/// What is sent for one request.
pub struct Answer {
    /// The head, and the body where it is not in `file`.
    pub bytes: Vec<u8>,
    /// The body that `sendfile` sends: file, offset and length in bytes.
    pub file: Option<(Rc<File>, u64, u64)>,
}

struct Asset {
    file: Rc<File>,
    /// Empty from [`SENDFILE_FROM`] on.
    body: Vec<u8>,
    length: u64,
}

/// The files below a directory, and the answers that were asked for.
pub struct Answers {
    assets: HashMap<String, Asset>,
    prepared: HashMap<Vec<u8>, Rc<Answer>>,
}

impl Answers {
    /// Every regular file below `directory`, by its path there with a `/` before it; links are followed.
    ///
    /// # Errors
    /// What reading the directory or a file says.
    pub fn of(directory: &Path) -> io::Result<Self> {
        let mut assets = HashMap::new();
        let mut left = vec![(directory.to_path_buf(), String::new())];
        while let Some((path, name)) = left.pop() {
            if path.is_dir() {
                for entry in fs::read_dir(&path)? {
                    let entry = entry?;
                    left.push((entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy())));
                }
            } else {
                let file = Rc::new(File::open(&path)?);
                let length = file.metadata()?.len();
                let body = if length < SENDFILE_FROM { fs::read(&path)? } else { Vec::new() };
                assets.insert(name, Asset { file, body, length });
            }
        }
        Ok(Self { assets, prepared: HashMap::new() })
    }

    /// The answer for a request's head, blank line included: made once for the same bytes.
    pub fn answer(&mut self, head: &[u8]) -> Rc<Answer> {
        if let Some(answer) = self.prepared.get(head) {
            return Rc::clone(answer);
        }
        let answer = Rc::new(self.prepare(head));
        if self.prepared.len() < KEPT {
            self.prepared.insert(head.to_vec(), Rc::clone(&answer));
        }
        answer
    }

    fn prepare(&self, head: &[u8]) -> Answer {
        let head = String::from_utf8_lossy(head);
        let mut line = head.lines().next().unwrap_or("").split(' ');
        let (method, target) = (line.next().unwrap_or(""), line.next().unwrap_or(""));
        let field = |name: &str| {
            head.lines().skip(1).find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let Some(asset) = self.assets.get(target) else {
            return Answer::empty("404 Not Found", "Content-Length: 0\r\n");
        };
        let tag = format!("ETag: \"{:x}\"\r\n", asset.length);
        if !matches!(method, "GET" | "HEAD") {
            return Answer::empty("405 Method Not Allowed", "Allow: GET, HEAD\r\nContent-Length: 0\r\n");
        }
        if field("if-none-match").is_some() {
            return Answer::empty("304 Not Modified", &tag);
        }
        let range = field("range").filter(|_| method == "GET").and_then(|value| one_range(value, asset.length));
        let (first, length) = range.unwrap_or((0, asset.length));
        let (status, range) = match range {
            Some(_) => (
                "206 Partial Content",
                format!("Content-Range: bytes {first}-{}/{}\r\n", first + length - 1, asset.length),
            ),
            None => ("200 OK", String::new()),
        };
        let fields = format!(
            "Content-Type: application/octet-stream\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\n{tag}{range}\
             Cache-Control: public, max-age=300\r\n"
        );
        let mut answer = Answer::empty(status, &fields);
        if method == "GET" {
            answer.add_body(asset, first, length);
        }
        answer
    }
}

impl Answer {
    fn empty(status: &str, fields: &str) -> Self {
        Self { bytes: format!("HTTP/1.1 {status}\r\nServer: floor\r\n{fields}\r\n").into_bytes(), file: None }
    }

    fn add_body(&mut self, asset: &Asset, first: u64, length: u64) {
        let range = first as usize..(first + length) as usize;
        if let Some(body) = asset.body.get(range) {
            self.bytes.extend_from_slice(body);
        } else if length >= SENDFILE_FROM {
            self.file = Some((Rc::clone(&asset.file), first, length));
        } else {
            // A piece of a long file: read when it is asked for the first time, and from then on as any short answer.
            let mut piece = vec![0; length as usize];
            match std::os::unix::fs::FileExt::read_exact_at(&*asset.file, &mut piece, first) {
                Ok(()) => self.bytes.extend_from_slice(&piece),
                Err(_) => *self = Self::empty("500 Internal Server Error", "Content-Length: 0\r\n"),
            }
        }
    }
}

/// `bytes=first-last` inside of `length`: the offset and the length. Any other form is ignored, as RFC 9110 §14.2 allows.
fn one_range(value: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?.min(length.checked_sub(1)?));
    (first <= last).then(|| (first, last - first + 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn answers() -> (tempfile::TempDir, Answers) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        fs::write(directory.path().join("a/small"), b"0123456789").unwrap();
        fs::write(directory.path().join("large"), vec![7; SENDFILE_FROM as usize]).unwrap();
        let answers = Answers::of(directory.path()).unwrap();
        (directory, answers)
    }

    fn text(answers: &mut Answers, request: &str) -> String {
        String::from_utf8(answers.answer(format!("{request}\r\n\r\n").as_bytes()).bytes.clone()).unwrap()
    }

    #[test]
    fn a_short_body_follows_its_head_in_one_buffer() {
        let (_directory, mut answers) = answers();
        let answer = text(&mut answers, "GET /a/small HTTP/1.1\r\nHost: x");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("Content-Length: 10\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n0123456789"), "{answer}");
    }

    #[test]
    fn head_has_the_fields_of_get_and_no_body() {
        let (_directory, mut answers) = answers();
        let get = text(&mut answers, "GET /a/small HTTP/1.1");
        assert_eq!(text(&mut answers, "HEAD /a/small HTTP/1.1"), get.strip_suffix("0123456789").unwrap());
    }

    #[test]
    fn a_range_is_answered_with_its_bytes_and_a_conditional_request_with_304() {
        let (_directory, mut answers) = answers();
        let answer = text(&mut answers, "GET /a/small HTTP/1.1\r\nrange: bytes=2-4");
        assert!(answer.starts_with("HTTP/1.1 206 ") && answer.contains("Content-Range: bytes 2-4/10\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n234"), "{answer}");
        let answer = text(&mut answers, "GET /a/small HTTP/1.1\r\nIf-None-Match: \"a\"");
        assert!(answer.starts_with("HTTP/1.1 304 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn a_long_body_is_left_to_sendfile_but_a_short_range_of_it_is_not() {
        let (_directory, mut answers) = answers();
        let whole = answers.answer(b"GET /large HTTP/1.1\r\n\r\n");
        assert!(matches!(whole.file, Some((_, 0, SENDFILE_FROM))) && whole.bytes.ends_with(b"\r\n\r\n"));
        let piece = answers.answer(b"GET /large HTTP/1.1\r\nRange: bytes=100-104\r\n\r\n");
        assert!(piece.file.is_none() && piece.bytes.ends_with(b"\r\n\r\n\x07\x07\x07\x07\x07"));
    }

    #[test]
    fn what_is_no_request_for_a_file_is_refused() {
        let (_directory, mut answers) = answers();
        for request in ["GET /../a HTTP/1.1", "GET / HTTP/1.1", "", "\u{0}\u{ff}"] {
            assert!(text(&mut answers, request).starts_with("HTTP/1.1 404 "), "{request}");
        }
        assert!(text(&mut answers, "POST /a/small HTTP/1.1").starts_with("HTTP/1.1 405 "));
    }

    #[test]
    fn the_same_bytes_get_the_same_answer_without_another_being_made() {
        let (_directory, mut answers) = answers();
        let first = answers.answer(b"GET /a/small HTTP/1.1\r\n\r\n");
        assert!(Rc::ptr_eq(&first, &answers.answer(b"GET /a/small HTTP/1.1\r\n\r\n")));
        for other in 0..2 * KEPT {
            answers.answer(format!("GET /{other} HTTP/1.1\r\n\r\n").as_bytes());
        }
        assert_eq!(answers.prepared.len(), KEPT);
    }
}
