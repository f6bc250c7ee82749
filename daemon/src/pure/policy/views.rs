//! The commands within a command: what `sudo`, `env`, `sh -c` and their like would start.

use super::{
    commands::{
        Effect, GIT_HARMLESS, GIT_VALUED, HARMLESS_VARIABLES, READ_SHELLS, SHELLS, WRAPPERS,
        Wrapper,
    },
    shell::{self, Script, Simple, Word},
};

/// One way to look at a command.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) words: Vec<Word>,
    /// Whether what allows these words allows the whole command.
    pub(super) faithful: bool,
}

/// All there is to see in one command.
#[derive(Clone, Debug, Default)]
pub(super) struct Views {
    /// From the outside in; never empty.
    pub(super) views: Vec<View>,
    /// Scripts it hands to a shell.
    pub(super) scripts: Vec<Script>,
    /// Whether the scripts are all it runs.
    pub(super) only_scripts: bool,
    /// Whether there is more within than was looked at.
    pub(super) too_deep: bool,
}

/// Commands within commands that are looked at: a person writes two or three, and each is a copy.
const DEEPEST: usize = 16;

/// Looks through a command.
pub(super) fn views(simple: &Simple) -> Views {
    let harmless = |name: &String| HARMLESS_VARIABLES.contains(&name.as_str());
    let mut found = Views::default();
    let mut view = Some(View {
        words: simple.words.clone(),
        faithful: simple.assigned.iter().all(harmless),
    });
    while let Some(seen) = view.filter(|view| !view.words.is_empty()) {
        if found.views.len() == DEEPEST {
            found.too_deep = true;
            break;
        }
        view = inner(&seen);
        look_for_scripts(&mut found, &seen, simple);
        found.views.push(seen);
    }
    found
}

/// The command that this one starts, or this one under its plain name.
fn inner(view: &View) -> Option<View> {
    let name = view.words.first()?.literal()?;
    let plain = name.rsplit('/').next().unwrap_or(name);
    if plain != name {
        let mut words = view.words.clone();
        words[0].text = plain.to_owned();
        // A program of that name in some directory is not the program of that name.
        let faithful = false;
        return Some(View { words, faithful });
    }
    if name == "git" {
        return git(view);
    }
    if name == "find" || name == "fd" {
        return started_by_find(view);
    }
    let wrapper = WRAPPERS.iter().find(|wrapper| wrapper.name == name)?;
    Some(unwrapped(wrapper, view))
}

