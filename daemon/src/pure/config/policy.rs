//! The `[policy]` table, and the policy a session gets from it.

use quire_proto::v1;
use serde::{Deserialize, Serialize};

/// `sandbox`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Writes nowhere but in scratch space.
    ReadOnly,
    /// Also writes in the workspace.
    #[default]
    WorkspaceWrite,
    /// No confinement.
    FullAccess,
}

/// `approve`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approve {
    /// Ask before everything not known to only read.
    Untrusted,
    /// Ask before what the sandbox would refuse and what a rule says to ask.
    #[default]
    OnRequest,
    /// Deny what would be asked.
    Never,
}

/// `decision` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleDecision {
    /// Run it unasked.
    Allow,
    /// Ask first.
    Ask,
    /// Don't run it.
    Deny,
}

/// One `[[policy.rules]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Never empty.
    pub prefix: Vec<String>,
    /// What happens to commands that begin so.
    pub decision: RuleDecision,
    /// Shown with the decision.
    #[serde(default)]
    pub reason: String,
}

/// The `[policy]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Where commands may write.
    pub sandbox: Sandbox,
    /// When a person is asked.
    pub approve: Approve,
    /// Hosts that a confined command may reach.
    pub network: Vec<String>,
    /// Absolute directories.
    pub writable: Vec<String>,
    /// Absolute paths.
    pub hidden: Vec<String>,
    /// Names of sandbox layers.
    pub require: Vec<String>,
    /// Whether the end of a background job is told to the model at once.
    pub wake: bool,
    /// All layers' rules; their order means nothing.
    pub rules: Vec<RuleConfig>,
}

impl PolicyConfig {
    /// The policy of a new session.
    #[must_use]
    pub fn to_policy(&self) -> v1::Policy {
        v1::Policy {
            sandbox: v1::SandboxMode::from(self.sandbox).into(),
            approve: v1::ApprovePolicy::from(self.approve).into(),
            network: self.network.clone(),
            writable: self.writable.clone(),
            hidden: self.hidden.clone(),
            rules: self.rules.iter().map(rule).collect(),
            require: self.require.clone(),
            wake: self.wake,
        }
    }
}

fn rule(rule: &RuleConfig) -> v1::Rule {
    let decision = match rule.decision {
        RuleDecision::Allow => v1::Decision::Allow,
        RuleDecision::Ask => v1::Decision::Ask,
        RuleDecision::Deny => v1::Decision::Deny,
    };
    v1::Rule {
        prefix: rule.prefix.clone(),
        decision: decision.into(),
        reason: rule.reason.clone(),
    }
}

impl From<Sandbox> for v1::SandboxMode {
    fn from(sandbox: Sandbox) -> Self {
        match sandbox {
            Sandbox::ReadOnly => Self::ReadOnly,
            Sandbox::WorkspaceWrite => Self::WorkspaceWrite,
            Sandbox::FullAccess => Self::FullAccess,
        }
    }
}

impl From<Approve> for v1::ApprovePolicy {
    fn from(approve: Approve) -> Self {
        match approve {
            Approve::Untrusted => Self::Untrusted,
            Approve::OnRequest => Self::OnRequest,
            Approve::Never => Self::Never,
        }
    }
}
