//! Builds the view that a plan describes, in a new mount namespace, and moves into it.
//!
//! Everything of the host is cloned by descriptor before the old root goes away, and every place is
//! opened without following links, so that nobody who may write in the workspace can turn a mount
//! aside while it is made.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat2, statat},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
        OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
        mount_change, move_mount, open_tree, unmount,
    },
    process::{fchdir, pivot_root},
};

use super::{
    plan::{Plan, View, Write},
    sys,
};

/// Device nodes a command gets.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
/// Parts of `/proc` that act on the machine.
const PROC_READ_ONLY: &[&str] = &["sys", "bus", "fs", "irq", "sysrq-trigger"];
/// Parts of `/proc` that tell the kernel's secrets.
const PROC_UNREADABLE: &[&str] = &[
    "kcore",
    "keys",
    "key-users",
    "kallsyms",
    "kmsg",
    "sched_debug",
];
/// A file that can't be opened, to be mounted over others. Gone when the view is finished.
const UNREADABLE_FILE: &str = "/dev/.unreadable";

/// What could not be done, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub(crate) struct MountError {
    step: String,
    source: io::Error,
}

trait Step<T> {
    /// Names what was tried.
    fn step(self, name: impl FnOnce() -> String) -> Result<T, MountError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, name: impl FnOnce() -> String) -> Result<T, MountError> {
        self.map_err(|error| MountError {
            step: name(),
            source: error.into(),
        })
    }
}

/// Enters the view. The caller is alone in a new user, mount and process namespace.
///
/// Returns sentences on what is weaker than planned.
///
/// # Errors
///
/// What the kernel refused; the process is then of no more use.
pub(crate) fn enter(plan: &Plan) -> Result<Vec<String>, MountError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step(|| "separate the mounts".to_owned())?;
    let root = clone(Path::new("/"))?;
    let fixed = sys::READ_ONLY | sys::NO_SUID | sys::NO_DEVICES;
    let sources = sources(plan)?;
    let devices = devices()?;
    sys::set_mount(root.as_fd(), fixed).step(|| "make the root read-only".to_owned())?;
    change_root(root)?;
    let weaknesses = proc()?;
    dev(devices)?;
    views(plan, sources)?;
    let _ = fs::remove_file(UNREADABLE_FILE);
    for tree in plan.views.iter().filter(|(_, view)| **view == View::Empty) {
        seal(tree.0)?;
    }
    Ok(weaknesses)
}

