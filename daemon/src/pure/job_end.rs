//! How the end of a background job is told to the model.

use quire_proto::v1::{Job, JobEnded};

/// Longest part of a command that is shown.
const COMMAND: usize = 200;

/// What the model is told: one line on how the job ended, then the newest of what it printed.
#[must_use]
pub fn told(job: &Job, ended: &JobEnded, tail: &str) -> String {
    let how = match ended.exit_code {
        _ if ended.timed_out => "was killed because its time was up,".to_owned(),
        _ if ended.stopped => "was stopped".to_owned(),
        Some(code) => format!("ended with exit code {code}"),
        None => "ended, it is not known how,".to_owned(),
    };
    let why = match ended.unknown.as_str() {
        "" => String::new(),
        why => format!(" ({why})"),
    };
    let seconds = ended.wall_ms as f64 / 1000.0;
    let head = format!(
        "The background job {} (`{}`) {how} after {seconds:.1} s{why}.",
        job.id,
        first_line(&job.command)
    );
    match tail.trim_end() {
        "" => format!("{head} It printed nothing."),
        tail if tail.len() as u64 >= ended.output_bytes.saturating_sub(1) => {
            format!("{head} Its output:\n{tail}")
        }
        tail => format!(
            "{head} It printed {} bytes, the newest of them:\n{tail}",
            ended.output_bytes
        ),
    }
}

fn first_line(command: &str) -> String {
    let line = command.trim().lines().next().unwrap_or_default();
    let whole = line.len() == command.trim().len() && line.chars().count() <= COMMAND;
    let shown: String = line.chars().take(COMMAND).collect();
    if whole { shown } else { format!("{shown} ...") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(command: &str) -> Job {
        Job {
            id: "jx".to_owned(),
            command: command.to_owned(),
            ..Job::default()
        }
    }

    fn ended(exit_code: Option<i32>, output_bytes: u64) -> JobEnded {
        JobEnded {
            exit_code,
            output_bytes,
            wall_ms: 1_500,
            ..JobEnded::default()
        }
    }

    #[test]
    fn the_model_is_told_how_a_job_ended_and_what_it_printed_last() {
        let unknown = JobEnded {
            unknown: "its keeper is gone".to_owned(),
            ..ended(None, 0)
        };
        let timed_out = JobEnded {
            timed_out: true,
            stopped: true,
            ..ended(None, 0)
        };
        let table = [
            (
                told(&job("make"), &ended(Some(2), 5), "oops\n"),
                "The background job jx (`make`) ended with exit code 2 after 1.5 s. Its output:\noops",
            ),
            (
                told(&job("make\nmore"), &ended(Some(0), 5_000), "the end\n"),
                "The background job jx (`make ...`) ended with exit code 0 after 1.5 s. \
                 It printed 5000 bytes, the newest of them:\nthe end",
            ),
            (
                told(&job("make"), &unknown, ""),
                "The background job jx (`make`) ended, it is not known how, after 1.5 s (its keeper is gone). \
                 It printed nothing.",
            ),
            (
                told(&job("make"), &timed_out, ""),
                "The background job jx (`make`) was killed because its time was up, after 1.5 s. It printed nothing.",
            ),
        ];
        for (got, want) in table {
            assert_eq!(got, want);
        }
    }
}
