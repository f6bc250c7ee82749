//! The system calls that are refused, as data, every entry with its reason.

use libc::c_long;
use seccompiler::SeccompCmpOp;

/// A call that is refused, and why.
pub(super) struct Refused {
    pub(super) call: c_long,
    pub(super) reason: &'static str,
}

const fn refused(call: c_long, reason: &'static str) -> Refused {
    Refused { call, reason }
}

/// Answered with "no such call", for which programs have a fallback.
pub(super) const ABSENT: &[Refused] = &[
    refused(
        libc::SYS_clone3,
        "its flags can't be looked at; libraries fall back to clone",
    ),
    refused(
        libc::SYS_io_uring_setup,
        "does what other calls do, past this filter",
    ),
    refused(libc::SYS_io_uring_enter, "as above"),
    refused(libc::SYS_io_uring_register, "as above"),
];

/// Answered with "not permitted".
pub(super) const FORBIDDEN: &[Refused] = &[
    refused(libc::SYS_mount, "changes the view of files"),
    refused(libc::SYS_umount2, "changes the view of files"),
    refused(libc::SYS_pivot_root, "changes the view of files"),
    refused(libc::SYS_chroot, "changes the view of files"),
    refused(libc::SYS_open_tree, "changes the view of files"),
    refused(libc::SYS_move_mount, "changes the view of files"),
    refused(libc::SYS_fsopen, "changes the view of files"),
    refused(libc::SYS_fsconfig, "changes the view of files"),
    refused(libc::SYS_fsmount, "changes the view of files"),
    refused(libc::SYS_fspick, "changes the view of files"),
    refused(libc::SYS_mount_setattr, "changes the view of files"),
    refused(467, "open_tree_attr: changes the view of files"),
    refused(
        libc::SYS_unshare,
        "makes namespaces, and with them privileges",
    ),
    refused(libc::SYS_setns, "enters the namespaces of others"),
    refused(libc::SYS_open_by_handle_at, "opens files past the view"),
    refused(libc::SYS_name_to_handle_at, "names files past the view"),
    refused(
        libc::SYS_fanotify_init,
        "watches and blocks whole file systems",
    ),
    refused(libc::SYS_quotactl, "administration"),
    refused(libc::SYS_quotactl_fd, "administration"),
    refused(libc::SYS_swapon, "administration"),
    refused(libc::SYS_swapoff, "administration"),
    refused(libc::SYS_acct, "administration"),
    refused(libc::SYS_reboot, "administration"),
    refused(libc::SYS_syslog, "reads the kernel's log"),
    refused(libc::SYS_settimeofday, "sets the clock"),
    refused(libc::SYS_clock_settime, "sets the clock"),
    refused(libc::SYS_adjtimex, "sets the clock"),
    refused(libc::SYS_clock_adjtime, "sets the clock"),
    refused(libc::SYS_sethostname, "administration"),
    refused(libc::SYS_setdomainname, "administration"),
    refused(libc::SYS_init_module, "loads code into the kernel"),
    refused(libc::SYS_finit_module, "loads code into the kernel"),
    refused(libc::SYS_delete_module, "administration"),
    refused(libc::SYS_kexec_load, "loads another kernel"),
    refused(libc::SYS_kexec_file_load, "loads another kernel"),
    refused(libc::SYS_bpf, "loads code into the kernel"),
    refused(
        libc::SYS_perf_event_open,
        "a frequent source of holes in the kernel",
    ),
    refused(
        libc::SYS_userfaultfd,
        "makes holes in the kernel easier to use",
    ),
    refused(
        libc::SYS_keyctl,
        "the kernel's keys are shared with other sessions",
    ),
    refused(
        libc::SYS_add_key,
        "the kernel's keys are shared with other sessions",
    ),
    refused(
        libc::SYS_request_key,
        "the kernel's keys are shared with other sessions",
    ),
    refused(
        libc::SYS_pidfd_getfd,
        "takes descriptors out of other processes",
    ),
    refused(libc::SYS_lookup_dcookie, "administration"),
    refused(libc::SYS_vhangup, "hangs up a terminal"),
    refused(libc::SYS_nfsservctl, "administration"),
    #[cfg(target_arch = "x86_64")]
    refused(libc::SYS_iopl, "reaches devices"),
    #[cfg(target_arch = "x86_64")]
    refused(libc::SYS_ioperm, "reaches devices"),
    #[cfg(target_arch = "x86_64")]
    refused(
        libc::SYS_modify_ldt,
        "a frequent source of holes in the kernel",
    ),
    #[cfg(target_arch = "x86_64")]
    refused(libc::SYS_uselib, "a frequent source of holes in the kernel"),
];

/// Answered with "not permitted" where the command shares IPC with other programs.
pub(super) const FORBIDDEN_WITHOUT_NAMESPACES: &[Refused] = &[
    refused(libc::SYS_shmget, "memory of other programs"),
    refused(libc::SYS_shmat, "memory of other programs"),
    refused(libc::SYS_msgget, "queues of other programs"),
    refused(libc::SYS_semget, "semaphores of other programs"),
    refused(libc::SYS_mq_open, "queues of other programs"),
    refused(libc::SYS_ptrace, "other programs of the same user"),
    refused(libc::SYS_process_vm_readv, "memory of other programs"),
    refused(libc::SYS_process_vm_writev, "memory of other programs"),
];

/// Argument of a call, from 0, that decides.
pub(super) struct Part {
    pub(super) argument: u8,
    pub(super) test: SeccompCmpOp,
    pub(super) value: u64,
}

/// A call that is refused when its arguments say so.
pub(super) struct Conditional {
    pub(super) call: c_long,
    pub(super) parts: &'static [Part],
    pub(super) reason: &'static str,
}

