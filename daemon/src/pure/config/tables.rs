//! The small tables of a configuration, each its own struct so that nobody is handed all of it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::policy::Sandbox;

/// `[roles]`: which model serves what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Roles {
    /// Tried in this order when the first model can't be reached.
    pub fallback: Vec<String>,
    /// `provider/model` of every other role.
    #[serde(flatten)]
    pub models: BTreeMap<String, String>,
}

/// One `[agents.NAME]`: what a sub-agent may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// A role or `provider/model`; `None` = the session's.
    pub model: Option<String>,
    /// `None` = the session's. Never wider than the session's.
    pub sandbox: Option<Sandbox>,
}

/// One `[mcp_servers.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct McpServer {
    /// Starts it; never empty. Either this or `url` is there.
    pub command: Option<Vec<String>>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub cwd: Option<PathBuf>,
    /// Where it is, when it speaks HTTP.
    pub url: Option<String>,
    /// The variable that holds its token.
    pub bearer_token_env: Option<String>,
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonConfig {
    /// Minutes without client, turn, job or queue until it ends; 0 = never.
    pub idle_exit_minutes: u64,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            idle_exit_minutes: 30,
        }
    }
}

/// `[jobs]`: bounds of what outlives its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsConfig {
    /// Most detached jobs at once.
    pub max_detached: u32,
    /// Hours after which a detached job is stopped.
    pub max_hours: u64,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            max_detached: 16,
            max_hours: 24,
        }
    }
}

/// `[limits]`: of one turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TurnLimits {
    /// US dollars; 0 = no limit.
    pub max_cost_usd: f64,
    /// Requests to models.
    pub max_requests: u64,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            max_cost_usd: 0.0,
            max_requests: 200,
        }
    }
}
