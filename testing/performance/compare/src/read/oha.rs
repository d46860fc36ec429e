//! One run of oha, as `--output-format json` writes it (its `schema.json`). Times are in seconds; what has no value is null.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{figure, optional, share};
use crate::report::{Figures, Report, Source};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    summary: Summary,
    latency_percentiles: Percentiles,
    status_code_distribution: BTreeMap<String, u64>,
    error_distribution: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    /// Seconds.
    total: f64,
}

#[derive(Deserialize)]
struct Percentiles {
    p95: Option<f64>,
    p99: Option<f64>,
}

/// What oha itself gave up when its time was over: no fault of the server.
const CUT_AT_THE_END: &str = "aborted due to deadline";

pub(super) fn report(value: Value) -> Result<Report, String> {
    let run: Run = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let total = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0, u64::saturating_add) as f64;
    let answers = total(&mut run.status_code_distribution.values().copied());
    let refused =
        total(&mut run.status_code_distribution.iter().filter(|(code, _)| is_refusal(code)).map(|(_, count)| *count));
    let wrong =
        total(&mut run.status_code_distribution.iter().filter(|(code, _)| is_fault(code)).map(|(_, count)| *count));
    let failed =
        total(&mut run.error_distribution.iter().filter(|(what, _)| *what != CUT_AT_THE_END).map(|(_, count)| *count));
    let ms = |name, seconds| optional(name, seconds).map(|seconds| seconds.map(|seconds| seconds * 1e3));
    Ok(Report::of_one_run(
        Source::Oha,
        Figures {
            p95_ms: ms("latencyPercentiles.p95", run.latency_percentiles.p95)?,
            p99_ms: ms("latencyPercentiles.p99", run.latency_percentiles.p99)?,
            // oha's own requestsPerSec counts what failed as well: without a server it is high.
            rps: share(answers, figure("summary.total", run.summary.total)?),
            shed_rate: share(refused, answers),
            error_rate: share(wrong + failed, answers + failed),
            ..Figures::default()
        },
    ))
}

/// The statuses by which svc-edge sheds: 429 for a rate, 503 for places.
fn is_refusal(code: &str) -> bool {
    matches!(code, "429" | "503")
}

/// Any other status over 399: no profile asks for one.
fn is_fault(code: &str) -> bool {
    matches!(code.as_bytes().first(), Some(b'4' | b'5')) && !is_refusal(code)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::{Value, json};

    use crate::read::{self, tests::recorded};
    use crate::report::Figures;

    fn figures(statuses: Value, errors: Value) -> Figures {
        let text = std::fs::read_to_string(recorded("oha.json")).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["statusCodeDistribution"] = statuses;
        value["errorDistribution"] = errors;
        super::report(value).unwrap().profiles["run"].figures.clone()
    }

    #[test]
    fn a_recorded_run_has_its_figures_in_milliseconds() {
        let figures = &read::report(&recorded("oha.json")).unwrap().profiles["run"].figures;
        let text = std::fs::read_to_string(recorded("oha.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(figures.p95_ms.unwrap(), value["latencyPercentiles"]["p95"].as_f64().unwrap() * 1e3);
        assert_eq!(figures.rps.unwrap(), 800.0 / value["summary"]["total"].as_f64().unwrap());
        assert_eq!((figures.shed_rate, figures.error_rate), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn refusals_are_shed_and_other_bad_statuses_are_errors() {
        let figures = figures(json!({"200": 80, "429": 8, "503": 2, "404": 6, "500": 4}), json!({}));
        assert_eq!((figures.shed_rate, figures.error_rate), (Some(0.1), Some(0.1)));
    }

    #[test]
    fn what_oha_cuts_at_its_end_is_no_error_and_what_is_reset_is() {
        let figures = figures(json!({"200": 99}), json!({"aborted due to deadline": 16, "connection reset": 1}));
        assert_eq!(figures.error_rate, Some(0.01));
    }

    #[test]
    fn a_run_without_a_server_has_no_latency_no_rate_and_only_errors() {
        let figures = &read::report(&recorded("oha-no-server.json")).unwrap().profiles["run"].figures;
        assert_eq!((figures.p95_ms, figures.p99_ms, figures.shed_rate), (None, None, None));
        assert_eq!((figures.rps, figures.error_rate), (Some(0.0), Some(1.0)));
    }
}