const fn part(argument: u8, test: SeccompCmpOp, value: u64) -> Part {
    Part {
        argument,
        test,
        value,
    }
}

const fn has(argument: u8, bit: libc::c_int) -> Part {
    part(
        argument,
        SeccompCmpOp::MaskedEq(bit as u32 as u64),
        bit as u32 as u64,
    )
}

const TYPE: u64 = 0xf;
const FORMAT: u64 = libc::S_IFMT as u64;

macro_rules! when {
    ($call:expr, [$($part:expr),+], $reason:literal) => {
        Conditional { call: $call, parts: &[$($part),+], reason: $reason }
    };
}

/// Answered with "not permitted".
pub(super) const FORBIDDEN_WHEN: &[Conditional] = &[
    when!(
        libc::SYS_clone,
        [has(0, libc::CLONE_NEWUSER)],
        "makes privileges"
    ),
    when!(
        libc::SYS_clone,
        [has(0, libc::CLONE_NEWNS)],
        "makes namespaces"
    ),
    when!(
        libc::SYS_clone,
        [has(0, libc::CLONE_NEWPID)],
        "makes namespaces"
    ),
    when!(
        libc::SYS_clone,
        [has(0, libc::CLONE_NEWNET)],
        "makes namespaces"
    ),
    when!(
        libc::SYS_clone,
        [has(0, libc::CLONE_NEWIPC)],
        "makes namespaces"
    ),
    when!(
        libc::SYS_clone,
        [has(0, libc::CLONE_NEWUTS)],
        "makes namespaces"
    ),
    when!(
        libc::SYS_clone,
        [has(0, libc::CLONE_NEWCGROUP)],
        "makes namespaces"
    ),
    when!(
        libc::SYS_ioctl,
        [part(1, SeccompCmpOp::Eq, libc::TIOCSTI)],
        "types into a terminal for its user"
    ),
    when!(
        libc::SYS_ioctl,
        [part(1, SeccompCmpOp::Eq, 0x541c)],
        "TIOCLINUX: types into a console for its user"
    ),
    when!(
        libc::SYS_mknodat,
        [part(
            2,
            SeccompCmpOp::MaskedEq(FORMAT),
            libc::S_IFBLK as u64
        )],
        "makes devices"
    ),
    when!(
        libc::SYS_mknodat,
        [part(
            2,
            SeccompCmpOp::MaskedEq(FORMAT),
            libc::S_IFCHR as u64
        )],
        "makes devices"
    ),
    #[cfg(target_arch = "x86_64")]
    when!(
        libc::SYS_mknod,
        [part(
            1,
            SeccompCmpOp::MaskedEq(FORMAT),
            libc::S_IFBLK as u64
        )],
        "makes devices"
    ),
    #[cfg(target_arch = "x86_64")]
    when!(
        libc::SYS_mknod,
        [part(
            1,
            SeccompCmpOp::MaskedEq(FORMAT),
            libc::S_IFCHR as u64
        )],
        "makes devices"
    ),
    when!(
        libc::SYS_socket,
        [
            part(0, SeccompCmpOp::Eq, libc::AF_INET as u64),
            part(1, SeccompCmpOp::MaskedEq(TYPE), libc::SOCK_RAW as u64)
        ],
        "forges packets"
    ),
    when!(
        libc::SYS_socket,
        [
            part(0, SeccompCmpOp::Eq, libc::AF_INET6 as u64),
            part(1, SeccompCmpOp::MaskedEq(TYPE), libc::SOCK_RAW as u64)
        ],
        "forges packets"
    ),
    when!(
        libc::SYS_socket,
        [part(1, SeccompCmpOp::MaskedEq(TYPE), 10)],
        "SOCK_PACKET: forges packets"
    ),
];

/// Answered with "no such address family": what is neither Unix, internet nor route netlink.
pub(super) const NO_FAMILY_WHEN: &[Conditional] = &[
    when!(
        libc::SYS_socket,
        [
            part(0, SeccompCmpOp::Ne, libc::AF_UNIX as u64),
            part(0, SeccompCmpOp::Ne, libc::AF_INET as u64),
            part(0, SeccompCmpOp::Ne, libc::AF_INET6 as u64),
            part(0, SeccompCmpOp::Ne, libc::AF_NETLINK as u64)
        ],
        "rare families: virtual machines, kernel crypto, radio, a frequent source of holes"
    ),
    when!(
        libc::SYS_socket,
        [
            part(0, SeccompCmpOp::Eq, libc::AF_NETLINK as u64),
            part(2, SeccompCmpOp::Ne, libc::NETLINK_ROUTE as u64)
        ],
        "talks to parts of the kernel"
    ),
    when!(
        libc::SYS_socketpair,
        [part(0, SeccompCmpOp::Ne, libc::AF_UNIX as u64)],
        "rare families"
    ),
];

/// The same where the command has no network namespace of its own and none was granted.
pub(super) const NO_FAMILY_WITHOUT_NAMESPACES: &[Conditional] = &[
    when!(
        libc::SYS_socket,
        [part(0, SeccompCmpOp::Eq, libc::AF_INET as u64)],
        "the network, past what Landlock tells apart (UDP)"
    ),
    when!(
        libc::SYS_socket,
        [part(0, SeccompCmpOp::Eq, libc::AF_INET6 as u64)],
        "the network, past what Landlock tells apart (UDP)"
    ),
    when!(
        libc::SYS_socket,
        [part(0, SeccompCmpOp::Eq, libc::AF_UNIX as u64)],
        "sockets of daemons, which nothing hides here"
    ),
    when!(
        libc::SYS_socket,
        [part(0, SeccompCmpOp::Eq, libc::AF_NETLINK as u64)],
        "tells the host's addresses"
    ),
];
