//! What is wrong with a conf, where, and what is allowed: as much of it at once as can be found.

use std::fmt;
use std::rc::Rc;

use super::yaml::Mark;

/// More errors than this say nothing new.
const MAX_ERRORS: usize = 100;

/// Everything that is wrong with a conf. Its text is one line an error: `file:line:column: what is wrong; what is allowed`, with
/// the variable or the flag in front where the value came from there. A process that prints it exits with 2.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfErrors {
    errors: Vec<(Place, String)>,
    more: bool,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The conf file, by the name it was given.
    File(Rc<str>),
    /// An environment variable.
    Variable(Rc<str>),
    /// A flag of the command line.
    Flag(&'static str),
    /// The table of keys.
    Default,
}

/// Where an error is: the mark counts only in a file.
pub(super) type Place = (Source, Mark);

impl ConfErrors {
    /// How many errors there are.
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// An error that has no line.
    pub(super) fn of(source: Source, what: impl Into<String>) -> ConfErrors {
        let mut errors = ConfErrors::default();
        errors.push((source, Mark::default()), what.into());
        errors
    }

    pub(super) fn push(&mut self, place: Place, what: String) {
        if self.is_full() {
            self.more = true;
        } else if !self.errors.iter().any(|known| known.0 == place && known.1 == what) {
            self.errors.push((place, what));
        }
    }

    /// Whether another error would be left out.
    pub(super) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    /// `value` if nothing is wrong, else the errors in the order of the file.
    pub(super) fn or<T>(mut self, value: Option<T>) -> Result<T, ConfErrors> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => {
                self.errors.sort();
                Err(self)
            }
        }
    }
}

impl fmt::Display for ConfErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ((source, mark), what)) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match source {
                Source::File(name) if mark.line == 0 => write!(f, "{name}: {what}")?,
                Source::File(name) => write!(f, "{name}:{}:{}: {what}", mark.line, mark.column)?,
                Source::Variable(name) => write!(f, "{name}: {what}")?,
                Source::Flag(name) => write!(f, "{name}: {what}")?,
                Source::Default => write!(f, "default: {what}")?,
            }
        }
        if self.more {
            write!(f, "\nand more")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfErrors {}
