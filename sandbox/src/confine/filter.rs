//! The system call filter: what no command needs, as data, every entry with its reason.
//!
//! One list of everything refused rather than everything allowed: commands are compilers, browsers
//! and databases. What the kernel knows and this list does not is refused too, see
//! [`NEWEST_CALL`]. The filter is several programs, since each has one answer; the kernel takes the
//! strictest.

use std::collections::BTreeMap;

use libc::c_long;
use quire_sandbox::{
    report::{Missing, Report},
    spec::Layer,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// Newest call this list was made against (`file_setattr`, Linux 6.17). Later ones, and those of
/// the x32 interface (which carry bit 30), are answered as if the kernel were older.
const NEWEST_CALL: u32 = 469;

/// A call that is refused, and why.
struct Refused {
    call: c_long,
    reason: &'static str,
}

const fn refused(call: c_long, reason: &'static str) -> Refused {
    Refused { call, reason }
}

/// Answered with "no such call", for which programs have a fallback.
const ABSENT: &[Refused] = &[
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
const FORBIDDEN: &[Refused] = &[
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
const FORBIDDEN_WITHOUT_NAMESPACES: &[Refused] = &[
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
struct Part {
    argument: u8,
    test: SeccompCmpOp,
    value: u64,
}

/// A call that is refused when its arguments say so.
struct Conditional {
    call: c_long,
    parts: &'static [Part],
    reason: &'static str,
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
const FORBIDDEN_WHEN: &[Conditional] = &[
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
const NO_FAMILY_WHEN: &[Conditional] = &[
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
const NO_FAMILY_WITHOUT_NAMESPACES: &[Conditional] = &[
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

/// What the filter can rely on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    /// Namespaces of its own: IPC and processes of others are out of reach.
    pub(crate) namespaces: bool,
    /// No network but what a namespace gives.
    pub(crate) offline: bool,
}

/// Compiles the programs, in the order they are to be installed.
fn programs(around: Around) -> Result<Vec<BpfProgram>, seccompiler::Error> {
    let mut forbidden: Vec<&Refused> = FORBIDDEN.iter().collect();
    let mut no_family: Vec<&Conditional> = NO_FAMILY_WHEN.iter().collect();
    if !around.namespaces {
        forbidden.extend(FORBIDDEN_WITHOUT_NAMESPACES);
        if around.offline {
            no_family.extend(NO_FAMILY_WITHOUT_NAMESPACES);
        }
    }
    let absent: Vec<&Refused> = ABSENT.iter().collect();
    let forbidden_when: Vec<&Conditional> = FORBIDDEN_WHEN.iter().collect();
    Ok(vec![
        program(&absent, &[], libc::ENOSYS)?,
        program(&forbidden, &forbidden_when, libc::EPERM)?,
        program(&[], &no_family, libc::EAFNOSUPPORT)?,
        unknown_calls(),
    ])
}

fn program(
    always: &[&Refused],
    when: &[&Conditional],
    errno: libc::c_int,
) -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for conditional in when {
        debug_assert!(!conditional.reason.is_empty());
        let conditions = conditional.parts.iter().map(|part| {
            SeccompCondition::new(
                part.argument,
                SeccompCmpArgLen::Dword,
                part.test.clone(),
                part.value,
            )
        });
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
        rules.entry(conditional.call).or_default().push(rule);
    }
    for refused in always {
        debug_assert!(!refused.reason.is_empty());
        rules.insert(refused.call, Vec::new());
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let answer = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture)?;
    Ok(filter.try_into()?)
}

/// `number > NEWEST_CALL ? ENOSYS : allow`. The other programs look at the architecture.
fn unknown_calls() -> BpfProgram {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD_NUMBER, 0, 0, 0),
        step(JUMP_GREATER, 0, 1, NEWEST_CALL),
        step(
            RETURN,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        ),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// Installs the filter for this process and its children for ever. Adds to the report.
pub(crate) fn install(around: Around, report: &mut Report) {
    let installed = programs(around).and_then(|programs| {
        programs
            .iter()
            .try_for_each(|program| seccompiler::apply_filter(program))
    });
    match installed {
        Ok(()) => report.held.push("seccomp".to_owned()),
        Err(error) => report.missing.push(Missing {
            layer: Layer::Seccomp,
            whole: true,
            meaning: format!("every system call can be made ({error})"),
            remedy: "use a kernel with `CONFIG_SECCOMP_FILTER` on x86_64, aarch64 or riscv64"
                .to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERRNO: u32 = libc::SECCOMP_RET_ERRNO;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    const NATIVE: u32 = if cfg!(target_arch = "x86_64") {
        0xc000_003e
    } else {
        0xc000_00b7
    };

    /// Runs one program as the kernel would: enough of the machine for what the compiler emits.
    fn run(program: &BpfProgram, data: &[u32; 16]) -> u32 {
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let step = &program[at];
            at += 1;
            let jump = |met: bool| usize::from(if met { step.jt } else { step.jf });
            match step.code {
                0x20 => accumulator = data[step.k as usize / 4],
                0x54 => accumulator &= step.k,
                0x15 => at += jump(accumulator == step.k),
                0x25 => at += jump(accumulator > step.k),
                0x35 => at += jump(accumulator >= step.k),
                0x05 => at += step.k as usize,
                0x06 => return step.k,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    /// The answer of all programs together: the strictest.
    fn answer(around: Around, architecture: u32, call: c_long, arguments: &[u64]) -> u32 {
        let mut data = [0u32; 16];
        data[0] = call as u32;
        data[1] = architecture;
        for (index, argument) in arguments.iter().enumerate() {
            data[4 + 2 * index] = *argument as u32;
            data[5 + 2 * index] = (*argument >> 32) as u32;
        }
        let answers = programs(around).unwrap();
        let rank = |answer: &u32| match *answer & 0xffff_0000 {
            KILL => 0,
            ERRNO => 1,
            _ => 2,
        };
        answers
            .iter()
            .map(|program| run(program, &data))
            .min_by_key(rank)
            .unwrap()
    }

    const INSIDE: Around = Around {
        namespaces: true,
        offline: true,
    };
    const OUTSIDE: Around = Around {
        namespaces: false,
        offline: true,
    };

    #[test]
    fn calls_are_answered_as_the_tables_say() {
        let unix = libc::AF_UNIX as u64;
        let inet = libc::AF_INET as u64;
        let refused = |errno: i32| ERRNO | errno as u32;
        let table: &[(Around, c_long, &[u64], u32)] = &[
            (INSIDE, libc::SYS_read, &[], ALLOW),
            (INSIDE, libc::SYS_clone3, &[], refused(libc::ENOSYS)),
            (INSIDE, libc::SYS_mount, &[], refused(libc::EPERM)),
            (
                INSIDE,
                libc::SYS_clone,
                &[libc::CLONE_VM as u64 | libc::SIGCHLD as u64],
                ALLOW,
            ),
            (
                INSIDE,
                libc::SYS_clone,
                &[libc::CLONE_NEWUSER as u64],
                refused(libc::EPERM),
            ),
            (
                INSIDE,
                libc::SYS_ioctl,
                &[1, libc::TIOCSTI],
                refused(libc::EPERM),
            ),
            (
                INSIDE,
                libc::SYS_ioctl,
                &[1, libc::TIOCSTI | 1 << 40],
                refused(libc::EPERM),
            ),
            (INSIDE, libc::SYS_ioctl, &[1, libc::TIOCGWINSZ], ALLOW),
            (
                INSIDE,
                libc::SYS_mknodat,
                &[0, 0, libc::S_IFBLK as u64 | 0o600],
                refused(libc::EPERM),
            ),
            (
                INSIDE,
                libc::SYS_mknodat,
                &[0, 0, libc::S_IFIFO as u64 | 0o600],
                ALLOW,
            ),
            (INSIDE, libc::SYS_socket, &[unix, 1], ALLOW),
            (INSIDE, libc::SYS_socket, &[inet, 1], ALLOW),
            (
                INSIDE,
                libc::SYS_socket,
                &[inet, 3 | libc::SOCK_CLOEXEC as u64],
                refused(libc::EPERM),
            ),
            (
                INSIDE,
                libc::SYS_socket,
                &[40, 1],
                refused(libc::EAFNOSUPPORT),
            ),
            (INSIDE, libc::SYS_socket, &[16, 3, 0], ALLOW),
            (
                INSIDE,
                libc::SYS_socket,
                &[16, 3, 12],
                refused(libc::EAFNOSUPPORT),
            ),
            (INSIDE, libc::SYS_ptrace, &[], ALLOW),
            (OUTSIDE, libc::SYS_ptrace, &[], refused(libc::EPERM)),
            (
                OUTSIDE,
                libc::SYS_socket,
                &[inet, 1],
                refused(libc::EAFNOSUPPORT),
            ),
            (
                OUTSIDE,
                libc::SYS_socket,
                &[unix, 1],
                refused(libc::EAFNOSUPPORT),
            ),
            (OUTSIDE, libc::SYS_socketpair, &[unix, 1], ALLOW),
            (
                Around {
                    offline: false,
                    ..OUTSIDE
                },
                libc::SYS_socket,
                &[inet, 1],
                ALLOW,
            ),
        ];
        for (around, call, arguments, want) in table {
            assert_eq!(
                answer(*around, NATIVE, *call, arguments),
                *want,
                "for call {call} {arguments:?} {around:?}"
            );
        }
    }

    #[test]
    fn other_interfaces_of_the_kernel_are_closed() {
        let x32 = libc::SYS_socket | 0x4000_0000;
        assert_eq!(
            answer(INSIDE, NATIVE, x32, &[2, 1]),
            ERRNO | libc::ENOSYS as u32
        );
        assert_eq!(
            answer(INSIDE, NATIVE, c_long::from(NEWEST_CALL) + 1, &[]),
            ERRNO | libc::ENOSYS as u32
        );
        const I386: u32 = 0x4000_0003;
        assert_eq!(answer(INSIDE, I386, 359, &[]), KILL);
    }

    #[test]
    fn every_entry_has_a_reason() {
        for entry in ABSENT
            .iter()
            .chain(FORBIDDEN)
            .chain(FORBIDDEN_WITHOUT_NAMESPACES)
        {
            assert!(!entry.reason.is_empty(), "for call {}", entry.call);
        }
        for entry in FORBIDDEN_WHEN
            .iter()
            .chain(NO_FAMILY_WHEN)
            .chain(NO_FAMILY_WITHOUT_NAMESPACES)
        {
            assert!(!entry.reason.is_empty(), "for call {}", entry.call);
        }
    }
}
