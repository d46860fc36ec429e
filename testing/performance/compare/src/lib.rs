//! Holds a performance report against a baseline, and says what became worse; or against fixed bounds on ratios to a peer of the same run.
//!
//! Reading is apart from judging: [`read`] makes a [`report::Report`] of whatever tool wrote the file, [`compare`] and [`bounds`] judge
//! reports and know no file, [`output`] prints. What the gates are stands in one table, [`gate`]. `README.md` beside this crate is for users.

pub mod baseline;
pub mod bounds;
pub mod compare;
pub mod conf;
pub mod date;
pub mod gate;
pub mod output;
pub mod read;
pub mod report;
pub mod waiver;
