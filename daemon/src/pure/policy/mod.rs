//! Whether a tool call runs, is asked about, or is refused.
//!
//! [`decide`] looks at what a call would touch and at the session's policy, and at nothing else. It
//! is not the boundary, the sandbox is: a command that is misread here costs a question, or is
//! stopped there.

mod command;
mod commands;
mod danger;
mod paths;
mod shell;
mod suggest;
mod views;

use std::path::Path;

use quire_proto::v1::{Access, ApprovePolicy, Decision, Policy, Rule, SandboxMode};

pub use self::paths::{PROTECTED, Protected, hidden, protected, within, writable_root};

/// What is to happen to a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Never unspecified.
    pub decision: Decision,
    /// One sentence without a full stop, for the person asked or the model refused.
    pub reason: String,
    /// What "always" would add to the session's rules. `None` where no rule could say it safely.
    pub rule: Option<Rule>,
}

impl Verdict {
    fn new(decision: Decision, reason: impl Into<String>) -> Self {
        Self {
            decision,
            reason: reason.into(),
            rule: None,
        }
    }
}

/// Judges one tool call. Unspecified modes count as the strictest: read-only, untrusted.
///
/// `workspace` and the paths of `access` are absolute with symbolic links resolved.
#[must_use]
pub fn decide(policy: &Policy, workspace: &Path, access: &Access) -> Verdict {
    let mut verdicts = Vec::new();
    verdicts.extend(reads(policy, access));
    verdicts.extend(writes(policy, workspace, access));
    verdicts.extend(hosts(policy, access));
    if !access.command.is_empty() {
        verdicts.push(command::judge(policy, &access.command));
    }
    let strictest = verdicts
        .iter()
        .map(|verdict| strictness(verdict.decision))
        .max();
    let Some(strictest) = strictest else {
        return Verdict::new(Decision::Allow, "it changes nothing");
    };
    // An "always" must answer the whole question.
    let alone = verdicts
        .iter()
        .filter(|verdict| verdict.decision != Decision::Allow)
        .count()
        == 1;
    let found = verdicts
        .into_iter()
        .find(|verdict| strictness(verdict.decision) == strictest);
    let mut verdict =
        found.unwrap_or_else(|| Verdict::new(Decision::Ask, "nothing is known of it"));
    if !alone {
        verdict.rule = None;
    }
    if verdict.decision == Decision::Ask && policy.approve() == ApprovePolicy::Never {
        let reason = format!("{}, and approvals are off", verdict.reason);
        return Verdict::new(Decision::Deny, reason);
    }
    verdict
}

fn strictness(decision: Decision) -> u8 {
    match decision {
        Decision::Allow => 0,
        Decision::Unspecified | Decision::Ask => 1,
        Decision::Deny => 2,
    }
}

/// Whether everything that is not known to only read is asked about.
fn is_untrusted(policy: &Policy) -> bool {
    matches!(
        policy.approve(),
        ApprovePolicy::Untrusted | ApprovePolicy::Unspecified
    )
}

fn reads(policy: &Policy, access: &Access) -> Option<Verdict> {
    if policy.sandbox() == SandboxMode::FullAccess {
        return None;
    }
    access.reads.iter().chain(&access.writes).find_map(|path| {
        let hidden = hidden(policy, Path::new(path))?;
        let reason = format!("`{path}` is hidden by the policy (`{hidden}`)");
        Some(Verdict::new(Decision::Deny, reason))
    })
}

fn writes(policy: &Policy, workspace: &Path, access: &Access) -> Option<Verdict> {
    let verdicts = access
        .writes
        .iter()
        .map(|path| write(policy, workspace, path));
    verdicts.max_by_key(|verdict| strictness(verdict.decision))
}

fn write(policy: &Policy, workspace: &Path, path: &str) -> Verdict {
    let ask = |reason| Verdict::new(Decision::Ask, reason);
    match policy.sandbox() {
        SandboxMode::FullAccess => {}
        SandboxMode::ReadOnly | SandboxMode::Unspecified => {
            return ask(format!("it writes `{path}`, and the sandbox is read-only"));
        }
        SandboxMode::WorkspaceWrite => match writable_root(policy, workspace, Path::new(path)) {
            None => return ask(format!("it writes `{path}`, outside the workspace")),
            Some(root) => {
                if let Some(entry) = protected(root, Path::new(path)) {
                    let Protected { name, reason } = entry;
                    return ask(format!(
                        "it writes `{path}`; `{name}` is protected: {reason}"
                    ));
                }
            }
        },
    }
    if is_untrusted(policy) {
        return ask(format!("it writes `{path}`"));
    }
    Verdict::new(Decision::Allow, format!("`{path}` may be written"))
}

fn hosts(policy: &Policy, access: &Access) -> Option<Verdict> {
    if policy.sandbox() == SandboxMode::FullAccess && !is_untrusted(policy) {
        return None;
    }
    let unlisted = |host: &&String| !policy.network.iter().any(|pattern| is_host(pattern, host));
    let host = access.hosts.iter().find(unlisted)?;
    let reason = format!("it contacts `{host}`, which `network` doesn't list");
    Some(Verdict::new(Decision::Ask, reason))
}

/// Whether a pattern of `network` covers a "host:port". A pattern without a port covers the usual
/// ones; `*.` covers names below, not the name itself.
fn is_host(pattern: &str, contacted: &str) -> bool {
    let (host, port) = split_port(contacted);
    let (wanted, wanted_port) = split_port(pattern);
    let port_fits = match wanted_port {
        Some(wanted) => port == Some(wanted),
        None => port.is_none_or(|port| ["80", "443"].contains(&port)),
    };
    let host = host.to_ascii_lowercase();
    let wanted = wanted.to_ascii_lowercase();
    let name_fits = match wanted.strip_prefix("*.") {
        Some(parent) => host
            .strip_suffix(parent)
            .is_some_and(|sub| sub.len() > 1 && sub.ends_with('.')),
        None => host == wanted,
    };
    port_fits && name_fits
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (name, Some(port))
        }
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests;
