//! What is known of commands, as data: which only read, which are never run unasked, which variables
//! change nothing that matters, and which commands only start another.

use super::shell::Word;

/// Arguments with which a reading command still only reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arguments {
    /// All.
    Any,
    /// All but these long options (or an abbreviation of one) and these short ones, alone or in a
    /// cluster.
    Except {
        long: &'static [&'static str],
        short: &'static str,
    },
    /// All but these words.
    ExceptWords(&'static [&'static str]),
    /// Only these words.
    Only(&'static [&'static str]),
    /// At most one that is no option: a second would be written to.
    OneFile,
    /// Only words that begin with `+`.
    Formats,
    /// `-n`, then one address with `p`, then files.
    PrintLines,
}

/// A command that only reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads {
    /// Its first words.
    pub(super) prefix: &'static [&'static str],
    pub(super) arguments: Arguments,
    /// What it does, and why some arguments are left out.
    #[allow(
        dead_code,
        reason = "the reason stands beside the datum; tests look that it does"
    )]
    pub(super) why: &'static str,
}

const fn any(prefix: &'static [&'static str], why: &'static str) -> Reads {
    with(prefix, Arguments::Any, why)
}

const fn with(prefix: &'static [&'static str], arguments: Arguments, why: &'static str) -> Reads {
    Reads {
        prefix,
        arguments,
        why,
    }
}

const fn except(long: &'static [&'static str], short: &'static str) -> Arguments {
    Arguments::Except { long, short }
}

/// Options of git's diff family that write or run programs.
const GIT_DIFF: Arguments = except(&["output", "ext-diff", "textconv", "show-signature"], "");

/// The table. `test`, `[` and `printf -v` are not in it: they evaluate array subscripts, and so run
/// substitutions that quotes seem to hide.
#[rustfmt::skip]
pub(super) const READS: &[Reads] = &[
    any(&["basename"], "prints part of a name"),
    any(&["cat"], "prints files"),
    any(&["cd"], "changes only this script's directory"),
    any(&["cksum"], "prints checksums"),
    any(&["cmp"], "compares files"),
    any(&["comm"], "compares sorted files"),
    any(&["cut"], "prints columns"),
    with(&["date"], Arguments::Formats, "prints the time; other words set it"),
    any(&["df"], "prints free space"),
    any(&["diff"], "compares files"),
    any(&["dirname"], "prints part of a name"),
    any(&["du"], "prints sizes"),
    any(&["echo"], "prints its words"),
    any(&["egrep"], "searches files"),
    any(&["false"], "does nothing"),
    any(&["fgrep"], "searches files"),
    with(&["fd"], except(&["exec", "exec-batch"], "xX"), "finds files; -x runs a command on each"),
    with(&["file"], except(&["compile"], "C"), "tells file types; -C writes a database"),
    with(&["find"], Arguments::ExceptWords(&["-exec", "-execdir", "-ok", "-okdir", "-delete", "-fprint", "-fprint0", "-fprintf", "-fls"]), "finds files; the exceptions run, remove or write"),
    with(&["git", "blame"], GIT_DIFF, "tells who wrote a line"),
    with(&["git", "branch"], Arguments::Only(&["-a", "--all", "-r", "--remotes", "-v", "-vv", "--verbose", "--list", "--show-current"]), "lists branches; a name would make one"),
    any(&["git", "describe"], "names a commit"),
    with(&["git", "diff"], GIT_DIFF, "shows changes; the exceptions write or run programs"),
    with(&["git", "log"], GIT_DIFF, "shows commits; the exceptions write or run programs"),
    any(&["git", "ls-files"], "lists tracked files"),
    any(&["git", "ls-tree"], "lists a tree"),
    with(&["git", "remote"], Arguments::Only(&["-v", "--verbose"]), "lists remotes; a word would change them"),
    any(&["git", "rev-parse"], "prints names of commits and directories"),
    with(&["git", "show"], GIT_DIFF, "shows a commit; the exceptions write or run programs"),
    with(&["git", "stash", "list"], GIT_DIFF, "lists stashes"),
    any(&["git", "status"], "shows what changed"),
    with(&["git", "tag"], Arguments::Only(&["-l", "--list"]), "lists tags; a name would make one"),
    any(&["grep"], "searches files"),
    any(&["head"], "prints the first lines"),
    any(&["id"], "prints the user"),
    any(&["jq"], "reads JSON; it has no way to write or run"),
    any(&["ls"], "lists files"),
    any(&["md5sum"], "prints checksums"),
    any(&["nl"], "numbers lines"),
    any(&["od"], "prints bytes"),
    any(&["paste"], "joins lines"),
    with(&["printf"], except(&[], "v"), "prints its words; -v evaluates a subscript"),
    any(&["pwd"], "prints the directory"),
    any(&["readlink"], "prints where a link leads"),
    any(&["realpath"], "prints a resolved name"),
    any(&["rev"], "reverses lines"),
    with(&["rg"], except(&["pre", "hostname-bin", "search-zip"], "z"), "searches files; the exceptions run programs"),
    with(&["sed"], Arguments::PrintLines, "prints lines; any other script could write or run"),
    any(&["seq"], "prints numbers"),
    any(&["sha1sum"], "prints checksums"),
    any(&["sha256sum"], "prints checksums"),
    with(&["sort"], except(&["output", "compress-program", "temporary-directory"], "oT"), "sorts lines; the exceptions write or run"),
    any(&["stat"], "prints what is known of a file"),
    any(&["strings"], "prints text in files"),
    any(&["tac"], "prints lines backwards"),
    any(&["tail"], "prints the last lines"),
    any(&["tr"], "replaces characters"),
    with(&["tree"], except(&["output"], "oR"), "lists files; -o and -R write"),
    any(&["true"], "does nothing"),
    any(&["uname"], "prints the system"),
    with(&["uniq"], Arguments::OneFile, "drops repeats; a second file would be written"),
    any(&["wc"], "counts"),
    any(&["which"], "finds a program"),
    any(&["whoami"], "prints the user"),
];

