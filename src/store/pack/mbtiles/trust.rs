//! What a database that we don't trust may do: the tables and functions it may name, how long, how wide and how large its
//! queries may be. On top of what SQLite's authors advise for files from elsewhere (sqlite.org/security.html).

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use crate::store::pack::tile;

/// How long a query waits for a lock that a writer of the same file holds.
const BUSY: Duration = Duration::from_millis(250);

/// The functions that views may call: each takes a time linear in its arguments, and makes no more of them than they are. SQLite
/// looks at its clock between instructions only, and a call is one: `instr` of two large values would never end. `min` and `max`
/// are the aggregates of our own queries as well; `count` is not here because all rows of a table are one instruction to it.
const FUNCTIONS: [&str; 13] = [
    "abs",
    "coalesce",
    "ifnull",
    "length",
    "lower",
    "max",
    "min",
    "nullif",
    "round",
    "substr",
    "substring",
    "typeof",
    "upper",
];

/// Instructions that the program of a query may have; SQLite doubles from 42, so that this means 336. A tile of a view of two
/// tables takes about 30.
const INSTRUCTIONS: i32 = 350;

/// As [`INSTRUCTIONS`], for the check of all pages: that one takes some dozens for each table and index.
const INSTRUCTIONS_OF_CHECK: i32 = 25_000;

/// Memory of SQLite in the whole process, in bytes: no query and no number of them takes it further, they fail instead. How much a
/// single query takes can't be bounded well: a value of [`tile::MAX_LEN`] is two instructions.
const MEMORY: u32 = 192 << 20;

/// From here on caches of pages make room before they grow, so that the rest is left to values.
const MEMORY_OF_CACHES: u32 = 112 << 20;

/// Tables and views that are looked at; the names of more, or longer ones, are unknown to queries.
const MAX_TABLES: usize = 4096;
const MAX_NAME: usize = 256;

/// Prepare a fresh connection, whose clock is running. Reads the schema: a file that is no database fails here.
pub(super) fn harden(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    for (config, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
    ] {
        connection.set_db_config(config, value)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, tile::MAX_LEN as i32),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 256 << 10),
        // This and the next hold for the whole schema, also for what no query touches.
        (Limit::SQLITE_LIMIT_COLUMN, 32),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 50),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 32),
        (Limit::SQLITE_LIMIT_VDBE_OP, INSTRUCTIONS),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 8),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 16),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    // Pages are read, not mapped: a truncated mapping is a SIGBUS. The cache is 2 MiB a connection.
    connection.execute_batch(&format!(
        "PRAGMA hard_heap_limit={MEMORY}; PRAGMA soft_heap_limit={MEMORY_OF_CACHES};
         PRAGMA query_only=ON; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA cache_size=-2048; PRAGMA temp_store=FILE;"
    ))?;
    let tables = tables(connection)?;
    connection.authorizer(Some(move |context: AuthContext<'_>| authorize(&tables, &context)))
}

/// Run SQLite's check of all pages, which has a longer program than any query of ours.
pub(in crate::store::pack) fn with_long_program<T>(
    connection: &Connection,
    check: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.set_limit(Limit::SQLITE_LIMIT_VDBE_OP, INSTRUCTIONS_OF_CHECK)?;
    let result = check(connection);
    connection.set_limit(Limit::SQLITE_LIMIT_VDBE_OP, INSTRUCTIONS)?;
    result
}

/// The names, in lower case, of what stands in the file as a table or a view. Virtual tables are not among them, whether the file
/// declares them or SQLite brings them: each is a reader of its own that would have to be trusted with the file's bytes.
fn tables(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    // A virtual table has no page of its own.
    let mut statement = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'view' OR (type = 'table' AND rootpage > 0)")?;
    let mut rows = statement.query([])?;
    let mut names = HashSet::new();
    while let Some(row) = rows.next()? {
        match row.get_ref(0)?.as_str() {
            Ok(name) if name.len() <= MAX_NAME => names.insert(name.to_ascii_lowercase()),
            _ => continue,
        };
        if names.len() == MAX_TABLES {
            break;
        }
    }
    Ok(names)
}

/// What a statement, with all views it goes through, may do: read. Recursion would let a view of a few bytes make rows
/// without end.
fn authorize(tables: &HashSet<String>, context: &AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        AuthAction::Select => true,
        AuthAction::Read { table_name, .. } => tables.contains(&table_name.to_ascii_lowercase()),
        AuthAction::Pragma { pragma_name: "quick_check" | "page_count" | "page_size", .. } => true,
        AuthAction::Function { function_name } => {
            FUNCTIONS.iter().any(|allowed| function_name.eq_ignore_ascii_case(allowed))
        }
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}
