//! The system call filter: what no command needs, from the tables in [`calls`].
//!
//! One list of everything refused rather than everything allowed: commands are compilers, browsers
//! and databases. What the kernel knows and this list does not is refused too, see
//! [`NEWEST_CALL`]. The filter is several programs, since each has one answer; the kernel takes the
//! strictest.

mod calls;

use std::collections::BTreeMap;

use self::calls::{
    ABSENT, Conditional, FORBIDDEN, FORBIDDEN_WHEN, FORBIDDEN_WITHOUT_NAMESPACES, NO_FAMILY_WHEN,
    NO_FAMILY_WITHOUT_NAMESPACES, Refused,
};
use quire_sandbox::{
    report::{Missing, Report},
    spec::Layer,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// Newest call this list was made against (`file_setattr`, Linux 6.17). Later ones, and those of
/// the x32 interface (which carry bit 30), are answered as if the kernel were older.
const NEWEST_CALL: u32 = 469;

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
    use libc::c_long;

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
