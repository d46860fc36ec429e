//! `perf-floor IP:PORT DIRECTORY`: serves the files below a directory until it is ended; port 0 takes a free one. Prints where it listens.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;

use perf_floor::{Answers, serve};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, directory] = &arguments[..] else {
        complain("usage: perf-floor IP:PORT DIRECTORY");
        return ExitCode::from(2);
    };
    match run(address, Path::new(directory)) {
        Ok(never) => match never {},
        Err(error) => {
            complain(&format!("perf-floor: {error}"));
            ExitCode::from(1)
        }
    }
}

fn run(address: &str, directory: &Path) -> std::io::Result<std::convert::Infallible> {
    let answers = Answers::of(directory)?;
    let listener = TcpListener::bind(address)?;
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    serve(&listener, answers)
}

/// A standard error that is gone is no reason to end otherwise.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