/// Whether a command is known to only read.
pub(super) fn only_reads(words: &[Word]) -> bool {
    READS.iter().any(|entry| {
        starts_with(words, entry.prefix.iter().copied())
            && fits(entry.arguments, &words[entry.prefix.len()..])
    })
}

/// Whether a command begins with exactly these words.
pub(super) fn starts_with<'p>(words: &[Word], prefix: impl IntoIterator<Item = &'p str>) -> bool {
    let mut words = words.iter();
    prefix
        .into_iter()
        .all(|part| words.next().and_then(Word::literal) == Some(part))
}

fn fits(arguments: Arguments, words: &[Word]) -> bool {
    match arguments {
        Arguments::Any => true,
        Arguments::Except { long, short } => words.iter().all(|word| !is_option(word, long, short)),
        Arguments::ExceptWords(bad) => words.iter().all(|word| {
            !bad.contains(&word.text.as_str())
                && (!word.may_be_option() || word.literal().is_some())
        }),
        Arguments::Only(good) => words
            .iter()
            .all(|word| word.literal().is_some_and(|text| good.contains(&text))),
        Arguments::OneFile => {
            let files = words.iter().filter(|word| !word.text.starts_with('-'));
            words.iter().all(|word| word.literal().is_some()) && files.count() <= 1
        }
        Arguments::Formats => words.iter().all(|word| {
            word.literal()
                .is_some_and(|text| text.starts_with('+') || text == "-u")
        }),
        Arguments::PrintLines => prints_lines(words),
    }
}

/// Whether a word is, or may turn out to be, one of these options.
pub(super) fn is_option(word: &Word, long: &[&str], short: &str) -> bool {
    let Some(text) = word.literal() else {
        return word.may_be_option();
    };
    if let Some(name) = text.strip_prefix("--") {
        let name = name.split('=').next().unwrap_or_default();
        return !name.is_empty() && long.iter().any(|bad| bad.starts_with(name));
    }
    text.strip_prefix('-')
        .is_some_and(|cluster| cluster.contains(|c| short.contains(c)))
}

fn prints_lines(words: &[Word]) -> bool {
    let mut words = words.iter();
    let quiet = words.next().and_then(Word::literal) == Some("-n");
    let script = words.next().and_then(Word::literal).unwrap_or_default();
    let address = script.strip_suffix('p').unwrap_or("-");
    let number =
        |text: &str| text == "$" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let good = match address.split_once(',') {
        Some((from, to)) => number(from) && number(to),
        None => number(address),
    };
    quiet && good && words.all(|word| !word.may_be_option())
}

/// A command that starts another, which rules are about too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wrapper {
    pub(super) name: &'static str,
    /// Options whose value is the next word.
    pub(super) valued: &'static [&'static str],
    /// Words of its own before the command.
    pub(super) own_words: usize,
    pub(super) effect: Effect,
}

/// What a wrapper does to what it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that matters: what may run without it may run with it.
    Harmless,
    /// Sets variables that stand before the command. Of its options only `-i` changes nothing else.
    Sets,
    /// Adds arguments that nobody sees. Some of its options even replace the command's name.
    Adds,
    /// Gives it other rights, or another world: an allowance without it doesn't hold with it.
    Changes,
}

const fn wrapper(
    name: &'static str,
    valued: &'static [&'static str],
    own_words: usize,
    effect: Effect,
) -> Wrapper {
    Wrapper {
        name,
        valued,
        own_words,
        effect,
    }
}

