//! Whether the event store's file is still a database, and whole.
//!
//! The file is only read, also by SQLite: nothing is recovered, and no file is made beside it. So while
//! a daemon writes, or a write-ahead log waits for the next one, only its beginning is judged.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use quire_proto::home::Home;
use rusqlite::{Connection, OpenFlags};

use super::{Check, places::lives};

const NAME: &str = "event store";

/// What every database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Bytes of a database's header.
const HEADER: usize = 100;

/// A larger one takes too long to be read through.
const READ_MAX: u64 = 1 << 30;

const REMEDY: &str = "the next start of the daemon puts it aside and saves what can be read; \
                      bring a copy back instead if you have one";

/// The database can be read, and is one.
pub(super) fn database(home: &Home) -> Check {
    let path = home.database();
    let shown = path.display();
    let size = match header(&path) {
        Ok(Some(size)) => size,
        Ok(None) => return Check::ok(NAME, "no session yet"),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Check::error(NAME, format!("{shown} is destroyed: {error}"), REMEDY);
        }
        Err(error) => {
            let remedy = "make it readable and writable for you, or look after the disk";
            return Check::error(NAME, format!("{shown} can't be read: {error}"), remedy);
        }
    };
    let said = format!("{shown}, {} MB", size.div_ceil(1 << 20));
    let used = home.record().is_ok_and(|record| lives(&record));
    if used || size > READ_MAX || has_log(&path) {
        return Check::ok(NAME, format!("{said} (its beginning was looked at)"));
    }
    match read_through(&path) {
        Ok(None) => Check::ok(NAME, said),
        Ok(Some(fault)) => Check::error(NAME, format!("{shown} is damaged: {fault}"), REMEDY),
        Err(error) => Check::error(NAME, format!("{shown} is damaged: {error}"), REMEDY),
    }
}

/// The file's size if it begins as a database of that size does; `None` when there is none, or an empty
/// one, as a first start leaves it that was killed.
fn header(path: &Path) -> io::Result<Option<u64>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(wrong("it is no file"));
    }
    if metadata.len() == 0 {
        return Ok(None);
    }
    let mut header = [0; HEADER];
    file.read_exact(&mut header)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => wrong("it is cut"),
            _ => error,
        })?;
    if !header.starts_with(MAGIC) {
        return Err(wrong("it is no database"));
    }
    // 1 stands for 65,536, which two bytes can't hold.
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 1 << 16,
        page => u64::from(page),
    };
    if !page.is_power_of_two() || page < 512 {
        return Err(wrong("its header makes no sense"));
    }
    Ok(Some(metadata.len()))
}

/// Whether changes wait beside the database: without them it may look damaged and is not.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// The first fault that SQLite finds.
fn read_through(path: &Path) -> rusqlite::Result<Option<String>> {
    // Immutable: no lock is taken and no file made, so a database that is in use must not be read so.
    let mut address = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        let _never_fails = match byte {
            b'/' | b'.' | b'-' | b'_' => write!(address, "{}", char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => write!(address, "{}", char::from(*byte)),
            byte => write!(address, "%{byte:02x}"),
        };
    }
    address.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(address, flags)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then(|| found.lines().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{adapters::store::Store, edge::oneshot::doctor::Level};

    async fn made(directory: &Path) -> Home {
        let home = Home::under(directory.join("odd #? %41")).unwrap();
        fs::create_dir_all(home.state()).unwrap();
        let store = Store::open(&home.database()).unwrap();
        store.close().await.unwrap();
        home
    }

    #[tokio::test]
    async fn a_whole_database_is_told_from_a_destroyed_one_and_neither_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let home = made(directory.path()).await;
        let whole = fs::read(home.database()).unwrap();
        type Harm = fn(&mut Vec<u8>);
        let table: [(&str, Harm, Level, &str); 7] = [
            ("whole", |_| (), Level::Ok, "MB"),
            ("empty", |bytes| bytes.clear(), Level::Ok, "no session yet"),
            (
                "cut in its header",
                |bytes| bytes.truncate(50),
                Level::Error,
                "is cut",
            ),
            (
                "overwritten",
                |bytes| bytes.fill(b'x'),
                Level::Error,
                "no database",
            ),
            (
                "no page size",
                |bytes| bytes[16] = 3,
                Level::Error,
                "no sense",
            ),
            (
                "cut in its pages",
                |bytes| bytes.truncate(4_096),
                Level::Error,
                "damaged",
            ),
            (
                "a page of noise",
                |bytes| bytes[4_096..8_192].fill(0xa5),
                Level::Error,
                "damaged",
            ),
        ];
        for (what, harm, level, word) in table {
            let mut bytes = whole.clone();
            harm(&mut bytes);
            fs::write(home.database(), &bytes).unwrap();
            let check = database(&home);
            assert_eq!(check.level, level, "{what}: {check:?}");
            assert!(check.found.contains(word), "{what}: {check:?}");
            assert_eq!(fs::read(home.database()).unwrap(), bytes, "{what}");
            let files = fs::read_dir(home.state()).unwrap().count();
            assert_eq!(files, 1, "{what}: a file was made beside it");
        }
    }

    #[tokio::test]
    async fn a_database_with_a_log_is_not_judged_by_its_pages() {
        let directory = tempfile::tempdir().unwrap();
        let home = made(directory.path()).await;
        let mut bytes = fs::read(home.database()).unwrap();
        bytes[4_096..].fill(0xa5);
        fs::write(home.database(), bytes).unwrap();
        fs::write(home.state().join("quire.db-wal"), "changes").unwrap();
        assert_eq!(database(&home).level, Level::Ok);
        fs::remove_file(home.database()).unwrap();
        fs::create_dir(home.database()).unwrap();
        let check = database(&home);
        assert!(
            check.level == Level::Error && check.found.contains("no file"),
            "{check:?}"
        );
    }
}
