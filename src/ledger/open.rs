//! Opens the database, brings it to the present version, and runs commands in transactions.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{Answer, Command, LedgerError};
use crate::units::Timestamp;

/// Written into the file's header, so that other programs' databases are not mistaken for ours: `LUNE`.
const APPLICATION: i64 = 0x4c55_4e45;

/// The steps that bring a database forward, and the versions they lead to.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("migrations/1.sql")),
    (2, include_str!("migrations/2.sql")),
    (3, include_str!("migrations/3.sql")),
    (4, include_str!("migrations/4.sql")),
    (5, include_str!("migrations/5.sql")),
];

/// Tells this database's files from those of others in the same folder. Chosen once.
const TAG: &str = "INSERT OR IGNORE INTO settings (name, value) VALUES ('tag', lower(hex(randomblob(6))))";

/// Events older than this many are forgotten.
const EVENTS_KEPT: i64 = 100_000;

/// An open database.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
}

impl Ledger {
    /// Opens the database, which is made where there is none.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|source| LedgerError::Folder { path: folder.to_owned(), source })?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        let connection = connection.map_err(|source| LedgerError::Open { path: path.to_owned(), source })?;
        Self::prepare(connection, path)
    }

    /// Opens a database that is gone when it is dropped.
    pub fn in_memory() -> Result<Self, LedgerError> {
        let path = Path::new(":memory:");
        let connection = Connection::open_in_memory().map_err(|source| LedgerError::Open { path: path.to_owned(), source })?;
        Self::prepare(connection, path)
    }

    fn prepare(connection: Connection, path: &Path) -> Result<Self, LedgerError> {
        let open = |source| LedgerError::Open { path: path.to_owned(), source };
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (found, application) = (number("user_version").map_err(open)?, number("application_id").map_err(open)?);
        let empty = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map_err(open)? == 0;
        if application != APPLICATION && !empty {
            return Err(LedgerError::Foreign { path: path.to_owned() });
        }
        let known = MIGRATIONS.last().map_or(0, |(version, _)| *version);
        if found > known {
            return Err(LedgerError::Newer { path: path.to_owned(), found, known });
        }
        let pragma = |name, value: &str| connection.pragma_update(None, name, value).map_err(open);
        pragma("journal_mode", "wal")?;
        pragma("synchronous", "full")?;
        pragma("foreign_keys", "on")?;
        // The daemon does it when nobody waits; see `tidy_up`.
        pragma("wal_autocheckpoint", "0")?;
        connection.set_prepared_statement_cache_capacity(64);
        let mut ledger = Self { connection };
        ledger.migrate(found).map_err(open)?;
        ledger.connection.execute_batch(TAG).map_err(open)?;
        Ok(ledger)
    }

    fn migrate(&mut self, done: i64) -> rusqlite::Result<()> {
        for (version, step) in MIGRATIONS.iter().filter(|(version, _)| *version > done) {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Runs commands in their order and commits once. Either all are on disk afterwards, or none.
    pub fn run<'a>(&mut self, commands: impl IntoIterator<Item = (&'a Command, Timestamp)>) -> Result<Vec<Answer>, LedgerError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(LedgerError::sqlite("begin"))?;
        let answers = commands.into_iter().map(|(command, now)| command.apply(&transaction, now)).collect::<Result<_, _>>()?;
        transaction.commit().map_err(LedgerError::sqlite("commit"))?;
        Ok(answers)
    }

    /// Runs one command.
    pub fn run_one(&mut self, command: &Command, now: Timestamp) -> Result<Answer, LedgerError> {
        if command.is_read() {
            return command.apply(&self.connection, now);
        }
        let mut answers = self.run([(command, now)])?;
        // One command has one answer.
        Ok(answers.pop().unwrap_or(Answer::Done))
    }

    /// Moves what was committed from the write-ahead log into the file. For moments when nobody waits.
    pub fn tidy_up(&mut self) -> Result<(), LedgerError> {
        let forget = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?1";
        self.connection.execute(forget, [EVENTS_KEPT]).map_err(LedgerError::sqlite("forget old events"))?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(LedgerError::sqlite("tidy up"))
    }

    /// Returns the connection, for the other files of this folder.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}
