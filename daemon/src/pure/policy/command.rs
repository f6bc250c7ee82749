//! Judging a shell command: rules, what can't be undone, and what is known to only read.

use quire_proto::v1::{Decision, Policy, Rule};

use super::{
    Verdict,
    commands::{only_reads, starts_with},
    danger::danger,
    is_untrusted, shell,
    shell::Script,
    strictness,
    suggest::suggest,
    views::{View, Views, views},
};

/// Judges a script under a policy, as if approvals were on.
pub(super) fn judge(policy: &Policy, text: &str) -> Verdict {
    let script = shell::read(text);
    if let Some(verdict) = strictest(policy, &script, 0) {
        let rule = suggestion(policy, &script, &verdict);
        return Verdict { rule, ..verdict };
    }
    if !is_untrusted(policy) {
        return Verdict::new(Decision::Allow, "no rule asks about it");
    }
    match unknown(policy, &script, 0) {
        None => Verdict::new(Decision::Allow, "it only reads, or a rule allows it"),
        Some(reason) => {
            let verdict = Verdict::new(Decision::Ask, reason);
            let rule = suggestion(policy, &script, &verdict);
            Verdict { rule, ..verdict }
        }
    }
}

/// Scripts handed to shells within scripts are followed this deep.
const DEEPEST: usize = 4;

const TOO_DEEP: &str = "its commands are nested too deeply to be looked at";

fn too_deep(found: &Views) -> Option<Verdict> {
    found
        .too_deep
        .then(|| Verdict::new(Decision::Ask, TOO_DEEP))
}

/// The strictest ask or deny that any visible part of a script calls for.
fn strictest(policy: &Policy, script: &Script, depth: usize) -> Option<Verdict> {
    let verdicts = script.commands.iter().filter_map(|simple| {
        let found = views(simple);
        let Views { views, scripts, .. } = &found;
        let own = views.iter().filter_map(|view| strict_view(policy, view));
        let nested = scripts.iter().filter_map(|script| {
            if depth == DEEPEST {
                return Some(Verdict::new(Decision::Ask, TOO_DEEP));
            }
            strictest(policy, script, depth + 1)
        });
        // Collected, so that the first of equals is told, from the outside in.
        let unseen = nameless(policy, &found).or_else(|| too_deep(&found));
        let mut all: Vec<_> = own.chain(nested).chain(unseen).collect();
        all.sort_by_key(|verdict| std::cmp::Reverse(strictness(verdict.decision)));
        all.into_iter().next()
    });
    let mut all: Vec<_> = verdicts.collect();
    all.sort_by_key(|verdict| std::cmp::Reverse(strictness(verdict.decision)));
    all.into_iter().next()
}

fn strict_view(policy: &Policy, view: &View) -> Option<Verdict> {
    let shown = shown(view);
    let ruled = winner(policy, view).filter(|rule| rule.decision() != Decision::Allow);
    let ruled = ruled.map(|rule| {
        let prefix = rule.prefix.join(" ");
        let reason = match rule.reason.as_str() {
            "" => format!("a rule is about `{prefix}`"),
            reason => format!("a rule is about `{prefix}`: {reason}"),
        };
        match rule.decision() {
            Decision::Deny => Verdict::new(Decision::Deny, reason),
            // One that says nothing is from a newer client: the careful reading.
            _ => Verdict::new(Decision::Ask, reason),
        }
    });
    let dangerous =
        danger(&view.words).map(|what| Verdict::new(Decision::Ask, format!("`{shown}` {what}")));
    match (ruled, dangerous) {
        (Some(ruled), Some(dangerous)) if ruled.decision != Decision::Deny => {
            Some(Verdict::new(Decision::Ask, dangerous.reason))
        }
        (ruled, dangerous) => ruled.or(dangerous),
    }
}

/// A command whose very name is only known when it runs could be one that a rule is about.
fn nameless(policy: &Policy, found: &Views) -> Option<Verdict> {
    let mut names = found.views.iter().filter_map(|view| view.words.first());
    let named = names.all(|name| name.literal().is_some());
    let strict = policy
        .rules
        .iter()
        .any(|rule| rule.decision() != Decision::Allow);
    let reason = "which command it runs is only known when it runs, and rules forbid some";
    (!named && strict).then(|| Verdict::new(Decision::Ask, reason))
}

/// The rule that holds for a view: the longest, and of those the strictest.
fn winner<'p>(policy: &'p Policy, view: &View) -> Option<&'p Rule> {
    let about = policy.rules.iter().filter(|rule| {
        !rule.prefix.is_empty() && starts_with(&view.words, rule.prefix.iter().map(String::as_str))
    });
    about.max_by_key(|rule| (rule.prefix.len(), strictness(rule.decision())))
}

/// Why a script isn't known to only read or to be allowed; `None` when it is.
fn unknown(policy: &Policy, script: &Script, depth: usize) -> Option<String> {
    if let Some(reason) = script.opaque {
        return Some(format!(
            "what it does can't be told before it runs: {reason}"
        ));
    }
    script.commands.iter().find_map(|simple| {
        let found = views(simple);
        if allowed(policy, &found) {
            return None;
        }
        if found.only_scripts && depth < DEEPEST {
            let nested = found.scripts.iter();
            return nested
                .into_iter()
                .find_map(|script| unknown(policy, script, depth + 1));
        }
        let shown = found.views.first().map(shown).unwrap_or_default();
        Some(format!("`{shown}` is not known to only read"))
    })
}

fn allowed(policy: &Policy, found: &Views) -> bool {
    found.views.iter().filter(|view| view.faithful).any(|view| {
        let rule = winner(policy, view);
        rule.is_some_and(|rule| rule.decision() == Decision::Allow) || only_reads(&view.words)
    })
}

/// What "always" would add: an allowance for the one command that is in question.
fn suggestion(policy: &Policy, script: &Script, verdict: &Verdict) -> Option<Rule> {
    if verdict.decision != Decision::Ask || script.opaque.is_some() {
        return None;
    }
    let mut questioned = script.commands.iter().filter(|simple| {
        let found = views(simple);
        let strict = found
            .views
            .iter()
            .any(|view| strict_view(policy, view).is_some());
        strict || (is_untrusted(policy) && !allowed(policy, &found))
    });
    let simple = questioned.next().filter(|_| questioned.next().is_none())?;
    let found = views(simple);
    let [view] = found.views.as_slice() else {
        return None;
    };
    if !simple.assigned.is_empty() || danger(&view.words).is_some() {
        return None;
    }
    let beaten = winner(policy, view).map_or(0, |rule| rule.prefix.len());
    suggest(&view.words, beaten)
}

/// A command as a person is shown it.
fn shown(view: &View) -> String {
    const MOST: usize = 60;
    let words: Vec<_> = view.words.iter().map(|word| word.text.as_str()).collect();
    let text = words.join(" ");
    let text = text.trim_end();
    let mut shown: String = text.chars().take(MOST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.replace(|c: char| c.is_control(), " ")
}
