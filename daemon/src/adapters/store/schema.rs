//! The tables, how older ones become these, and how a connection is set up.

use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{StoreError, gate::BUSY, row};

/// One step from a schema to the next, inside the transaction of all of them.
type Step = fn(&Connection) -> Result<(), StoreError>;

/// Forward steps; the schema's number is how many were taken. Never edit one that was released.
const MIGRATIONS: &[Step] = &[
    |on| Ok(on.execute_batch(EVENTS_AND_SESSIONS)?),
    |on| {
        on.execute_batch(SUMS_AND_DELETIONS)?;
        row::seal_all(on)
    },
];

/// `events` has a rowid on purpose: a `WITHOUT ROWID` table spills every body above 1 kB to pages of
/// its own, and inserts of interleaved sessions leave its pages half empty.
const EVENTS_AND_SESSIONS: &str = "
    CREATE TABLE sessions(
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        create_request TEXT UNIQUE,
        title TEXT NOT NULL,
        workspace TEXT NOT NULL,
        active_ms INTEGER NOT NULL,
        archived INTEGER NOT NULL,
        unfinished INTEGER NOT NULL,
        summary BLOB NOT NULL,
        head_seq INTEGER NOT NULL,
        head_chain BLOB NOT NULL
    ) STRICT;
    CREATE TABLE events(
        session INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        body BLOB NOT NULL,
        chain BLOB NOT NULL,
        PRIMARY KEY(session, seq)
    ) STRICT;
";

/// Each row of `sessions` gets a checksum; deletions are remembered so that repeated ones can be told.
const SUMS_AND_DELETIONS: &str = "
    ALTER TABLE sessions ADD COLUMN sum BLOB NOT NULL DEFAULT x'';
    CREATE TABLE deletions(
        request TEXT PRIMARY KEY,
        session TEXT NOT NULL,
        time_ms INTEGER NOT NULL
    ) STRICT;
";

/// Opens the connection that writes: file made with mode 0600, older schemas brought forward after
/// a copy was put aside.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    open_with(path, MIGRATIONS)
}

fn open_with(path: &Path, steps: &[Step]) -> Result<Connection, StoreError> {
    let supported = steps.len() as u32;
    let found = prepare_file(path, supported)?;
    let mut connection = Connection::open(path)?;
    configure(&connection)?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-1024;
         PRAGMA journal_size_limit=1048576;
         PRAGMA wal_autocheckpoint=0;",
    )?;
    if (1..supported).contains(&found) {
        back_up(&connection, path, found)?;
    }
    migrate(&mut connection, &steps[found as usize..], supported)?;
    Ok(connection)
}

/// Opens a connection that only reads. The writer must be open.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection)?;
    connection.execute_batch("PRAGMA cache_size=-512")?;
    Ok(connection)
}

/// Makes sure that all tables are there.
pub(super) fn look_through(connection: &Connection) -> Result<(), StoreError> {
    connection.prepare("SELECT session, seq, body, chain FROM events")?;
    connection.prepare("SELECT request, session, time_ms FROM deletions")?;
    Ok(())
}

/// A table that is missing, although the schema's number says that it is there, is damage.
pub(super) fn lacks_tables(error: StoreError) -> StoreError {
    match error {
        StoreError::Io(source) if source.sqlite_error_code() == Some(ErrorCode::Unknown) => {
            StoreError::Corrupt(source)
        }
        other => other,
    }
}

fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Makes the file if there is none, narrows its mode, and tells its schema's number. A newer
/// database is refused here, through a connection that cannot write.
fn prepare_file(path: &Path, supported: u32) -> Result<u32, StoreError> {
    let unusable = |source| StoreError::Unusable {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    if make_private(path).map_err(unusable)? {
        return Ok(0);
    }
    let shared = named_after(path, "-shm");
    let alone = !shared.exists();
    let found = number(&open_untouched(path)?)?;
    if found > supported {
        if alone {
            // Made by looking into a log that was left behind. It holds nothing.
            let _absent = fs::remove_file(shared);
        }
        return Err(StoreError::Newer { found, supported });
    }
    Ok(found)
}

/// Opens a connection that only reads, whether or not a writer is open. Without a write-ahead log
/// nothing is made beside the database.
pub(super) fn open_untouched(path: &Path) -> Result<Connection, StoreError> {
    let log = fs::metadata(named_after(path, "-wal")).map_or(0, |log| log.len());
    if log > 0 || named_after(path, "-shm").exists() {
        return open_reader(path);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(immutable(path), flags)?)
}

/// Whether the tables are those of this version.
///
/// # Errors
///
/// [`StoreError::Newer`] when they are of a later one.
pub(super) fn is_current(connection: &Connection) -> Result<bool, StoreError> {
    let (found, supported) = (number(connection)?, MIGRATIONS.len() as u32);
    if found > supported {
        return Err(StoreError::Newer { found, supported });
    }
    Ok(found == supported)
}

fn number(connection: &Connection) -> Result<u32, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// The name by which SQLite takes a file that nobody writes to.
fn immutable(path: &Path) -> String {
    let mut name = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                name.push(char::from(*byte));
            }
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name + "?immutable=1"
}

