//! From a session's policy to the profile of its commands. Decides only; touches nothing.

use std::path::PathBuf;

use quire_proto::v1::SandboxMode;
use quire_sandbox::spec::{Layer, Mode, Profile};

use crate::ports::tool::Place;

/// The profile of a command of `place`, without scratch; `private` is hidden besides what the
/// policy hides.
///
/// # Errors
///
/// A sentence, when the policy requires a layer that nobody knows.
pub(super) fn of_policy(place: &Place, private: &[PathBuf]) -> Result<Profile, String> {
    let policy = &place.policy;
    let require: Result<Vec<Layer>, _> = policy.require.iter().map(|layer| layer.parse()).collect();
    Ok(Profile {
        mode: mode(policy.sandbox()),
        workspace: place.workspace.clone(),
        writable: policy.writable.iter().map(PathBuf::from).collect(),
        hidden: policy
            .hidden
            .iter()
            .map(PathBuf::from)
            .chain(private.iter().cloned())
            .collect(),
        network: policy.network.clone(),
        require: require
            .map_err(|error| format!("the policy requires what does not exist: {error}"))?,
        scratch: None,
    })
}

/// A mode that nobody set is the strictest.
fn mode(mode: SandboxMode) -> Mode {
    match mode {
        SandboxMode::Unspecified | SandboxMode::ReadOnly => Mode::ReadOnly,
        SandboxMode::WorkspaceWrite => Mode::WorkspaceWrite,
        SandboxMode::FullAccess => Mode::FullAccess,
    }
}

pub(super) fn mode_on_the_wire(mode: Mode) -> SandboxMode {
    match mode {
        Mode::ReadOnly => SandboxMode::ReadOnly,
        Mode::WorkspaceWrite => SandboxMode::WorkspaceWrite,
        Mode::FullAccess => SandboxMode::FullAccess,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use quire_proto::{id::SessionId, v1::Policy};

    use super::*;

    fn place(policy: Policy) -> Place {
        Place {
            session: SessionId::random(),
            workspace: "/w".into(),
            cwd: "/w".into(),
            environment: Arc::new(BTreeMap::new()),
            umask: 0o22,
            policy: Arc::new(policy),
            known: crate::ports::tool::Known::default(),
        }
    }

    #[test]
    fn a_policy_becomes_a_profile() {
        let table = [
            (SandboxMode::Unspecified, Mode::ReadOnly),
            (SandboxMode::ReadOnly, Mode::ReadOnly),
            (SandboxMode::WorkspaceWrite, Mode::WorkspaceWrite),
            (SandboxMode::FullAccess, Mode::FullAccess),
        ];
        for (sandbox, want) in table {
            let policy = Policy {
                sandbox: sandbox.into(),
                hidden: vec!["/h".into()],
                require: vec!["landlock".into()],
                ..Policy::default()
            };
            let profile = of_policy(&place(policy), &["/state".into()]).unwrap();
            assert_eq!(profile.mode, want);
            assert_eq!(profile.hidden, [PathBuf::from("/h"), "/state".into()]);
            assert_eq!(profile.require, [Layer::Landlock]);
        }
    }

    #[test]
    fn a_layer_that_does_not_exist_is_an_error() {
        let policy = Policy {
            require: vec!["magic".into()],
            ..Policy::default()
        };
        let error = of_policy(&place(policy), &[]).unwrap_err();
        assert!(error.contains("`magic` is not a layer"), "{error}");
    }
}