fn unwrapped(wrapper: &Wrapper, view: &View) -> View {
    let mut faithful = view.faithful;
    let mut rest = &view.words[1..];
    let mut own = wrapper.own_words;
    while let Some(word) = rest.first() {
        let is_option = word.text.starts_with('-') && word.text.len() > 1;
        let skipped = if word.text == "--" {
            rest = &rest[1..];
            break;
        } else if is_option {
            faithful &= wrapper.effect.keeps_faith(&word.text);
            1 + usize::from(wrapper.valued.contains(&word.text.as_str()))
        } else if let (Effect::Sets | Effect::Changes, Some(name)) =
            (wrapper.effect, word.assigned())
        {
            faithful &= HARMLESS_VARIABLES.contains(&name);
            1
        } else if own > 0 {
            own -= 1;
            1
        } else {
            break;
        };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    let mut words = rest.to_vec();
    match wrapper.effect {
        Effect::Adds if !words.is_empty() => words.push(Word::unknown()),
        Effect::Changes => faithful = false,
        _ => {}
    }
    View { words, faithful }
}

/// `git -C x push` is a `git push`.
fn git(view: &View) -> Option<View> {
    let mut faithful = view.faithful;
    let mut rest = &view.words[1..];
    while let Some(word) = rest.first().filter(|word| word.text.starts_with('-')) {
        let name = word.text.as_str();
        faithful &= GIT_HARMLESS.contains(&name);
        let skipped = if GIT_VALUED.contains(&name) { 2 } else { 1 };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    if rest.len() + 1 == view.words.len() || rest.is_empty() {
        return None;
    }
    let words = [&view.words[..1], rest].concat();
    Some(View { words, faithful })
}

fn started_by_find(view: &View) -> Option<View> {
    const STARTS: &[&str] = &[
        "-exec",
        "-execdir",
        "-ok",
        "-okdir",
        "-x",
        "-X",
        "--exec",
        "--exec-batch",
    ];
    let at = view
        .words
        .iter()
        .position(|word| STARTS.contains(&word.text.as_str()))?;
    let words = view.words[at + 1..].to_vec();
    Some(View {
        words,
        faithful: false,
    })
}

fn look_for_scripts(found: &mut Views, view: &View, simple: &Simple) {
    let Some(name) = view.words.first().and_then(Word::literal) else {
        return;
    };
    if name == "eval" {
        let texts: Vec<_> = view.words[1..]
            .iter()
            .map(|word| word.text.as_str())
            .collect();
        found.scripts.push(shell::read(&texts.join(" ")));
    }
    if !SHELLS.contains(&name) {
        return;
    }
    found
        .scripts
        .extend(simple.fed.iter().map(|text| shell::read(text)));
    let is_c = |word: &Word| {
        let text = word.text.as_str();
        text.starts_with('-') && !text.starts_with("--") && text.ends_with('c')
    };
    let Some(at) = view.words.iter().position(is_c) else {
        return;
    };
    let Some(script) = view.words.get(at + 1) else {
        return;
    };
    found.scripts.push(shell::read(&script.text));
    let plain = |word: &Word| {
        word.text
            .strip_prefix('-')
            .is_some_and(|o| o.chars().all(|c| "lceu".contains(c)))
    };
    found.only_scripts = view.faithful
        && READ_SHELLS.contains(&name)
        && simple.fed.is_empty()
        && script.literal().is_some()
        && at + 2 == view.words.len()
        && view.words[1..=at].iter().all(plain);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, innermost: &str, faithful: bool) {
        let script = shell::read(text);
        let views = views(&script.commands[0]).views;
        let last = views.last().unwrap();
        let words: Vec<_> = last.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(words.join(" ").trim_end(), innermost, "for `{text}`");
        assert_eq!(last.faithful, faithful, "whether faithful, for `{text}`");
    }

    #[test]
    fn wrappers_are_seen_through() {
        check("git push", "git push", true);
        check("LANG=C git push", "git push", true);
        check("PATH=. git push", "git push", false);
        check("sudo -u root -n git push", "git push", false);
        check("env A=b git push", "git push", false);
        check("env TZ=UTC git push", "git push", true);
        check("env -u HOME git push", "git push", false);
        check("nice -n 5 timeout -k 3 10 git push", "git push", true);
        check("timeout 10 -- git push", "git push", true);
        check("find | xargs", "find", true);
        check("xargs -n 1 rm", "rm", true);
        check("xargs -I cat cat x", "cat x", false);
        check("env --split-string='rm x' ls", "ls", false);
        check("env -S'rm x' ls", "ls", false);
        check("env -i ls", "ls", true);
        check("/usr/bin/git push", "git push", false);
        check("sudo /usr/bin/env X=1 git -C /x push", "git push", false);
        check("git -C /x push", "git push", false);
        check("git --no-pager log", "git log", true);
        check("git -c core.pager=x log", "git log", false);
        check("git -C", "git -C", true);
        check("find . -exec rm -rf / ';'", "rm -rf / ;", false);
        check("command -- git push", "git push", true);
        check("sudo", "sudo", true);
    }

    #[test]
    fn a_long_chain_of_wrappers_is_cut_and_said_to_be() {
        let script = shell::read(&"nice ".repeat(50_000));
        let found = views(&script.commands[0]);
        assert!(found.too_deep && found.views.len() == DEEPEST);
    }

    #[test]
    fn scripts_handed_to_a_shell_are_read() {
        // Text, commands of the script, whether they are all that runs.
        let table = [
            ("bash -lc 'git push'", Some("git"), true),
            ("sh -c 'git push' x", Some("git"), false),
            ("zsh -c 'git push'", Some("git"), false),
            ("bash --rcfile x -c 'git push'", Some("git"), false),
            ("sudo sh -c 'git push'", Some("git"), false),
            ("bash <<< 'git push'", Some("git"), false),
            ("eval git push", Some("git"), false),
            ("bash script.sh", None, false),
        ];
        for (text, name, only) in table {
            let script = shell::read(text);
            let found = views(&script.commands[0]);
            let first = found
                .scripts
                .first()
                .map(|script| script.commands[0].words[0].text.clone());
            assert_eq!(first.as_deref(), name, "for `{text}`");
            assert_eq!(found.only_scripts, only, "for `{text}`");
        }
    }
}
