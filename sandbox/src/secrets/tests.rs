//! What is a secret, what is a door, and what real environments need.

use super::*;

#[test]
fn secrets_are_told_from_what_tools_need() {
    let table = [
        ("OPENAI_API_KEY", "x", Secret),
        ("openai_api_key", "x", Secret),
        ("GITHUB_TOKEN", "x", Secret),
        ("NPM_TOKEN", "x", Secret),
        ("npm_config_//registry.npmjs.org/:_authToken", "x", Secret),
        ("MY_SERVICE_PASSWORD", "x", Secret),
        ("PGPASSWORD", "x", Secret),
        ("MYSQL_PWD", "x", Secret),
        ("REDISCLI_AUTH", "x", Secret),
        ("SENTRY_DSN", "https://abc@sentry.io/1", Secret),
        ("AWS_ACCESS_KEY_ID", "x", Secret),
        ("AWS_SECRET_ACCESS_KEY", "x", Secret),
        ("AWS_SESSION_TOKEN", "x", Secret),
        ("AWS_REGION", "x", Door),
        ("AWS_CA_BUNDLE", "/etc/ssl/ca.pem", Door),
        ("AZURE_CLIENT_SECRET", "x", Secret),
        ("VAULT_TOKEN", "x", Secret),
        ("VAULT_ADDR", "https://x", Door),
        ("client_secret", "x", Secret),
        ("SECRET_KEY_BASE", "x", Secret),
        ("SSH_PRIVATE_KEY", "x", Secret),
        ("SSH_AUTH_SOCK", "/x", Door),
        ("QUIRE_MODEL", "a/b", Door),
        ("QUIRE_TOKEN", "x", Secret),
        ("PATH", "/usr/bin", Plain),
        ("HOME", "/home/u", Plain),
        ("PWD", "/home/u", Plain),
        ("OLDPWD", "/home/u", Plain),
        ("CARGO_HOME", "/c", Plain),
        ("MONKEY", "x", Plain),
        ("AUTHOR", "x", Plain),
        ("COMPASS", "x", Plain),
        ("KEYTIMEOUT", "1", Plain),
        ("GIT_AUTHOR_EMAIL", "a@b", Plain),
        ("EMPTY", "", Plain),
    ];
    for (name, value, want) in table {
        assert_eq!(kind(name, value), want, "for {name}={value}");
    }
}

#[test]
fn values_tell_where_names_do_not() {
    let table = [
        ("postgres://u:p@x/y", true),
        ("redis://:p@x", true),
        ("http://u:p@proxy:1", true),
        ("https://ghp_0123456789abcdef@github.com/a/b", true),
        ("ghp_abc", true),
        ("sk-ant-api03-abc", true),
        ("github_pat_11ABC", true),
        ("xoxb-1-2", true),
        ("AKIAIOSFODNN7EXAMPLE", true),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc", true),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", true),
        ("Server=db;User=sa;Password=hunter2", true),
        ("-Xmx1g -Ddb.password=hunter2", true),
        ("https://x/y?access_token=abc", true),
        ("--header=Authorization: Basic abc", true),
        (r#"{"Authorization":"Bearer 0123456789abcdef"}"#, true),
        ("Bearer 0123456789abcdef", true),
        ("--api sk-proj-0123456789abcdef", true),
        ("pX7zQ2mVb9RtLw4KsY1NcJf8HdGa3EuT", true),
        ("http://proxy:1", false),
        ("https://x/a:b@c", false),
        ("ssh://git@github.com/a/b", false),
        ("0123456789abcdef0123456789abcdef01234567", false),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", false),
        ("MyApplicationWindowManagerSession2024Beta", false),
        ("password=", false),
    ];
    for (value, want) in table {
        assert_eq!(is_secret("WHATEVER", value), want, "for {value}");
    }
}

