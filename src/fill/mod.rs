//! Live fills: an object that no store has is fetched from its origin, streamed to whoever waits for it, and stored.

pub mod fetch;
