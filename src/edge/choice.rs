//! What of an object answers a request: its preconditions, then its Range, in the order of RFC 9110 §13.2.2.

use std::ops::Range;

use http::header;

use super::ready::Ready;
use super::settings::Settings;
use crate::observe::metrics::{Method, RANGE_REQUESTS, RangeResult};
use crate::rules::fields::Fields;
use crate::rules::precondition::{self, Verdict};
use crate::rules::range::{self, Selection};
use crate::store::Object;

/// What of an object answers a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// All of it. `ignored`: it asked for a range, which does not count.
    Whole { ignored: bool },
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416.
    Unsatisfiable,
    /// One range of it.
    One(Range<u64>),
    /// Several.
    Many(Vec<Range<u64>>),
}

impl Choice {
    /// What a request with `fields` is answered with; it is GET or HEAD.
    pub fn of(settings: &Settings, fields: &impl Fields, method: Method, ready: &Ready, object: &Object) -> Self {
        // RFC 9110 §13.2.1: preconditions are for what would be answered with 2xx.
        if !ready.is_representation() {
            return Self::Whole { ignored: false };
        }
        let validators = ready.validators(object);
        match precondition::evaluate(fields, true, &validators) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Self::NotModified,
            Verdict::Failed => return Self::Failed,
        }
        // RFC 9110 §14.2: Range is for GET only.
        if method != Method::Get || !fields.has(&header::RANGE) {
            return Self::Whole { ignored: false };
        }
        if !ready.presentation.ranges || !precondition::if_range_holds(fields, &validators) {
            return Self::Whole { ignored: true };
        }
        match range::select(fields, object.len(), settings.multi_range) {
            Selection::Ignored => Self::Whole { ignored: true },
            Selection::Unsatisfiable => Self::Unsatisfiable,
            Selection::One(range) => Self::One(range),
            Selection::Many(ranges) => Self::Many(ranges),
        }
    }

    /// Count what became of a Range. What can't be satisfied is counted with its refusal.
    pub fn count(&self) {
        match self {
            Self::Whole { ignored: true } => RANGE_REQUESTS.inc(RangeResult::Ignored),
            Self::One(_) => RANGE_REQUESTS.inc(RangeResult::Partial),
            Self::Many(_) => RANGE_REQUESTS.inc(RangeResult::Multipart),
            _ => {}
        }
    }
}
