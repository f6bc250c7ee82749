//! From TOML to steps.

use std::{collections::VecDeque, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::{Failure, Script, ScriptError, ScriptedCall, Step, Written};

/// Most steps after repeats, so that a slip of the keyboard does not fill the memory.
const MAX_STEPS: usize = 100_000;

const END: &str = "The script has ended: there is no further step in its file.";

const FAILURES: [&str; 5] = ["429", "500", "reset", "garbage", "credentials"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    tokens_per_second: Option<f64>,
    #[serde(default)]
    step: Vec<Spanned<StepTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    #[serde(default)]
    reasoning: String,
    #[serde(default)]
    say: String,
    #[serde(default)]
    call: Vec<Spanned<CallTable>>,
    delay_ms: Option<u64>,
    tokens_per_second: Option<f64>,
    fail: Option<Spanned<String>>,
    times: Option<u32>,
    retry_after_ms: Option<u64>,
    repeat: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallTable {
    tool: String,
    arguments: Option<toml::Table>,
    input: Option<String>,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// The first fault, with its line; for a key that does not exist, with the nearest that does.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let document: Document = toml::from_str(text).map_err(|error| located(text, &error))?;
        let mut steps = Vec::new();
        let mut failures = Vec::new();
        for table in document.step {
            let start = table.span().start;
            let fault = |message: String| fault(text, start, message);
            let mut table = table.into_inner();
            table.tokens_per_second = table.tokens_per_second.or(document.tokens_per_second);
            failures.extend(failure(text, &table)?);
            if !table.answers() {
                table.check_failure_alone().map_err(fault)?;
                continue;
            }
            let repeat = table.repeat.unwrap_or(1);
            if repeat > MAX_STEPS - steps.len() {
                return Err(fault(format!("more than {MAX_STEPS} steps")));
            }
            for i in 0..repeat {
                let mut step = table.step(text, i)?;
                step.failures = std::mem::take(&mut failures);
                steps.push(step);
            }
        }
        steps.push(Step {
            failures,
            say: END.to_owned(),
            ..Step::default()
        });
        Ok(Self { steps })
    }
}

impl StepTable {
    fn answers(&self) -> bool {
        !self.say.trim().is_empty() || !self.call.is_empty()
    }

    fn check_failure_alone(&self) -> Result<(), String> {
        if self.fail.is_none() {
            return Err("the step neither says nor calls anything; give it `say`, \
                        `[[step.call]]` or `fail`"
                .to_owned());
        }
        if self.repeat.is_some() {
            return Err("`repeat` is for steps that answer; say `times` instead".to_owned());
        }
        Ok(())
    }

    /// The step as its `i`th repetition.
    fn step(&self, text: &str, i: usize) -> Result<Step, ScriptError> {
        let calls = self.call.iter().map(|call| scripted(text, call, i));
        Ok(Step {
            failures: Vec::new(),
            reasoning: filled(&self.reasoning, i),
            say: filled(&self.say, i),
            calls: calls.collect::<Result<_, _>>()?,
            delay: Duration::from_millis(self.delay_ms.unwrap_or(0)),
            pause: self.tokens_per_second.map_or(Duration::ZERO, pause),
        })
    }
}

/// The time between two tokens; none at a speed that makes no sense.
fn pause(tokens_per_second: f64) -> Duration {
    Duration::try_from_secs_f64(tokens_per_second.recip()).unwrap_or(Duration::ZERO)
}

fn failure(text: &str, table: &StepTable) -> Result<Option<(Failure, u32)>, ScriptError> {
    let Some(fail) = &table.fail else {
        return Ok(None);
    };
    let failure = match fail.get_ref().as_str() {
        "429" => Failure::RateLimited {
            retry_after: table.retry_after_ms.map(Duration::from_millis),
        },
        "500" => Failure::ServerError,
        "reset" => Failure::Reset,
        "garbage" => Failure::Garbage,
        "credentials" => Failure::Credentials,
        other => {
            let message = format!("unknown failure `{other}`{}", nearest(other, &FAILURES));
            return Err(fault(text, fail.span().start, message));
        }
    };
    Ok(Some((failure, table.times.unwrap_or(1))))
}

fn scripted(text: &str, call: &Spanned<CallTable>, i: usize) -> Result<ScriptedCall, ScriptError> {
    let table = call.get_ref();
    let written = match (&table.arguments, &table.input) {
        (Some(arguments), None) => Written::Json(json(&toml::Value::Table(arguments.clone()), i)),
        (None, Some(input)) => Written::Freeform(filled(input, i)),
        (None, None) => Written::Json(serde_json::json!({})),
        (Some(_), Some(_)) => {
            let message = "a call has either `arguments` or `input`".to_owned();
            return Err(fault(text, call.span().start, message));
        }
    };
    Ok(ScriptedCall {
        tool: table.tool.clone(),
        written,
    })
}

fn json(value: &toml::Value, i: usize) -> serde_json::Value {
    match value {
        toml::Value::String(text) => filled(text, i).into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.iter().map(|value| json(value, i)).collect(),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), json(value, i)))
            .collect(),
    }
}

