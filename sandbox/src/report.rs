//! Which layers held for a command, and which did not.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spec::Layer;

/// What was enforced. Told before the command runs, and again in its exit record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Layers that hold, such as "namespaces", "landlock-v7", "seccomp".
    pub held: Vec<String>,
    /// What the mode asks for and this machine lacks.
    pub missing: Vec<Missing>,
}

/// One thing that is not enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The layer concerned.
    pub layer: Layer,
    /// True when the whole layer is missing, false when it holds but for this.
    pub whole: bool,
    /// What a command can do because of it.
    pub meaning: String,
    /// What the user can do about it.
    pub remedy: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.layer, self.meaning, self.remedy)
    }
}

impl Report {
    /// The first of the layers asked for that does not hold.
    #[must_use]
    pub fn lacks(&self, require: &[Layer]) -> Option<&Missing> {
        self.missing
            .iter()
            .find(|missing| missing.whole && require.contains(&missing.layer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weakness_is_not_a_missing_layer() {
        let missing = |whole| Missing {
            layer: Layer::Landlock,
            whole,
            meaning: "m".into(),
            remedy: "r".into(),
        };
        let table = [
            (false, &[Layer::Landlock][..], false),
            (true, &[Layer::Landlock], true),
            (true, &[Layer::Seccomp], false),
        ];
        for (whole, require, want) in table {
            let report = Report {
                held: vec![],
                missing: vec![missing(whole)],
            };
            assert_eq!(report.lacks(require).is_some(), want, "{whole} {require:?}");
        }
        assert_eq!(missing(true).to_string(), "landlock: m; r");
    }
}
