//! How a keeper ends: it records how the command did, tells, and removes what says "this job runs".

use std::{fs, path::Path};

use quire_sandbox::{
    record::{self, EXIT_FILE, ExitRecord, KEEPER_FILE, SOCKET_FILE},
    remnant::REMNANTS_FILE,
    wire::Event,
};

use super::Keeper;
use crate::confine::tree::{End, Finish, NotStarted};

impl Keeper {
    /// Writes the exit record, then tells: whoever is told can read it. The exit code is the
    /// keeper's own.
    pub(super) fn conclude(&mut self) -> i32 {
        // The tree's placeholders go with it; they must not outlive what they stand for.
        self.tree = None;
        let _ = fs::remove_file(REMNANTS_FILE);
        let record = self.exit_record();
        let here = Path::new(".");
        let written = self.reserve.become_record(here, &record);
        self.tell(&Event::Ended(Box::new(record)));
        self.clients.clear();
        let _ = fs::remove_file(SOCKET_FILE);
        let kept = written.and_then(|()| {
            fs::remove_file(KEEPER_FILE)?;
            // After telling: the daemon makes the outcome durable by itself, and need not wait.
            record::persist(here, EXIT_FILE)
        });
        i32::from(kept.is_err())
    }

    fn exit_record(&mut self) -> ExitRecord {
        let mut record = ExitRecord {
            timed_out: self.stop.timed_out,
            stopped: self.stop.asked,
            started_ms: self.began.ms,
            wall_ms: u64::try_from(self.began.instant.elapsed().as_millis()).unwrap_or(u64::MAX),
            output_bytes: self.output.total(),
            dropped_bytes: self.output.dropped(),
            report: self.report.clone(),
            ..ExitRecord::default()
        };
        match self.finish.take() {
            Some(Finish::Ended(End::Code(code))) => record.code = Some(code),
            Some(Finish::Ended(End::Signal(signal))) => record.signal = Some(signal),
            Some(Finish::NotStarted(NotStarted {
                failure, message, ..
            })) => {
                // A program that is missing ends as it would in a shell; the rest never ran.
                record.code = matches!(failure.code(), 126 | 127).then_some(failure.code());
                record.never_ran = true;
                record.error = Some(message);
            }
            Some(Finish::Lost) | None => {
                record.error = Some("its first process was killed from outside".to_owned())
            }
        }
        record
    }
}
