//! Reads a shell script just far enough to see which commands it would run.
//!
//! It errs to one side: whatever a shell might expand, define or redirect makes the script
//! [opaque](Script::opaque), and what can be seen in it is still listed. It never runs anything and
//! never fails. The sandbox is the boundary; this only decides whether a person is asked.

mod scan;

use self::scan::{Piece, scan};

/// How much of a word is known before the shell runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Exactly this text.
    Literal,
    /// A pattern that names files; what it becomes begins as it does, up to the first wildcard.
    Glob,
    /// Only known when it runs.
    Unknown,
}

/// One word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Without its quotes.
    pub(super) text: String,
    pub(super) shape: Shape,
    /// Quoted in part or whole, not counting what follows a `=`: neither a keyword nor an assignment.
    pub(super) quoted: bool,
}

impl Word {
    pub(super) fn unknown() -> Self {
        Self {
            text: String::new(),
            shape: Shape::Unknown,
            quoted: false,
        }
    }

    /// The text, when nothing else can come of it.
    pub(super) fn literal(&self) -> Option<&str> {
        (self.shape == Shape::Literal).then_some(self.text.as_str())
    }

    /// Whether it may turn out to be an option.
    pub(super) fn may_be_option(&self) -> bool {
        match self.shape {
            Shape::Literal => self.text.starts_with('-'),
            Shape::Glob => self.text.starts_with(['-', '*', '?', '[']),
            Shape::Unknown => true,
        }
    }

    /// The name of a leading `NAME=value`.
    pub(super) fn assigned(&self) -> Option<&str> {
        let (name, _) = self.text.split_once('=')?;
        let mut bytes = name.bytes();
        let good = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        good.then_some(name)
    }
}

/// One command with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Simple {
    /// Names of the variables set for it.
    pub(super) assigned: Vec<String>,
    /// The command and its arguments; never empty.
    pub(super) words: Vec<Word>,
    /// Text given to it by a here-document or here-string.
    pub(super) fed: Vec<String>,
}

/// What is seen of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// Every command that can be seen, also within substitutions and blocks.
    pub(super) commands: Vec<Simple>,
    /// Why there may be more to it than that.
    pub(super) opaque: Option<&'static str>,
}

/// Substitutions nested deeper than this are not followed.
const DEEPEST: usize = 8;

/// Reads a script.
pub(super) fn read(text: &str) -> Script {
    let mut script = Script::default();
    read_into(&mut script, text, 0);
    script
}

fn read_into(script: &mut Script, text: &str, depth: usize) {
    if depth > DEEPEST {
        script.opaque.get_or_insert("it is nested too deeply");
        return;
    }
    let scanned = scan(text);
    if let Some(reason) = scanned.opaque {
        script.opaque.get_or_insert(reason);
    }
    let mut current = Simple::default();
    for piece in scanned.pieces {
        match piece {
            Piece::Word(word) => current.words.push(word),
            Piece::Fed(text) => current.fed.push(text),
            Piece::Break => finish(script, std::mem::take(&mut current)),
        }
    }
    finish(script, current);
    for nested in scanned.nested {
        read_into(script, &nested, depth + 1);
    }
}

/// Words that begin, join or end blocks; the command is what follows them.
const BLOCK: &[&str] = &[
    "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "{", "}", "coproc", "esac",
];
/// Words whose line holds no command of its own.
const HEADS: &[&str] = &["for", "select", "case", "[["];

