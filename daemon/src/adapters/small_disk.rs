//! A file system so small that a test can fill it.

use std::{ffi::CString, fs, io::Write as _, path::Path};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A file system on a directory of its own, gone with the test.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// One of so many KiB. `None` where this user may not mount: the test then shows nothing, and says so.
    pub(crate) fn new(kib: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = CString::new(format!("size={kib}k")).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        if let Err(errno) = mount("tmpfs", directory.path(), "tmpfs", flags, &*size) {
            eprintln!("SKIPPED: no small file system can be mounted here: {errno}");
            return None;
        }
        Some(Self(directory))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.filling()).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }

    /// Frees what [`fill`](Self::fill) took up.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.filling()).unwrap();
    }

    fn filling(&self) -> std::path::PathBuf {
        self.path().join("other")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path(), UnmountFlags::DETACH).unwrap();
    }
}
