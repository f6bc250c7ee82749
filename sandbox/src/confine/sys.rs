//! The system calls that have no safe wrapper: every `unsafe` block of Quire.
//!
//! The program is single-threaded, which is what makes forking without exec sound here: no lock
//! can be held by a thread that the child does not have.

#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::process::Pid;

/// The namespaces a confined command gets, but for the network.
pub(crate) const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// A network namespace of its own.
pub(crate) const NETWORK: libc::c_int = libc::CLONE_NEWNET;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// Forks; the child starts in new namespaces as `flags` say. `None` in the child.
pub(crate) fn fork(flags: libc::c_int) -> io::Result<Option<Pid>> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM the child gets a copy of this single-threaded process, stack
    // included (null stack = the same address), as after fork(2).
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    Ok(Pid::from_raw(pid as i32))
}

/// Arguments of clone3, as far as control groups need them.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks; the child starts in the control group whose directory is open at `cgroup`. `None` in the
/// child.
pub(crate) fn fork_into(cgroup: BorrowedFd<'_>) -> io::Result<Option<Pid>> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let arguments = CloneArguments {
        flags: CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneArguments::default()
    };
    // SAFETY: the kernel reads as many bytes as it is told of arguments that live through the call;
    // without CLONE_VM the child gets a copy of this single-threaded process, as after fork(2).
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArguments>(),
        )
    })?;
    Ok(Pid::from_raw(pid as i32))
}

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// No writing through this mount.
pub(crate) const READ_ONLY: u64 = 1;
/// No set-uid programs.
pub(crate) const NO_SUID: u64 = 2;
/// No device nodes.
pub(crate) const NO_DEVICES: u64 = 4;

/// Sets attributes of a mount and of all mounts below it.
pub(crate) fn set_mount(mount: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    let attributes = MountAttributes {
        set,
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    // SAFETY: the path is an empty C string and the attributes live through the call; the kernel
    // reads as many bytes as it is told.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    })
    .map(drop)
}

/// Brings up the loopback interface of a new network namespace.
pub(crate) fn raise_loopback(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an all-zero `ifreq` is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which lives through the call.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    check(result.into()).map(drop)
}

/// Leaves the session keyring, with the keys of whoever started us, for a new empty one.
pub(crate) fn leave_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring; nothing is read or written.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0, 0, 0, 0) }).map(drop)
}

/// What becomes of descriptors from 3 up.
#[derive(Clone, Copy)]
pub(crate) enum Descriptors {
    /// Closed now: nothing of them was opened by this process yet.
    CloseNow,
    /// Closed by the next exec.
    CloseOnExec,
}

/// Lets go of every descriptor but the standard three.
pub(crate) fn release_descriptors(when: Descriptors) -> io::Result<()> {
    let flags = match when {
        Descriptors::CloseNow => 0,
        Descriptors::CloseOnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: called with `CloseNow` only as the program's first act, when no value owns a
    // descriptor; the other form closes nothing yet.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) }).map(drop)
}

/// Closes every descriptor but copies of these, which are returned in their order, and leads the
/// standard streams nowhere.
///
/// For a process that ends by `exit` alone: the values that owned the others must never be dropped.
pub(crate) fn keep_only(kept: &[BorrowedFd<'_>]) -> io::Result<Vec<OwnedFd>> {
    const ABOVE: i32 = 64;
    let mut copies: Vec<OwnedFd> = Vec::new();
    for descriptor in kept {
        let above = copies.last().map_or(ABOVE, AsRawFd::as_raw_fd);
        copies.push(rustix::io::fcntl_dupfd_cloexec(descriptor, above)?);
    }
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    let mut from = 3;
    let ends = copies.iter().map(AsRawFd::as_raw_fd);
    for copy in ends.chain([libc::c_int::MAX]) {
        if from < copy {
            // SAFETY: by this function's contract no value that owns one of these is used or
            // dropped again; the copies, each above the one before, are outside the ranges.
            check(unsafe { libc::syscall(libc::SYS_close_range, from, copy - 1, 0) })?;
        }
        from = copy.saturating_add(1);
    }
    Ok(copies)
}

/// Holds back `signals`, to be read from the descriptor returned instead.
pub(crate) fn signals_as_descriptor(signals: &[libc::c_int]) -> io::Result<OwnedFd> {
    // SAFETY: `sigemptyset` initialises the set before anything reads it; the other calls only read
    // it, and the new descriptor is owned by nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()).into())?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        let descriptor = check(libc::signalfd(-1, &raw const set, flags).into())?;
        Ok(OwnedFd::from_raw_fd(descriptor as i32))
    }
}

/// Takes the signals that have come.
pub(crate) fn read_signals(descriptor: &OwnedFd) -> Vec<u8> {
    let mut signals = Vec::new();
    let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
    while let Ok(count) = rustix::io::read(descriptor, &mut record)
        && count == record.len()
    {
        // The number comes first, as 4 bytes; none is above 64.
        signals.push(record[if cfg!(target_endian = "little") { 0 } else { 3 }]);
    }
    signals
}

/// Makes the process ignore a signal.
pub(crate) fn ignore_signal(signal: libc::c_int) {
    // SAFETY: `SIG_IGN` is a valid disposition and runs no code of ours.
    unsafe {
        libc::signal(signal, libc::SIG_IGN);
    }
}

/// Lets every signal through with its default disposition, so that the command inherits none of
/// ours.
pub(crate) fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: `SIG_DFL` is a valid disposition and runs no code of ours; signals that can't be
        // changed are left alone by the kernel.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
    // SAFETY: `sigemptyset` initialises the set before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}
