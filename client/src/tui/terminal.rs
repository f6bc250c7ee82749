//! The terminal: taken over for the screen, and given back as it was found, however this ends.
//!
//! It is given back when [`Screen`] is dropped, and by a panic hook before the panic is told.

use std::{
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor, event, execute, queue,
    terminal::{
        self, BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen,
        LeaveAlternateScreen,
    },
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend};
use rustix::process::{Signal, kill_current_process_group};

use crate::failure::{Exit, Failure};

/// True while the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Makes sure that there is a terminal to draw on and to read keys from. Touches nothing.
///
/// # Errors
///
/// [`Exit::Usage`] when there is none.
pub fn require_terminal() -> Result<(), Failure> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(
        "no terminal: use `quire exec` where input or output is not one",
    ))
}

/// The terminal while it is ours.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// [`Exit::Usage`] when there is none, [`Exit::Failed`] when it cannot be used.
    pub(crate) fn open() -> Result<Self, Failure> {
        require_terminal()?;
        HOOK.call_once(give_back_on_panic);
        take().map_err(unusable)?;
        match blank() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(unusable(error))
            }
        }
    }

    /// Has `picture` drawn, in one go where the terminal can.
    pub(crate) fn paint(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        if !TAKEN.load(Ordering::SeqCst) {
            // A panic in another thread has given it back and told about itself.
            return Err(Failure::silent(Exit::Failed));
        }
        let drawn = queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)
            .and_then(|()| {
                let painted = self.terminal.draw(picture);
                painted.map(drop)
            })
            .and_then(|()| execute!(self.terminal.backend_mut(), EndSynchronizedUpdate));
        drawn.map_err(unusable)
    }

    /// Forgets what is on the screen, so that the next [`paint`](Self::paint) draws all of it.
    pub(crate) fn forget(&mut self) -> Result<(), Failure> {
        // Its own `clear` asks the terminal where the cursor is and waits for the answer among the keys,
        // which a terminal that is slow or far away does not give in time.
        self.terminal = blank().map_err(unusable)?;
        execute!(
            self.terminal.backend_mut(),
            terminal::Clear(terminal::ClearType::All)
        )
        .map_err(unusable)
    }

    /// Tells the terminal itself something, beside the picture.
    pub(super) fn tell(&mut self, sequence: &str) -> Result<(), Failure> {
        let backend = self.terminal.backend_mut();
        let told = backend.write_all(sequence.as_bytes());
        told.and_then(|()| backend.flush()).map_err(unusable)
    }

    /// Gives the terminal to the shell and stops; takes it again when the shell lets us go on.
    pub(crate) fn suspend(&mut self) -> Result<(), Failure> {
        give_back();
        // The whole group, as the terminal's own Ctrl+Z would: whoever started us stops too.
        let stopped = kill_current_process_group(Signal::TSTP).map_err(io::Error::from);
        take().and(stopped).map_err(unusable)?;
        self.forget()
    }
}

impl Screen {
    /// Takes the terminal again after this process was stopped from outside: whoever had it meanwhile may
    /// have left it in another state.
    pub(super) fn retake(&mut self) -> Result<(), Failure> {
        // Giving it back first: what is ours already would not be taken.
        give_back();
        take().map_err(unusable)?;
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// A picture of nothing.
fn blank() -> io::Result<Terminal<CrosstermBackend<BufWriter<Stdout>>>> {
    Terminal::new(CrosstermBackend::new(BufWriter::new(io::stdout())))
}

fn take() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let entered = execute!(
        io::stdout(),
        EnterAlternateScreen,
        event::EnableBracketedPaste,
        event::EnableFocusChange
    );
    if entered.is_err() {
        give_back();
    }
    entered
}

/// Puts everything back that [`take`] changed. What can't be put back is not told: there is no
/// screen left to tell it on.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _gone = execute!(
            io::stdout(),
            EndSynchronizedUpdate,
            event::DisableFocusChange,
            event::DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _gone = terminal::disable_raw_mode();
    }
}

fn give_back_on_panic() {
    let told_before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        give_back();
        told_before(info);
    }));
}

fn unusable(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot use the terminal: {error}"))
}