fn named_after(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// True when the file was made just now.
fn make_private(path: &Path) -> io::Result<bool> {
    // SQLite gives its WAL and shared memory files the mode of the database.
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = fs::metadata(path)?;
            if metadata.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            }
            Ok(metadata.len() == 0)
        }
        Err(error) => Err(error),
    }
}

/// Where the copy made before leaving schema `version` is kept.
fn backup_path(path: &Path, version: u32) -> PathBuf {
    named_after(path, &format!(".schema-{version}"))
}

fn back_up(connection: &Connection, path: &Path, version: u32) -> Result<(), StoreError> {
    let target = backup_path(path, version);
    let partial = target.with_added_extension("partial");
    let finish = || -> io::Result<()> {
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o600))?;
        fs::rename(&partial, &target)
    };
    // Left behind by a start that was killed here; VACUUM INTO wants a new file.
    let _absent = fs::remove_file(&partial);
    connection.execute("VACUUM INTO ?1", [partial.to_string_lossy()])?;
    finish().map_err(|source| StoreError::Unusable {
        path: target.clone(),
        source: Arc::new(source),
    })
}

fn migrate(connection: &mut Connection, steps: &[Step], to: u32) -> Result<(), StoreError> {
    if steps.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in steps {
        step(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", to)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quire.db");
        (directory, path)
    }

    #[test]
    fn a_newer_database_is_refused_and_left_as_it_is() {
        let (_directory, path) = scratch();
        let connection = open_writer(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let before = fs::read(&path).unwrap();
        let error = open_writer(&path).unwrap_err();
        assert!(matches!(
            error,
            StoreError::Newer {
                found: 99,
                supported: 2
            }
        ));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn an_old_database_is_kept_before_it_is_changed() {
        let (_directory, path) = scratch();
        let steps: [Step; 2] = [
            |on| Ok(on.execute_batch("CREATE TABLE one(x)")?),
            |on| Ok(on.execute_batch("CREATE TABLE two(x)")?),
        ];
        drop(open_with(&path, &steps[..1]).unwrap());
        assert!(!backup_path(&path, 0).exists(), "there was nothing to keep");
        // Left by a start that was killed.
        fs::write(
            backup_path(&path, 1).with_added_extension("partial"),
            "torn",
        )
        .unwrap();
        let two = "SELECT count(*) FROM two";
        for start in ["first", "second"] {
            let connection = open_with(&path, &steps).unwrap();
            let found = connection.query_row(two, [], |_| Ok(()));
            assert!(found.is_ok(), "at the {start} start: {found:?}");
        }
        let kept = backup_path(&path, 1);
        let mode = fs::metadata(&kept).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let copy = Connection::open(kept).unwrap();
        copy.query_row("SELECT count(*) FROM one", [], |_| Ok(()))
            .unwrap();
        assert!(copy.query_row(two, [], |_| Ok(())).is_err());
    }

    #[test]
    fn a_failing_step_leaves_the_old_schema() {
        let (_directory, path) = scratch();
        let steps: [Step; 2] = [
            |on| Ok(on.execute_batch("CREATE TABLE one(x)")?),
            |on| Ok(on.execute_batch("CREATE TABLE two(x); nonsense")?),
        ];
        drop(open_with(&path, &steps[..1]).unwrap());
        assert!(open_with(&path, &steps).is_err());
        let connection = open_with(&path, &steps[..1]).unwrap();
        assert!(
            connection
                .query_row("SELECT count(*) FROM two", [], |_| Ok(()))
                .is_err()
        );
    }

    #[test]
    fn files_are_private_and_a_wide_mode_is_narrowed() {
        let (directory, path) = scratch();
        drop(open_writer(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let connection = open_writer(&path).unwrap();
        connection.execute_batch("CREATE TABLE written(x)").unwrap();
        for entry in fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "for {}", entry.path().display());
        }
    }

    #[test]
    fn what_is_no_database_is_called_damaged() {
        let (_directory, path) = scratch();
        fs::write(
            &path,
            "not a database, though long enough to be looked at".repeat(90),
        )
        .unwrap();
        assert!(matches!(open_writer(&path), Err(StoreError::Corrupt(_))));
    }
}
