//! `svc-edge-origin --bind ADDRESS [--dir D] [--cache-control V]`: a small origin for the demo and for measurements.
//!
//! Serves the files of a directory with ETag, Last-Modified and Cache-Control, and `/gen/{bytes}`. Prints where it listens, then
//! one line a request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use svc_edge_origin::{Directory, Origin};

const USAGE: &str = "usage: svc-edge-origin --bind ADDRESS [--dir D] [--cache-control V]

  --bind ADDRESS      IP:PORT to listen on; port 0 takes a free one
  --dir D             serve the files below D
  --cache-control V   Cache-Control of the answers (default: max-age=60)

GET /gen/{bytes} answers with a body of that length.
";

#[derive(Debug, PartialEq, Eq)]
struct Options {
    bind: SocketAddr,
    dir: Option<PathBuf>,
    cache_control: String,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        Ok(Some(options)) => match serve(&options) {
            Ok(never) => match never {},
            Err(fault) => {
                say(&mut std::io::stderr(), &format!("svc-edge-origin: {fault}\n"));
                ExitCode::from(1)
            }
        },
        Ok(None) => {
            say(&mut std::io::stdout(), USAGE);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            say(&mut std::io::stderr(), &format!("svc-edge-origin: {fault}\n{USAGE}"));
            ExitCode::from(2)
        }
    }
}

/// Serve until the process is ended.
fn serve(options: &Options) -> Result<std::convert::Infallible, String> {
    let directory = Directory::new(options.dir.as_deref(), &options.cache_control).map_err(|error| {
        let dir = options.dir.as_deref().unwrap_or(std::path::Path::new("")).display();
        format!("cannot read {dir}: {error}")
    })?;
    let origin =
        Origin::start_on(options.bind).map_err(|error| format!("cannot listen on {}: {error}", options.bind))?;
    origin.forget_requests();
    origin.on_answer(|request, status| {
        let line = format!("{} {} {status} {}\n", request.method, request.target, request.sent());
        say(&mut std::io::stdout(), &line);
    });
    origin.fallback(move |request| directory.answer(request));
    say(&mut std::io::stdout(), &format!("listening on {}\n", origin.url("")));
    loop {
        std::thread::park();
    }
}

/// Whoever read what we print may have gone.
fn say(out: &mut impl std::io::Write, text: &str) {
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// The options; `None` where help was asked for.
fn options(mut words: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let (mut bind, mut dir, mut cache_control) = (None, None, "max-age=60".to_owned());
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--bind" => {
                let value = value()?;
                bind = Some(value.parse().map_err(|_| format!("{value} is no address"))?);
            }
            "--dir" => dir = Some(value()?.into()),
            "--cache-control" => {
                cache_control = value()?;
                if cache_control.chars().any(char::is_control) {
                    return Err("--cache-control has a control character".into());
                }
            }
            other => return Err(format!("{other} is unknown")),
        }
    }
    let bind = bind.ok_or("--bind is missing")?;
    Ok(Some(Options { bind, dir, cache_control }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(line: &str) -> Result<Option<Options>, String> {
        options(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_no_option_is_said() {
        let options = read("--bind 127.0.0.1:0 --dir d --cache-control no-cache").unwrap().unwrap();
        assert_eq!((options.dir, options.cache_control.as_str()), (Some("d".into()), "no-cache"));
        assert_eq!(read("--help"), Ok(None));
        for line in ["", "--bind", "--bind x", "--bind 127.0.0.1:0 --port 1", "--dir d", "stray"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
