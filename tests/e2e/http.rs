//! A client that sends exactly the bytes it is given, and believes nothing: responses are parsed by RFC 9112, strictly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection to a server under test.
pub struct Client {
    stream: BufReader<TcpStream>,
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
        Self { stream: BufReader::new(stream) }
    }

    /// Send bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        // A server that has refused already may have closed: the answer tells.
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Send a request with Host and the given header lines.
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: edge.test\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.send(text.as_bytes());
        self.response(method == "HEAD").expect("a whole response")
    }

    /// Read one response; an error says what was wrong with it or that the connection ended short of it.
    pub fn response(&mut self, head: bool) -> Result<Response, String> {
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
        let mut response = Response { status, headers, body: Vec::new() };
        let bodiless = head || status == 204 || status == 304 || status < 200;
        if !bodiless {
            let length: usize =
                response.header("content-length").ok_or("no Content-Length")?.parse().map_err(|e| format!("{e}"))?;
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body).map_err(|error| format!("body cut: {error}"))?;
        }
        Ok(response)
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
