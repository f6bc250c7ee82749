//! Every path a source names, with `use` groups spelt out and `crate`, `self` and `super` resolved.

use super::tokens::Token;

/// A path, such as `["std", "fs", "read"]`.
pub type Path = Vec<String>;

/// All paths of two or more segments in `tokens`, which are those of module `module`, itself a path
/// from the crate's root. Paths into the same crate begin with `crate`.
#[must_use]
pub fn paths(module: &[String], tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    // Inline modules around the current token, and the depth of braces they opened at.
    let mut inside: Vec<(usize, String)> = Vec::new();
    let mut depth = 0_usize;
    let mut rest = tokens;
    while let [first, after @ ..] = rest {
        match (first, after) {
            (Token::Mark('{'), _) => depth += 1,
            (Token::Mark('}'), _) => {
                depth = depth.saturating_sub(1);
                inside.retain(|(opened, _)| *opened < depth);
            }
            (module, [Token::Name(name), Token::Mark('{'), ..]) if module.is("mod") => {
                inside.push((depth, name.clone()));
            }
            (Token::Name(_), [Token::Path, ..]) => {
                let mut here = module.to_vec();
                here.extend(inside.iter().map(|(_, name)| name.clone()));
                let mut spelt = Vec::new();
                rest = spell(&[], rest, &mut spelt);
                found.extend(spelt.into_iter().map(|path| resolve(&here, path)));
                continue;
            }
            _ => {}
        }
        rest = after;
    }
    found
}

/// Spells out the path or group at the start of `tokens`, behind `prefix`; returns what follows it.
fn spell<'t>(prefix: &[String], tokens: &'t [Token], found: &mut Vec<Path>) -> &'t [Token] {
    match tokens {
        [Token::Name(name), Token::Path, rest @ ..] => {
            let longer = [prefix, std::slice::from_ref(name)].concat();
            match rest {
                [Token::Name(_) | Token::Mark('{'), ..] => spell(&longer, rest, found),
                // `Vec::<u8>::new`, `use a::*`
                _ => {
                    found.push(longer);
                    rest
                }
            }
        }
        [Token::Name(name), rest @ ..] => {
            found.push([prefix, std::slice::from_ref(name)].concat());
            rest
        }
        [Token::Mark('{'), rest @ ..] => {
            let mut rest = rest;
            loop {
                rest = match rest {
                    [] => return rest,
                    [Token::Mark('}'), after @ ..] => return after,
                    [Token::Name(_), ..] => spell(prefix, rest, found),
                    [_, after @ ..] => after,
                };
                // `name as other`
                if let [word, Token::Name(_), after @ ..] = rest
                    && word.is("as")
                {
                    rest = after;
                }
            }
        }
        _ => tokens,
    }
}

fn resolve(module: &[String], path: Path) -> Path {
    let relative = |ups: usize, skip: usize| {
        let kept = module.len().saturating_sub(ups);
        let start = ["crate".to_owned()];
        let parents = module.get(..kept).unwrap_or_default();
        let own = path.get(skip..).unwrap_or_default();
        [&start, parents, own].concat()
    };
    let supers = path.iter().take_while(|segment| *segment == "super");
    match (path.first().map(String::as_str), supers.count()) {
        (Some("self"), _) => {
            let rest = path.iter().skip(1);
            let ups = rest.take_while(|segment| *segment == "super").count();
            relative(ups, 1 + ups)
        }
        (_, ups @ 1..) => relative(ups, ups),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tokens::Source, *};

    fn check(module: &[&str], text: &str, want: &[&str]) {
        let module: Vec<_> = module.iter().map(|name| (*name).to_owned()).collect();
        let found = paths(&module, &Source::read(text).tokens);
        let found: Vec<_> = found.iter().map(|path| path.join("::")).collect();
        assert_eq!(found, want, "for `{text}`");
    }

    #[test]
    fn paths_are_spelt_out_and_resolved() {
        let here = &["pure", "turn"];
        check(
            here,
            "use std::{fs, io::{self, Read as R}, net};",
            &["std::fs", "std::io::self", "std::io::Read", "std::net"],
        );
        check(
            here,
            "let x = crate::edge::serve(y); z.a::<B>()",
            &["crate::edge::serve", "a"],
        );
        check(
            here,
            "use super::sample; use super::super::ports::tool;",
            &["crate::pure::sample", "crate::ports::tool"],
        );
        check(
            here,
            "use self::inner::X; fn f() { super::g() }",
            &["crate::pure::turn::inner::X", "crate::pure::g"],
        );
        check(
            here,
            "mod inner { use super::X; fn f() { super::super::y() } } use super::Z;",
            &["crate::pure::turn::X", "crate::pure::y", "crate::pure::Z"],
        );
        check(
            here,
            "use crate::{pure::a, edge};",
            &["crate::pure::a", "crate::edge"],
        );
    }
}