fn finish(script: &mut Script, mut simple: Simple) {
    let mut words = std::mem::take(&mut simple.words).into_iter().peekable();
    while let Some(word) = words.peek().filter(|word| !word.quoted) {
        let text = word.text.as_str();
        if HEADS.contains(&text) {
            script.opaque.get_or_insert("it has control flow");
            return;
        } else if text == "function" {
            script.opaque.get_or_insert("it defines a function");
            words.next();
        } else if BLOCK.contains(&text) {
            script.opaque.get_or_insert("it has control flow");
        } else if let Some(name) = word.assigned() {
            simple.assigned.push(name.to_owned());
        } else if text != "!" && text != "time" {
            break;
        }
        words.next();
    }
    simple.words = words.collect();
    if !simple.words.is_empty() {
        script.commands.push(simple);
    } else if !simple.assigned.is_empty() {
        // A variable that stays set may change what later commands do.
        script.opaque.get_or_insert("it sets a variable");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(text: &str) -> (Vec<String>, bool) {
        let script = read(text);
        let commands = script.commands.iter().map(|simple| {
            let words: Vec<_> = simple.words.iter().map(|word| word.text.as_str()).collect();
            words.join(" ")
        });
        (commands.collect(), script.opaque.is_some())
    }

    #[test]
    fn commands_are_seen_through_what_joins_and_nests_them() {
        let table: &[(&str, &[&str], bool)] = &[
            ("", &[], false),
            ("  # nothing", &[], false),
            ("ls -l", &["ls -l"], false),
            ("ls;pwd\nid", &["ls", "pwd", "id"], false),
            ("a && b || c | d", &["a", "b", "c", "d"], false),
            ("a & b", &["a", "b"], true),
            (
                "git commit -m 'a; b && c'",
                &["git commit -m a; b && c"],
                false,
            ),
            ("git\\ push", &["git push"], false),
            ("g\"it\" 'pu'sh", &["git push"], false),
            ("git \\\n push", &["git push"], false),
            ("X=1 Y=2 make", &["make"], false),
            ("X=1", &[], true),
            ("X=\"a b\" Y='' git push", &["git push"], false),
            ("\"X\"=1 git", &["X=1 git"], false),
            (
                "echo \"$'\"; git push; echo \"'\"",
                &["echo $'", "git push", "echo '"],
                false,
            ),
            ("! grep x f", &["grep x f"], false),
            ("echo a#b # c", &["echo a#b"], false),
            ("echo $(git push)", &["echo $()", "git push"], true),
            ("echo \"`git push`\"", &["echo ``", "git push"], true),
            ("echo '$(git push)'", &["echo $(git push)"], false),
            ("echo \"\\$(x)\"", &["echo $(x)"], false),
            ("rm -rf $HOME", &["rm -rf $HOME"], true),
            ("echo ${A:-$(id)}", &["echo ${}", "A:-$()", "id"], true),
            ("echo $((1+2))", &["echo $()", "1+2"], true),
            ("(cd x; rm y)", &["cd x", "rm y"], true),
            ("{ rm y; }", &["rm y"], true),
            (
                "if git push; then rm x; else id; fi",
                &["git push", "rm x", "id"],
                true,
            ),
            ("for f in a b; do rm $f; done", &["rm $f"], true),
            ("case x in a) rm y;; esac", &["rm y"], true),
            ("f() { rm y; }", &["f", "rm y"], true),
            ("function f { rm y; }", &["rm y"], true),
            ("while read l; do id; done < f", &["read l", "id"], true),
            ("diff <(ls) <(id)", &["diff <() <()", "ls", "id"], true),
            ("ls > out", &["ls"], true),
            ("ls >> out", &["ls"], true),
            ("ls 2>/dev/null >&2 2>&1", &["ls"], false),
            ("ls 2>&1# x; id", &["ls x", "id"], true),
            ("ls >& out", &["ls"], true),
            ("ls &>/dev/null", &["ls"], false),
            ("ls &> out", &["ls"], true),
            ("cat < in", &["cat"], true),
            ("echo {a,b}", &["echo {a,b}"], true),
            (
                "find . -name '*.rs' -print {}",
                &["find . -name *.rs -print {}"],
                false,
            ),
            ("echo $'a\\'b' c", &["echo a'b c"], true),
            ("echo 'open", &["echo open"], true),
            ("echo \"open", &["echo open"], true),
            ("echo \0", &["echo \0"], true),
            ("cat <<E\nrm x\nit's\nE\nid", &["cat", "id"], true),
            (
                "cat <<-'E' && id\n\trm x\n\tE\npwd",
                &["cat", "id", "pwd"],
                true,
            ),
        ];
        for (text, commands, opaque) in table {
            let (got, got_opaque) = seen(text);
            assert_eq!(got, *commands, "for `{text}`");
            assert_eq!(got_opaque, *opaque, "whether opaque, for `{text}`");
        }
    }

    #[test]
    fn what_a_shell_is_fed_is_kept() {
        let script = read("bash <<E\nrm x\nE\n");
        assert_eq!(script.commands[0].fed, ["rm x\n"]);
        let script = read("bash <<< 'rm x'");
        assert_eq!(script.commands[0].fed, ["rm x"]);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[ -~\\n\\t\\x00é]{0,80}") {
            read(&text);
        }

        #[test]
        fn shell_like_noise_is_read_too(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "$(", ")", "`", "\"", "'", "<<E", "E", "\n", " ", "{", "}", "\\", "|", "&&", "a",
                    "${", "$", "#", ">", "<(", "if", ";", "1>", "*", "~",
                ]),
                0..40,
            )
        ) {
            read(&parts.concat());
        }
    }
}