/// Clones of what the plan takes from the host.
fn sources(plan: &Plan) -> Result<BTreeMap<PathBuf, OwnedFd>, MountError> {
    let mut sources = BTreeMap::new();
    for (path, view) in &plan.views {
        let (source, attributes) = match view {
            View::Host(Write::Yes) => (path.clone(), sys::NO_SUID | sys::NO_DEVICES),
            View::Host(Write::No) => (
                path.clone(),
                sys::READ_ONLY | sys::NO_SUID | sys::NO_DEVICES,
            ),
            View::Scratch(name) => match &plan.scratch {
                Some(scratch) => (scratch.join(name), sys::NO_SUID | sys::NO_DEVICES),
                None => continue,
            },
            View::Empty | View::Unreadable | View::Link(_) => continue,
        };
        match clone(&source) {
            Ok(mount) => {
                sys::set_mount(mount.as_fd(), attributes)
                    .step(|| format!("bind `{}`", source.display()))?;
                sources.insert(path.clone(), mount);
            }
            // Gone since the plan was made: then there is nothing to protect or to show.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sources)
}

fn devices() -> Result<Vec<(&'static str, OwnedFd)>, MountError> {
    let there = DEVICES
        .iter()
        .filter(|name| Path::new("/dev").join(name).exists());
    there
        .map(|name| Ok((*name, clone(&Path::new("/dev").join(name))?)))
        .collect()
}

fn place(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// A copy of the mounts at and below `path`, attached nowhere.
fn clone(path: &Path) -> Result<OwnedFd, MountError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    place(path)
        .and_then(|place| open_tree(place, "", flags))
        .step(|| format!("open `{}`", path.display()))
}

fn attach(mount: BorrowedFd<'_>, path: &Path) -> Result<(), MountError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    place(path)
        .and_then(|place| move_mount(mount, "", place, "", flags))
        .step(|| format!("mount `{}`", path.display()))
}

/// A new, empty file system.
fn fresh(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(context.as_fd(), *name, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn memory(mode: &str) -> Result<OwnedFd, MountError> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fresh("tmpfs", &[("mode", mode), ("size", "50%")], attributes)
        .step(|| "make a file system in memory".to_owned())
}

fn change_root(root: OwnedFd) -> Result<(), MountError> {
    // Any directory does as a place: the old root, and with it the place, is gone right after.
    attach(root.as_fd(), Path::new("/proc"))?;
    fchdir(&root).step(|| "enter the new root".to_owned())?;
    pivot_root(".", ".").step(|| "change the root".to_owned())?;
    unmount(".", UnmountFlags::DETACH).step(|| "let go of the old root".to_owned())?;
    rustix::process::chdir("/").step(|| "enter the new root".to_owned())
}

fn proc() -> Result<Vec<String>, MountError> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = match fresh("proc", &[], attributes) {
        Ok(mount) => mount,
        // Containers cover parts of /proc, and the kernel then allows no fresh one.
        Err(Errno::PERM) => {
            return Ok(vec![
                "processes outside can be seen, because a container covers parts of `/proc`"
                    .to_owned(),
            ]);
        }
        Err(error) => return Err(error).step(|| "make `/proc`".to_owned()),
    };
    attach(mount.as_fd(), Path::new("/proc"))?;
    // Nobody inside makes namespaces of their own, and the system calls for it are refused too.
    let _ = fs::write("/proc/sys/user/max_user_namespaces", "0");
    for name in PROC_READ_ONLY {
        let path = Path::new("/proc").join(name);
        if path.exists() {
            let part = clone(&path)?;
            sys::set_mount(part.as_fd(), sys::READ_ONLY)
                .step(|| format!("protect `{}`", path.display()))?;
            attach(part.as_fd(), &path)?;
        }
    }
    Ok(Vec::new())
}

fn dev(devices: Vec<(&'static str, OwnedFd)>) -> Result<(), MountError> {
    let dev = Path::new("/dev");
    attach(memory("0755")?.as_fd(), dev)?;
    let make = || -> io::Result<()> {
        for (link, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            std::os::unix::fs::symlink(target, dev.join(link))?;
        }
        for name in ["pts", "shm", "mqueue"] {
            fs::create_dir(dev.join(name))?;
        }
        for (name, _) in &devices {
            fs::write(dev.join(name), "")?;
        }
        fs::write(UNREADABLE_FILE, "")?;
        fs::set_permissions(UNREADABLE_FILE, fs::Permissions::from_mode(0o000))
    };
    make().step(|| "fill `/dev`".to_owned())?;
    for (name, node) in devices {
        sys::set_mount(node.as_fd(), sys::NO_SUID).step(|| format!("bind `/dev/{name}`"))?;
        attach(node.as_fd(), &dev.join(name))?;
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let terminals = fresh(
        "devpts",
        &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")],
        attributes,
    );
    let terminals = terminals.or_else(|_| {
        fresh(
            "devpts",
            &[("ptmxmode", "0666"), ("mode", "0620")],
            attributes,
        )
    });
    attach(
        terminals.step(|| "make `/dev/pts`".to_owned())?.as_fd(),
        &dev.join("pts"),
    )?;
    attach(memory("1777")?.as_fd(), &dev.join("shm"))?;
    // Message queues may be left out of a kernel.
    if let Ok(queues) = fresh("mqueue", &[], attributes) {
        attach(queues.as_fd(), &dev.join("mqueue"))?;
    }
    for name in PROC_UNREADABLE {
        let path = Path::new("/proc").join(name);
        if path.exists() {
            cover(&path)?;
        }
    }
    Ok(())
}

fn cover(path: &Path) -> Result<(), MountError> {
    let file = clone(Path::new(UNREADABLE_FILE))?;
    sys::set_mount(file.as_fd(), sys::READ_ONLY).step(|| format!("hide `{}`", path.display()))?;
    attach(file.as_fd(), path)
}

fn views(plan: &Plan, mut sources: BTreeMap<PathBuf, OwnedFd>) -> Result<(), MountError> {
    for (path, view) in &plan.views {
        match view {
            View::Empty => {
                make_directory(path)?;
                attach(memory("0755")?.as_fd(), path)?;
            }
            View::Scratch(name) => {
                make_directory(path)?;
                match sources.remove(path) {
                    Some(source) => attach(source.as_fd(), path)?,
                    None => attach(
                        memory(if *name == "home" { "0700" } else { "1777" })?.as_fd(),
                        path,
                    )?,
                }
            }
            View::Host(_) => {
                if let Some(source) = sources.remove(path) {
                    make_place_for(&source, path)?;
                    attach(source.as_fd(), path)?;
                }
            }
            View::Unreadable => match cover(path) {
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            },
            View::Link(target) => {
                make_directory(path.parent().unwrap_or(Path::new("/")))?;
                std::os::unix::fs::symlink(target, path)
                    .step(|| format!("link `{}`", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Makes the directories up to `path`; those missing are in file systems of our own.
fn make_directory(path: &Path) -> Result<(), MountError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path);
    made.step(|| format!("make a place for `{}`", path.display()))
}

fn make_place_for(source: &OwnedFd, path: &Path) -> Result<(), MountError> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let status =
        statat(source, "", AtFlags::EMPTY_PATH).step(|| format!("look at `{}`", path.display()))?;
    if rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir() {
        return make_directory(path);
    }
    make_directory(path.parent().unwrap_or(Path::new("/")))?;
    fs::write(path, "").step(|| format!("make a place for `{}`", path.display()))
}

/// Makes an empty directory read-only, now that everything in it has its place.
fn seal(path: &Path) -> Result<(), MountError> {
    use rustix::mount::{MountFlags, mount_remount};
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(path, flags, "").step(|| format!("seal `{}`", path.display()))
}