/// Variables of real terminals, none of which is a secret.
const REAL: &[(&str, &str)] = &[
    (
        "PATH",
        "/nix/store/7z1ha6xx9rgvbbkbcjxaw5kd0bxhxmi5-ripgrep-14.1.0/bin:/home/u/.nvm/versions/node/v22.3.0/bin:\
         /home/u/.venv/bin:/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/mnt/c/Program Files/Git/cmd",
    ),
    (
        "LS_COLORS",
        "rs=0:di=01;34:ln=01;36:mh=00:pi=40;33:so=01;35:do=01;35:bd=40;33;01:or=40;31;01:*.tar=01;31:*.tgz=01;31",
    ),
    ("VIRTUAL_ENV", "/home/u/src/app/.venv"),
    ("NVM_DIR", "/home/u/.nvm"),
    ("NVM_INC", "/home/u/.nvm/versions/node/v22.3.0/include/node"),
    ("CONDA_PROMPT_MODIFIER", "(base) "),
    ("RUSTUP_TOOLCHAIN", "stable-x86_64-unknown-linux-gnu"),
    ("GOFLAGS", "-mod=mod -ldflags=-X=main.version=1"),
    ("JAVA_HOME", "/usr/lib/jvm/java-21-openjdk-amd64"),
    ("LC_ALL", "sk_SK.UTF-8"),
    (
        "XDG_DATA_DIRS",
        "/usr/share/gnome:/home/u/.local/share/flatpak/exports/share:/usr/share",
    ),
    ("XDG_SESSION_ID", "3"),
    ("INVOCATION_ID", "0f3c1b5d8e9a4b7c8d6e5f4a3b2c1d0e"),
    ("JOURNAL_STREAM", "8:28654"),
    (
        "TERM_SESSION_ID",
        "w0t0p0:0C5E1C8F-2A3B-4D5E-8F90-123456789ABC",
    ),
    (
        "ITERM_SESSION_ID",
        "w0t0p0:0C5E1C8F-2A3B-4D5E-8F90-123456789ABC",
    ),
    ("WT_SESSION", "2c3b1a09-1f2e-4d5c-8b7a-0123456789ab"),
    ("SSH_CONNECTION", "192.168.1.7 50022 192.168.1.9 22"),
    ("SSH_TTY", "/dev/pts/3"),
    ("LESSOPEN", "| /usr/bin/lesspipe %s"),
    (
        "PS1",
        r"\[\e]0;\u@\h: \w\a\]${debian_chroot:+($debian_chroot)}\[\033[01;32m\]\u@\h\[\033[00m\]:\w\$ ",
    ),
    ("GPG_TTY", "/dev/pts/3"),
    (
        "FZF_DEFAULT_OPTS",
        "--height 40% --layout=reverse --bind=ctrl-k:kill-line",
    ),
    (
        "PKG_CONFIG_PATH",
        "/nix/store/0c0vq1r9y3k5hhpdyq2qkkb3y1mz1sjj-openssl-3.0.13-dev/lib/pkgconfig",
    ),
    (
        "NIX_CFLAGS_COMPILE",
        " -frandom-seed=7z1ha6xx9rgvbbkbcjxaw5kd0bxhxmi5 -isystem /nix/store/0c0vq1r9y3k5hhpdyq2qkkb3y1mz1sjj-zlib/include",
    ),
    (
        "DOTNET_BUNDLE_EXTRACT_BASE_DIR",
        "/home/u/.cache/dotnet_bundle_extract",
    ),
    (
        "npm_config_user_agent",
        "npm/10.8.1 node/v22.3.0 linux x64 workspaces/false",
    ),
    ("npm_package_json", "/home/u/src/app/package.json"),
    ("MAKEFLAGS", " -j4 --jobserver-auth=fifo:/tmp/GMfifo123"),
    ("GOPRIVATE", "github.com/acme/*"),
    ("DOCKER_BUILDKIT", "1"),
    ("MANPATH", ":/opt/homebrew/share/man"),
    ("WSLENV", "WT_SESSION:WT_PROFILE_ID:"),
    ("HISTCONTROL", "ignoreboth"),
];

#[test]
fn real_environments_keep_what_they_need() {
    for (name, value) in REAL {
        assert_eq!(kind(name, value), Plain, "for {name}={value}");
    }
}

#[test]
fn every_entry_has_its_reason_and_decides_something() {
    let reasons = NAMES.iter().map(|(_, _, reason)| reason);
    let makers = BEGINNINGS.iter().map(|(_, maker)| maker);
    assert!(reasons.chain(makers).all(|text| !text.is_empty()));
    for (entry, kind, _) in NAMES {
        let name = match entry {
            Is(name) | Begins(name) => (*name).to_owned(),
            Word(part) | Ending(part) | Part(part) => format!("MY_{part}"),
        };
        assert_eq!(by_name(&name), *kind, "an entry before hides {entry:?}");
    }
}
