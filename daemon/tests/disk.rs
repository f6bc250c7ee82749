//! The real binary on disks that are damaged, full, read-only or limited: what it says, and that it goes on.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![allow(clippy::print_stderr, reason = "a test that shows nothing must say so")]

use std::{
    ffi::CString,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use quire_proto::{
    TOKEN_KEY,
    home::Home,
    v1::{DaemonServiceGetStatusRequest, daemon_service_client::DaemonServiceClient},
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tonic::{Request, transport::Endpoint};

/// A daemon of this test's, dead when the test is over.
struct Daemon {
    child: Child,
    /// The first line it said.
    said: String,
}

impl Daemon {
    fn start(home: &Path) -> Self {
        Self::run(
            Command::new(env!("CARGO_BIN_EXE_quired")).arg("serve"),
            home,
        )
    }

    fn run(command: &mut Command, home: &Path) -> Self {
        let mut child = command
            .env("QUIRE_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut said).unwrap();
        Self { child, said }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// What people are told of the daemon of `home`.
async fn notices(home: &Path) -> Vec<String> {
    let home = Home::under(home.to_owned()).unwrap();
    let socket = home.record().unwrap().socket;
    let address = format!("unix://{}", socket.display());
    let channel = Endpoint::try_from(address)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut request = Request::new(DaemonServiceGetStatusRequest {});
    let token = home.token().unwrap().parse().unwrap();
    request.metadata_mut().insert(TOKEN_KEY, token);
    let mut client = DaemonServiceClient::new(channel);
    let status = client.get_status(request).await.unwrap();
    status.into_inner().notices
}

/// A file system of one megabyte, gone with the test; `None`, and told, where this user may not mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(flags: MountFlags) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = CString::new("size=1m").unwrap();
        if let Err(errno) = mount("tmpfs", directory.path(), "tmpfs", flags, &*size) {
            eprintln!("SKIPPED: no small file system can be mounted here: {errno}");
            return None;
        }
        Some(Self(directory))
    }

    fn home(&self) -> std::path::PathBuf {
        self.0.path().join("home")
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.path().join("other")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_moved_aside_and_its_name_told() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("quire.db"), "dear diary, ".repeat(1_000)).unwrap();
    let began = Instant::now();
    let daemon = Daemon::start(&home);
    assert_eq!(daemon.said, "ready\n");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let told = notices(&home).await.join("\n");
    assert!(told.contains("quire.db.damaged-"), "{told}");
    drop(daemon);
    let daemon = Daemon::start(&home);
    assert_eq!(daemon.said, "ready\n");
    assert_eq!(notices(&home).await, [""; 0], "told again");
}

#[tokio::test]
async fn a_home_that_fills_up_is_served_and_one_that_is_full_refused_in_one_line() {
    let Some(disk) = SmallDisk::new(MountFlags::NOSUID) else {
        return;
    };
    assert_eq!(Daemon::start(&disk.home()).said, "ready\n");
    disk.fill();
    let daemon = Daemon::start(&disk.home());
    assert_eq!(daemon.said, "ready\n");
    let told = notices(&disk.home()).await.join("\n");
    assert!(told.contains("the disk is full"), "{told}");

    let Some(full) = SmallDisk::new(MountFlags::NOSUID) else {
        return;
    };
    full.fill();
    let mut refused = Daemon::start(&full.home());
    let said = refused.said.clone();
    assert!(
        said.starts_with("error: ") && said.contains("space"),
        "{said}"
    );
    assert_eq!(refused.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_read_only_home_is_refused_in_one_line() {
    let Some(disk) = SmallDisk::new(MountFlags::RDONLY) else {
        return;
    };
    let mut refused = Daemon::start(&disk.home());
    let said = refused.said.clone();
    assert!(said.starts_with("error: cannot use `"), "{said}");
    assert!(said.contains("Read-only"), "{said}");
    assert_eq!(refused.child.wait().unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_limit_on_the_size_of_files_is_a_full_disk_and_no_signal() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home");
    let program = env!("CARGO_BIN_EXE_quired");
    let limited = format!("ulimit -f 128; exec '{program}' serve");
    let daemon = Daemon::run(Command::new("bash").args(["-c", &limited]), &home);
    assert_eq!(daemon.said, "ready\n");
    let told = notices(&home).await.join("\n");
    assert!(told.contains("the disk is full"), "{told}");
}
