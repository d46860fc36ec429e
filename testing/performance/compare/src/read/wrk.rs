//! One run of wrk, as the `done` function of the harness' scripts writes it. Times are in microseconds.

use serde::Deserialize;
use serde_json::Value;

use super::{figure, share};
use crate::report::{Figures, Report, Source};

#[derive(Deserialize)]
struct Run {
    requests: u64,
    rps: f64,
    latency_us: Latency,
    errors: Errors,
}

#[derive(Deserialize)]
struct Latency {
    p95: f64,
    p99: f64,
}

#[derive(Deserialize)]
struct Errors {
    connect: u64,
    read: u64,
    write: u64,
    timeout: u64,
    /// Answers with a status over 399. wrk doesn't say which.
    status: u64,
}

pub(super) fn report(value: Value) -> Result<Report, String> {
    let run: Run = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let requests = run.requests as f64;
    let failed: u64 = [run.errors.connect, run.errors.read, run.errors.write, run.errors.timeout]
        .into_iter()
        .fold(0, u64::saturating_add);
    // Without one answer there is no latency: the zeros that wrk writes then are none.
    let answered = run.requests > 0;
    Ok(Report::of_one_run(
        Source::Wrk,
        Figures {
            p95_ms: answered.then_some(figure("latency_us.p95", run.latency_us.p95)? / 1e3),
            p99_ms: answered.then_some(figure("latency_us.p99", run.latency_us.p99)? / 1e3),
            rps: Some(figure("rps", run.rps)?),
            shed_rate: share(run.errors.status as f64, requests),
            error_rate: share(failed as f64, requests + failed as f64),
            ..Figures::default()
        },
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use crate::read::{self, tests::recorded};

    #[test]
    fn a_recorded_run_has_its_figures_in_milliseconds() {
        let run = read::report(&recorded("wrk.json")).unwrap();
        let figures = &run.profiles["run"].figures;
        assert_eq!((figures.p95_ms, figures.p99_ms, figures.rps), (Some(1.04), Some(4.173), Some(43204.35)));
        assert_eq!((figures.shed_rate, figures.error_rate), (Some(0.0), Some(0.0)));
        assert_eq!((figures.cpu_us, figures.rss_mib, run.machine), (None, None, None));
    }

    #[test]
    fn a_run_of_which_every_answer_was_refused_says_so() {
        let run = read::report(&recorded("wrk-refused.json")).unwrap();
        assert_eq!(run.profiles["run"].figures.shed_rate, Some(1.0));
    }

    #[test]
    fn a_run_without_an_answer_has_no_latency_and_only_errors() {
        let text = std::fs::read_to_string(recorded("wrk.json")).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["requests"] = 0.into();
        value["errors"]["connect"] = 16.into();
        let figures = &super::report(value).unwrap().profiles["run"].figures;
        assert_eq!((figures.p95_ms, figures.shed_rate, figures.error_rate), (None, None, Some(1.0)));
    }

    #[test]
    fn a_run_need_not_name_its_tool() {
        let text = std::fs::read_to_string(recorded("wrk.json")).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value.as_object_mut().unwrap().remove("tool");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.json");
        std::fs::write(&path, value.to_string()).unwrap();
        assert_eq!(read::report(&path).unwrap(), read::report(&recorded("wrk.json")).unwrap());
    }

    #[test]
    fn what_lacks_a_field_is_told_which() {
        let value = serde_json::json!({"tool": "wrk", "requests": 1, "rps": 1.0, "errors": {}});
        assert!(super::report(value).is_err_and(|error| error.contains("latency_us") || error.contains("connect")));
    }
}
