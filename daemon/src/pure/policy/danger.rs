//! Commands that are asked about whatever the mode and the rules: what they do can't be undone.

use super::{
    commands::{is_option, starts_with},
    shell::Word,
};

struct Danger {
    prefix: &'static [&'static str],
    when: When,
    reason: &'static str,
}

enum When {
    Always,
    /// This as the last of several words.
    Last(&'static str),
    /// A word that begins like this.
    Begins(&'static [&'static str]),
    /// One of these options.
    Option(&'static [&'static str], &'static str),
    /// Recursive, and about the whole system or home.
    EverythingBelow,
}

const DISKS: &[&str] = &["of=/dev/"];

#[rustfmt::skip]
const DANGERS: &[Danger] = &[
    Danger { prefix: &["rm"], when: When::EverythingBelow, reason: "removes everything" },
    Danger { prefix: &["chmod"], when: When::EverythingBelow, reason: "changes the modes of everything" },
    Danger { prefix: &["chown"], when: When::EverythingBelow, reason: "changes the owner of everything" },
    Danger { prefix: &["dd"], when: When::Begins(DISKS), reason: "writes to a device" },
    Danger { prefix: &["git", "push"], when: When::Option(&["force", "force-with-lease", "mirror", "delete", "prune"], "fd"), reason: "overwrites or removes what others may have" },
    Danger { prefix: &["git", "push"], when: When::Begins(&["+", ":"]), reason: "overwrites or removes what others may have" },
    Danger { prefix: &["kill"], when: When::Last("-1"), reason: "ends every process" },
    Danger { prefix: &["wipefs"], when: When::Always, reason: "erases a disk" },
    Danger { prefix: &["shred"], when: When::Always, reason: "destroys files for good" },
    Danger { prefix: &["shutdown"], when: When::Always, reason: "stops the machine" },
    Danger { prefix: &["reboot"], when: When::Always, reason: "stops the machine" },
    Danger { prefix: &["poweroff"], when: When::Always, reason: "stops the machine" },
    Danger { prefix: &["halt"], when: When::Always, reason: "stops the machine" },
    Danger { prefix: &["sudo"], when: When::Always, reason: "runs with another user's rights" },
    Danger { prefix: &["doas"], when: When::Always, reason: "runs with another user's rights" },
    Danger { prefix: &["su"], when: When::Always, reason: "runs with another user's rights" },
];

/// Directories that hold everything, with or without `/` or `/*` at the end.
const EVERYTHING: &[&str] = &[
    "", "~", "$HOME", "${}", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/opt", "/root",
    "/sbin", "/srv", "/usr", "/var", "/Users", "/System", "..",
];

/// What a command would do that can't be undone.
pub(super) fn danger(words: &[Word]) -> Option<&'static str> {
    let name = words.first()?.literal()?;
    if name == "mkfs" || name.starts_with("mkfs.") {
        return Some("makes a file system where one may be");
    }
    let found = DANGERS.iter().find(|danger| {
        starts_with(words, danger.prefix.iter().copied())
            && happens(&danger.when, &words[danger.prefix.len()..])
    });
    found.map(|danger| danger.reason)
}

fn happens(when: &When, words: &[Word]) -> bool {
    match when {
        When::Always => true,
        When::Last(bad) => words.len() > 1 && words.last().is_some_and(|word| word.text == *bad),
        When::Begins(bad) => words
            .iter()
            .any(|word| bad.iter().any(|start| word.text.starts_with(start))),
        When::Option(long, short) => words
            .iter()
            .any(|word| word.literal().is_some() && is_option(word, long, short)),
        When::EverythingBelow => {
            let recursive =
                |word: &Word| word.literal().is_some() && is_option(word, &["recursive"], "rR");
            words.iter().any(recursive) && words.iter().any(|word| is_everything(&word.text))
        }
    }
}

fn is_everything(text: &str) -> bool {
    let named = text.starts_with(['/', '~', '$', '.']);
    let stripped = text.trim_end_matches('*').trim_end_matches('/');
    named && EVERYTHING.contains(&stripped)
}

#[cfg(test)]
mod tests {
    use super::super::shell;
    use super::*;

    #[test]
    fn what_cannot_be_undone_is_noticed() {
        let table = [
            ("rm -rf /", true),
            ("rm -rf /*", true),
            ("rm -fr -- ~/", true),
            ("rm -r --force ~", true),
            ("rm --recursive /usr/", true),
            ("rm -rf $HOME", true),
            ("rm -rf \"$HOME\"/", true),
            ("rm -rf ..", true),
            ("rm -rf target", false),
            ("rm -rf /tmp/x", false),
            ("rm -rf ./target", false),
            ("rm -f /etc/x", false),
            ("chmod -R 777 /", true),
            ("chmod +x run", false),
            ("mkfs.ext4 /dev/sda1", true),
            ("dd if=/dev/zero of=/dev/sda", true),
            ("dd if=a of=b", false),
            ("git push", false),
            ("git push -f", true),
            ("git push --force-with-lease origin x", true),
            ("git push origin +main", true),
            ("git push origin :main", true),
            ("git push --follow-tags", false),
            ("sudo ls", true),
            ("kill -9 -1", true),
            ("kill -- -1", true),
            ("kill -1 12", false),
            ("kill 12", false),
        ];
        for (text, want) in table {
            let script = shell::read(text);
            let found = danger(&script.commands[0].words);
            assert_eq!(found.is_some(), want, "for `{text}`: {found:?}");
        }
    }
}