fn filled(text: &str, i: usize) -> String {
    text.replace("{i}", &i.to_string())
}

fn fault(text: &str, at: usize, message: String) -> ScriptError {
    let before = text.as_bytes().iter().take(at);
    ScriptError {
        line: 1 + before.filter(|&&byte| byte == b'\n').count(),
        message,
    }
}

fn located(text: &str, error: &toml::de::Error) -> ScriptError {
    let at = error.span().map_or(0, |span| span.start);
    fault(text, at, advised(error.message()))
}

/// Adds the nearest known key to a message about an unknown one. The message is serde's: the
/// unknown key, then every known one, each in backticks.
fn advised(message: &str) -> String {
    if !message.starts_with("unknown field") {
        return message.trim().replace('\n', " ");
    }
    let mut quoted: VecDeque<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = quoted.pop_front().unwrap_or_default();
    let known = quoted.make_contiguous();
    format!("unknown key `{unknown}`{}", nearest(unknown, known))
}

fn nearest(unknown: &str, known: &[&str]) -> String {
    let distance = |word: &&&str| strsim::damerau_levenshtein(unknown, word);
    match known.iter().min_by_key(distance) {
        Some(word) => format!("; did you mean `{word}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_line_and_the_nearest_key() {
        let table = [
            ("speed = 3", 1, "unknown key `speed`; did you mean `step`?"),
            (
                "\n[[step]]\nsya = \"x\"",
                3,
                "unknown key `sya`; did you mean `say`?",
            ),
            (
                "[[step]]\nsay = \"x\"\n[[step.call]]\ntool = \"t\"\narguemnts = {}",
                5,
                "unknown key `arguemnts`; did you mean `arguments`?",
            ),
            (
                "[[step]]\n\n[[step.call]]\ninput = \"x\"",
                3,
                "missing field `tool`",
            ),
            (
                "[[step]]\nsay = \"a\"\n\n[[step]]\nreasoning = \"b\"",
                4,
                "the step neither says nor calls anything; give it `say`, `[[step.call]]` or `fail`",
            ),
            (
                "[[step]]\nfail = \"resett\"",
                2,
                "unknown failure `resett`; did you mean `reset`?",
            ),
            (
                "[[step]]\nfail = \"500\"\nrepeat = 2",
                1,
                "`repeat` is for steps that answer; say `times` instead",
            ),
            (
                "[[step]]\n[[step.call]]\ntool = \"t\"\ninput = \"x\"\narguments = {}",
                2,
                "a call has either `arguments` or `input`",
            ),
            (
                "[[step]]\nsay = \"a\"\nrepeat = 1000000",
                1,
                "more than 100000 steps",
            ),
        ];
        for (text, line, message) in table {
            let message = message.to_owned();
            assert_eq!(
                Script::parse(text),
                Err(ScriptError { line, message }),
                "{text}"
            );
        }
        let error = Script::parse("[[step]\n").unwrap_err();
        assert_eq!(error.line, 1);
        assert!(!error.message.contains('\n'));
    }

    #[test]
    fn repeats_are_counted_from_zero_in_every_text() {
        let script = Script::parse(
            r#"
            [[step]]
            repeat = 2
            say = "{i} of two"
            [[step.call]]
            tool = "exec_command"
            arguments = { cmd = "echo {i}", list = ["{i}", 1, true], when = 2026-01-02 }
            [[step.call]]
            tool = "apply_patch"
            input = "{i}"
            "#,
        )
        .unwrap();
        let second = &script.steps[1];
        assert_eq!(second.say, "1 of two");
        let arguments = serde_json::json!(
            {"cmd": "echo 1", "list": ["1", 1, true], "when": "2026-01-02"});
        assert_eq!(second.calls[0].written, Written::Json(arguments));
        assert_eq!(second.calls[1].written, Written::Freeform("1".to_owned()));
        assert_eq!(script.steps.len(), 3);
    }

    #[test]
    fn an_empty_file_is_a_script_that_has_ended() {
        let script = Script::parse("").unwrap();
        assert_eq!(script.steps[0].say, END);
    }
}
