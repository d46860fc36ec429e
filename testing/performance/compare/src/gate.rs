//! The gates: what is judged, in which direction it is worse, and by how much it may be. One table, from which help, waivers and docs speak.

/// One thing that may not become worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// A profile of the baseline is there.
    Profile,
    /// Latency: the 95th percentile.
    P95,
    /// Requests a second.
    Rps,
    /// CPU time a request.
    Cpu,
    /// Resident memory.
    Memory,
    /// The share of requests that were refused.
    Shed,
    /// The share of requests that failed.
    Errors,
}

/// A gate as the table has it.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Which.
    pub gate: Gate,
    /// As waivers and tables name it.
    pub name: &'static str,
    /// What fails it.
    pub fails: &'static str,
}

/// Every gate, in the order in which they are judged and printed.
pub const GATES: [Row; 7] = [
    Row { gate: Gate::Profile, name: "profile", fails: "a profile of the baseline is not in the report" },
    Row { gate: Gate::P95, name: "p95", fails: "p95 rose by more than --fail-on, and by more than --noise-ms" },
    Row { gate: Gate::Rps, name: "rps", fails: "requests a second fell by more than --fail-on" },
    Row { gate: Gate::Cpu, name: "cpu", fails: "CPU time a request rose by more than --fail-on-resources" },
    Row { gate: Gate::Memory, name: "memory", fails: "resident memory rose by more than --fail-on-resources" },
    Row { gate: Gate::Shed, name: "shed", fails: "the share of refused requests rose by more than --fail-on-shed" },
    Row {
        gate: Gate::Errors,
        name: "errors",
        fails: "the share of failed requests rose by more than --fail-on-errors",
    },
];

impl Gate {
    /// As waivers and tables name it.
    pub fn name(self) -> &'static str {
        GATES.iter().find(|row| row.gate == self).map_or("", |row| row.name)
    }

    /// The gate of that name. Error: what is wrong with the name, and the nearest one.
    pub fn named(name: &str) -> Result<Self, String> {
        GATES.iter().find(|row| row.name == name).map(|row| row.gate).ok_or_else(|| {
            let names = GATES.map(|row| row.name);
            format!("there is no gate `{name}`{}; the gates are {}", nearest(name, &names), names.join(", "))
        })
    }
}

/// ` (did you mean …?)` of the known name nearest to `name`, or nothing where none is near.
pub fn nearest(name: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|each| (strsim::damerau_levenshtein(name, each), each))
        .filter(|(distance, each)| *distance <= 1 + each.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map_or(String::new(), |(_, each)| format!(" (did you mean `{each}`?)"))
}

/// By how much each figure may be worse. All but `noise_ms` are shares: 0.10 is 10 % of the baseline, or, of a share, that many points of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Of p95 (up) and requests a second (down).
    pub speed: f64,
    /// Of CPU time a request and of memory (up).
    pub resources: f64,
    /// Of the share of refused requests (up), absolutely: 0.005 is half a percentage point.
    pub shed: f64,
    /// Of the share of failed requests (up), absolutely.
    pub errors: f64,
    /// A latency that rose by no more milliseconds than this is not judged: the load's own scheduling moves it that far.
    pub noise_ms: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { speed: 0.10, resources: 0.15, shed: 0.005, errors: 0.001, noise_ms: 0.2 }
    }
}

impl Bounds {
    /// The bound of `gate`; of the presence of a profile there is none.
    pub fn of(&self, gate: Gate) -> f64 {
        match gate {
            Gate::P95 | Gate::Rps => self.speed,
            Gate::Cpu | Gate::Memory => self.resources,
            Gate::Shed => self.shed,
            Gate::Errors => self.errors,
            Gate::Profile => 0.0,
        }
    }
}

/// The relative change from `before` to `now`: 0.1 is a tenth more. From nothing to something it is infinite.
pub fn change(before: f64, now: f64) -> f64 {
    match before == 0.0 {
        true if now == 0.0 => 0.0,
        true => f64::INFINITY,
        false => now / before - 1.0,
    }
}

/// Whether `worse` is over `bound`. What is exactly on it is not, also where the division left a last digit.
pub fn is_over(worse: f64, bound: f64) -> bool {
    worse > bound + 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_gate_once_under_a_name_of_its_own() {
        for row in GATES {
            assert_eq!(row.gate.name(), row.name);
            assert_eq!(Gate::named(row.name), Ok(row.gate));
            assert_eq!(GATES.iter().filter(|each| each.name == row.name || each.gate == row.gate).count(), 1);
        }
    }

    #[test]
    fn a_misspelt_gate_is_told_the_nearest_one() {
        assert!(Gate::named("memry").is_err_and(|error| error.contains("did you mean `memory`?")));
        assert!(Gate::named("throughput").is_err_and(|error| !error.contains("did you mean")));
    }

    #[test]
    fn what_is_exactly_on_the_bound_is_not_over_it() {
        assert!(!is_over(change(1.0, 1.1), 0.1));
        assert!(!is_over(change(3.0, 3.3), 0.1));
        assert!(is_over(change(1.0, 1.1001), 0.1));
        assert!(!is_over(-change(1000.0, 900.0), 0.1));
        assert!(is_over(-change(1000.0, 899.9), 0.1));
        assert!(is_over(change(0.0, 0.001), 0.1));
        assert!(!is_over(change(0.0, 0.0), 0.1));
    }
}
