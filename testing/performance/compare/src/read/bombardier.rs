//! One run of bombardier, as `-o json` writes it. Latencies are in microseconds, and their percentiles are there only with `-l`.
//!
//! Its percentiles are the 50th, 75th, 90th and 99th: without a 95th, the 99th is what can be judged. A template of one's own may write a 95th.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{figure, optional, share};
use crate::report::{Figures, Report, Source};

#[derive(Deserialize)]
struct Run {
    result: Answers,
}

#[derive(Deserialize)]
struct Answers {
    #[serde(rename = "timeTakenSeconds")]
    seconds: f64,
    req1xx: u64,
    req2xx: u64,
    req3xx: u64,
    req4xx: u64,
    req5xx: u64,
    others: u64,
    #[serde(default)]
    errors: Vec<Failure>,
    latency: Option<Latency>,
}

#[derive(Deserialize)]
struct Failure {
    count: u64,
}

#[derive(Deserialize)]
struct Latency {
    percentiles: Option<BTreeMap<String, f64>>,
}

pub(super) fn report(value: Value) -> Result<Report, String> {
    let run: Run = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let result = run.result;
    let answers = [result.req1xx, result.req2xx, result.req3xx, result.req4xx, result.req5xx]
        .into_iter()
        .fold(0, u64::saturating_add);
    // `others` counts what had no status. `errors` lists the kinds of the same failures, so it is no further count but where it is larger.
    let failed = result.others.max(result.errors.iter().map(|each| each.count).fold(0, u64::saturating_add));
    let percentile = |name: &str| -> Result<Option<f64>, String> {
        let found = result.latency.as_ref().and_then(|latency| latency.percentiles.as_ref()?.get(name).copied());
        Ok(optional(&format!("result.latency.percentiles.{name}"), found)?.map(|us| us / 1e3))
    };
    // Its own rps.mean is that of short windows, and counts what failed as well.
    let rps = share(answers as f64, figure("result.timeTakenSeconds", result.seconds)?);
    Ok(Report::of_one_run(
        Source::Bombardier,
        Figures {
            p95_ms: percentile("95")?,
            p99_ms: percentile("99")?,
            rps,
            shed_rate: share(result.req4xx.saturating_add(result.req5xx) as f64, answers as f64),
            error_rate: share(failed as f64, answers.saturating_add(failed) as f64),
            ..Figures::default()
        },
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::{Value, json};

    use crate::read::{self, tests::recorded};

    fn recording() -> Value {
        serde_json::from_str(&std::fs::read_to_string(recorded("bombardier.json")).unwrap()).unwrap()
    }

    #[test]
    fn a_recorded_run_has_the_99th_percentile_and_no_95th() {
        let figures = &read::report(&recorded("bombardier.json")).unwrap().profiles["run"].figures;
        let value = recording();
        assert_eq!(figures.p95_ms, None);
        assert_eq!(figures.p99_ms.unwrap(), value["result"]["latency"]["percentiles"]["99"].as_f64().unwrap() / 1e3);
        assert_eq!(figures.rps.unwrap(), 96_000.0 / 2.000617);
        assert_eq!((figures.shed_rate, figures.error_rate), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn without_l_there_are_no_percentiles_and_what_failed_is_no_answer() {
        let mut value = recording();
        value["result"]["latency"].as_object_mut().unwrap().remove("percentiles");
        value["result"]["timeTakenSeconds"] = json!(2.0);
        value["result"]["req2xx"] = json!(900);
        value["result"]["req5xx"] = json!(100);
        value["result"]["others"] = json!(1000);
        value["result"]["errors"] = json!([{"description": "timeout", "count": 1000}]);
        let figures = super::report(value).unwrap().profiles["run"].figures.clone();
        assert_eq!((figures.p99_ms, figures.rps), (None, Some(500.0)));
        assert_eq!((figures.shed_rate, figures.error_rate), (Some(0.1), Some(0.5)));
    }
}
