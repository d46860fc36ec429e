//! A client that sends exactly the bytes it is given, and believes nothing: responses are parsed by RFC 9112, strictly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What bytes go over: a socket, or TLS over one.
pub trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// A connection to a server under test.
pub struct Client {
    stream: BufReader<Box<dyn Wire>>,
    /// The socket below, where it is one in clear text.
    socket: Option<TcpStream>,
    /// Whether the last request was a HEAD.
    asked_head: bool,
    /// What is to come of the body whose head was read.
    framing: Framing,
}

/// How the rest of a body is framed (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes.
    Length(u64),
    /// So many bytes of this chunk, then further ones.
    Chunk(u64),
    /// Nothing.
    Ended,
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("the server accepts"))
    }

    /// Over a connection that is there already.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a read timeout");
        stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a write timeout");
        stream.set_nodelay(true).expect("nodelay");
        let socket = stream.try_clone().expect("another handle of the socket");
        Self { socket: Some(socket), ..Self::through(stream) }
    }

    /// Over anything, which has its own deadlines.
    pub fn through(wire: impl Wire + 'static) -> Self {
        Self { stream: BufReader::new(Box::new(wire)), socket: None, asked_head: false, framing: Framing::Ended }
    }

    /// Send bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        // A server that has refused already may have closed: the answer tells.
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Send a request with Host and the given header lines.
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
        self.ask(method, target, headers);
        self.response(method == "HEAD").expect("a whole response")
    }

    /// Send a request with Host and the given header lines, and read nothing yet.
    pub fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) {
        self.asked_head = method == "HEAD";
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: edge.test\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.send(text.as_bytes());
    }

    /// Read the final head of the answer to what was asked; its body is then read piece by piece, or never. Interim responses
    /// before it are passed over.
    pub fn head(&mut self) -> Result<Response, String> {
        loop {
            let head = self.read_head()?;
            if head.status < 200 {
                continue;
            }
            self.framing = match head.header("content-length") {
                _ if self.asked_head || head.status == 204 || head.status == 304 => Framing::Ended,
                Some(length) => Framing::Length(length.parse().map_err(|_| format!("no length: {length:?}"))?),
                None if head.header("transfer-encoding") == Some("chunked") => Framing::Chunk(0),
                None => return Err("the body has no framing".into()),
            };
            return Ok(head);
        }
    }

    /// The next bytes of the body whose head was read, at most `max`; none at its end. An error says that it was cut.
    pub fn some(&mut self, max: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; max];
        let count = self.read_into(&mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// The same into a buffer; 0 at the end of the body.
    pub fn read_into(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        if self.framing == Framing::Chunk(0) {
            self.next_chunk()?;
        }
        let (Framing::Length(left) | Framing::Chunk(left)) = self.framing else { return Ok(0) };
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.stream.read(&mut buffer[..wanted]).map_err(|error| format!("body cut: {error}"))?;
        if count == 0 {
            return Err(format!("body cut, {left} bytes of its length or chunk missing"));
        }
        let left = left - count as u64;
        match &mut self.framing {
            Framing::Length(length) => *length = left,
            Framing::Chunk(length) => {
                *length = left;
                if left == 0 && !self.line()?.is_empty() {
                    return Err("a chunk is longer than its size".into());
                }
            }
            Framing::Ended => {}
        }
        Ok(count)
    }

    /// Exactly so many bytes of the body.
    pub fn exactly(&mut self, count: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let piece = self.some(count - bytes.len())?;
            if piece.is_empty() {
                return Err(format!("the body ended after {} bytes of {count}", bytes.len()));
            }
            bytes.extend(piece);
        }
        Ok(bytes)
    }

    /// The rest of the body.
    pub fn rest(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        loop {
            let piece = self.some(256 * 1024)?;
            if piece.is_empty() {
                return Ok(bytes);
            }
            bytes.extend(piece);
        }
    }

    /// Ask, and read the whole answer however it is framed; an error says that it was cut.
    pub fn fetch(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Response, String> {
        self.ask(method, target, headers);
        let mut response = self.head()?;
        response.body = self.rest()?;
        Ok(response)
    }

    /// Read one response; an error says what was wrong with it or that the connection ended short of it.
    pub fn response(&mut self, head: bool) -> Result<Response, String> {
        let mut response = self.read_head()?;
        let bodiless = head || response.status == 204 || response.status == 304 || response.status < 200;
        if !bodiless {
            let length: usize =
                response.header("content-length").ok_or("no Content-Length")?.parse().map_err(|e| format!("{e}"))?;
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body).map_err(|error| format!("body cut: {error}"))?;
        }
        Ok(response)
    }

    /// Read one head, interim or final.
    pub fn read_head(&mut self) -> Result<Response, String> {
        let status_line = self.line()?;
        let mut words = status_line.splitn(3, ' ');
        if words.next() != Some("HTTP/1.1") {
            return Err(format!("not a status line: {status_line:?}"));
        }
        let status: u16 =
            words.next().and_then(|word| word.parse().ok()).ok_or(format!("no status: {status_line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(format!("not a header: {line:?}"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Response { status, headers, body: Vec::new() })
    }

    /// Read the size of the next chunk, and past the trailers behind the last (RFC 9112 §7.1).
    fn next_chunk(&mut self) -> Result<(), String> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(|_| format!("no size of a chunk: {line:?}"))?;
        self.framing = Framing::Chunk(size);
        if size == 0 {
            while !self.line()?.is_empty() {}
            self.framing = Framing::Ended;
        }
        Ok(())
    }

    /// Whether the server has closed the connection, or answered, by now; what it has sent is read away.
    pub fn is_over(&mut self) -> bool {
        let socket = self.socket.as_mut().expect("a connection in clear text");
        socket.set_nonblocking(true).expect("not blocking");
        let read = socket.read(&mut [0; 4096]);
        socket.set_nonblocking(false).expect("blocking");
        !matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Send nothing more, and go on reading.
    pub fn half_close(&mut self) {
        // A server that has closed already makes that an error, and tells by its answer.
        let _ = self.socket.as_ref().expect("a connection in clear text").shutdown(std::net::Shutdown::Write);
    }

    /// Whether the server has closed the connection, without having sent anything more.
    pub fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).map_err(|error| format!("header cut: {error}"))?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => String::from_utf8(line.to_vec()).map_err(|error| error.to_string()),
            None => Err(format!("the connection ended in a header line: {:?}", String::from_utf8_lossy(&line))),
        }
    }
}

impl Response {
    /// The value of a header; a panic where it stands more than once and could hide a second value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} stands more than once in {self:?}");
        value
    }

    /// All values of a header that may be a list, in order.
    pub fn list(&self, name: &str) -> Vec<String> {
        let values = self.headers.iter().filter(|(key, _)| key == name);
        values.flat_map(|(_, value)| value.split(',')).map(|item| item.trim().to_owned()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}
