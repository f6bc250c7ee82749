//! Which rule "always" means: wide enough to be of use, never so wide that it allows anything.

use quire_proto::v1::{Decision, Rule};

use super::{commands::SHELLS, shell::Word};

/// Programs whose first words say what they do: so many words make a rule.
const FAMILIES: &[(&str, usize)] = &[
    ("apt", 2),
    ("brew", 2),
    ("bun", 2),
    ("bundle", 3),
    ("cargo", 2),
    ("composer", 2),
    ("deno", 2),
    ("docker", 2),
    ("dotnet", 2),
    ("gh", 3),
    ("git", 2),
    ("go", 2),
    ("gradle", 2),
    ("helm", 2),
    ("just", 2),
    ("kubectl", 2),
    ("make", 2),
    ("mix", 2),
    ("mvn", 2),
    ("npm", 3),
    ("pip", 2),
    ("pnpm", 3),
    ("poetry", 2),
    ("rustup", 2),
    ("systemctl", 2),
    ("terraform", 2),
    ("uv", 3),
    ("yarn", 2),
];

/// Programs that run whatever they are given: no rule is suggested for them.
const RUNS_ANYTHING: &[&str] = &[
    "awk",
    "gawk",
    "lua",
    "mawk",
    "node",
    "osascript",
    "perl",
    "php",
    "powershell",
    "pwsh",
    "python",
    "python2",
    "python3",
    "ruby",
    "ssh",
    "eval",
    "source",
    ".",
    "tclsh",
    "script",
    "parallel",
];

/// The rule, when one longer than `beaten` words can be made of the command.
pub(super) fn suggest(words: &[Word], beaten: usize) -> Option<Rule> {
    let literal: Option<Vec<&str>> = words.iter().map(Word::literal).collect();
    let literal = literal?;
    let name = *literal.first()?;
    if SHELLS.contains(&name) || RUNS_ANYTHING.contains(&name) {
        return None;
    }
    let family = FAMILIES.iter().find(|(family, _)| *family == name);
    let start = family.map_or(literal.len(), |(_, length)| (*length).min(literal.len()));
    // An option among the first words says nothing of what is done.
    let plain = literal[..start].iter().all(|word| !word.starts_with('-'));
    let prefix = if family.is_some() && plain && start > 1 && start > beaten {
        &literal[..start]
    } else {
        &literal[..]
    };
    (prefix.len() > beaten && prefix.len() <= 12).then(|| Rule {
        prefix: prefix.iter().map(|word| (*word).to_owned()).collect(),
        decision: Decision::Allow.into(),
        reason: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::shell;
    use super::*;

    #[test]
    fn always_means_the_subcommand_or_the_whole_command() {
        let table = [
            ("cargo test --workspace", 0, Some("cargo test")),
            ("cargo --version", 0, Some("cargo --version")),
            ("git push origin main", 2, Some("git push origin main")),
            ("git push", 2, None),
            ("npm run build -- --watch", 0, Some("npm run build")),
            ("make", 0, Some("make")),
            ("rm -rf target", 0, Some("rm -rf target")),
            ("./run.sh a", 0, Some("./run.sh a")),
            ("python3 -c 'x'", 0, None),
            ("bash x.sh", 0, None),
            ("rm *.o", 0, None),
        ];
        for (text, beaten, want) in table {
            let words = &shell::read(text).commands[0].words;
            let rule = suggest(words, beaten).map(|rule| rule.prefix.join(" "));
            assert_eq!(rule.as_deref(), want, "for `{text}`");
        }
    }
}