/// The wrappers.
pub(super) const WRAPPERS: &[Wrapper] = &[
    wrapper(
        "sudo",
        &[
            "-u", "-g", "-h", "-p", "-C", "-r", "-t", "-D", "-R", "-T", "-U", "--user", "--group",
        ],
        0,
        Effect::Changes,
    ),
    wrapper("doas", &["-u", "-C"], 0, Effect::Changes),
    wrapper(
        "env",
        &["-u", "-C", "-S", "--unset", "--chdir", "--split-string"],
        0,
        Effect::Sets,
    ),
    wrapper(
        "xargs",
        &["-I", "-n", "-P", "-L", "-d", "-a", "-E", "-s"],
        0,
        Effect::Adds,
    ),
    wrapper("nice", &["-n", "--adjustment"], 0, Effect::Harmless),
    wrapper("ionice", &["-c", "-n"], 0, Effect::Harmless),
    wrapper(
        "timeout",
        &["-k", "-s", "--kill-after", "--signal"],
        1,
        Effect::Harmless,
    ),
    wrapper("time", &["-f", "-o"], 0, Effect::Changes),
    wrapper("nohup", &[], 0, Effect::Changes),
    wrapper("setsid", &[], 0, Effect::Changes),
    wrapper("stdbuf", &["-i", "-o", "-e"], 0, Effect::Harmless),
    wrapper("command", &[], 0, Effect::Harmless),
    wrapper("builtin", &[], 0, Effect::Changes),
    wrapper("exec", &["-a"], 0, Effect::Changes),
    wrapper("busybox", &[], 0, Effect::Changes),
    wrapper("chroot", &[], 1, Effect::Changes),
    wrapper("watch", &["-n", "--interval"], 0, Effect::Changes),
    wrapper("strace", &["-o", "-e", "-p", "-s"], 0, Effect::Changes),
];

impl Effect {
    /// Whether an option leaves what is started as it seems.
    pub(super) fn keeps_faith(self, option: &str) -> bool {
        match self {
            Self::Harmless => true,
            Self::Sets => option == "-i",
            Self::Adds => ["-0", "-r", "-t", "-n", "-P", "-L"].contains(&option),
            Self::Changes => false,
        }
    }
}

/// Shells whose scripts are read as they would read them themselves.
pub(super) const READ_SHELLS: &[&str] = &["sh", "bash", "dash"];

/// Shells: what follows `-c`, or what they are fed, is a script.
pub(super) const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "ash", "fish"];

/// Variables that change only how things look. Any other may make a command run another program.
pub(super) const HARMLESS_VARIABLES: &[&str] = &[
    "CI",
    "CLICOLOR",
    "COLUMNS",
    "FORCE_COLOR",
    "LANG",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LINES",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "TERM",
    "TZ",
];

/// Options of git before its subcommand whose value is the next word.
pub(super) const GIT_VALUED: &[&str] = &[
    "-C",
    "-c",
    "--git-dir",
    "--work-tree",
    "--namespace",
    "--exec-path",
    "--config-env",
    "--super-prefix",
];

/// Options of git before its subcommand that change only how things look.
pub(super) const GIT_HARMLESS: &[&str] = &[
    "--no-pager",
    "-P",
    "--no-optional-locks",
    "--literal-pathspecs",
];

#[cfg(test)]
mod tests {
    use super::super::shell;
    use super::*;

    #[test]
    fn options_that_write_or_run_are_noticed() {
        let table = [
            ("ls -la *.rs", true),
            ("cat *", true),
            ("git status --short", true),
            ("git log -p -3 --stat", true),
            ("git log --output=x", false),
            ("git log --outp=x", false),
            ("git diff --ext-diff", false),
            ("git show --textc", false),
            ("git diff --output-indicator-new=x", true),
            ("git branch", true),
            ("git branch -a -vv", true),
            ("git branch new", false),
            ("git branch -D old", false),
            ("git push", false),
            ("git", false),
            ("rg -n foo src", true),
            ("rg --pre cat foo", false),
            ("rg -nz foo", false),
            ("rg foo *", false),
            ("rg foo src/*", true),
            ("find . -name x", true),
            ("find . -delete", false),
            ("find . -exec rm x ;", false),
            ("find *", false),
            ("sed -n 1,20p f", true),
            ("sed -n 5p f", true),
            ("sed -n '1,$p' f", true),
            ("sed -n -i 1p f", false),
            ("sed -n 1w f", false),
            ("sed -i s/a/b/ f", false),
            ("sed -n 1p *", false),
            ("sort -u f", true),
            ("sort -uo g f", false),
            ("sort --outp g f", false),
            ("uniq a", true),
            ("uniq a b", false),
            ("date +%s", true),
            ("date 01010000", false),
            ("printf %s x", true),
            ("printf -v x y", false),
            ("test -v x", false),
            ("./ls", false),
            ("/bin/ls", false),
            ("make", false),
        ];
        for (text, want) in table {
            let script = shell::read(text);
            assert_eq!(only_reads(&script.commands[0].words), want, "for `{text}`");
        }
    }

    #[test]
    fn every_entry_says_why_and_no_shell_is_a_wrapper() {
        assert!(READS.iter().all(|entry| !entry.why.is_empty()));
        assert!(
            WRAPPERS
                .iter()
                .all(|wrapper| !SHELLS.contains(&wrapper.name))
        );
    }
}
