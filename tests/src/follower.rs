//! A watcher that never gives up: however often its daemon dies, it goes on from its cursor with the
//! next one, and notes whatever it is shown twice, or is never shown.
//!
//! It starts no daemon. Whether one comes back is for the clients under test.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use quire_proto::{
    home::Home as Paths,
    v1::{
        Item, ItemStatus, SessionServiceWatchRequest, event::Body, item::Kind,
        session_service_client::SessionServiceClient,
    },
};
use tokio::{runtime::Runtime, sync::watch};
use tonic::{Status, Streaming};

use crate::{
    home::Home,
    processes,
    rpc::{View, Wire, dial},
    wait::{self, PATIENCE},
};

type Updates = Streaming<quire_proto::v1::SessionServiceWatchResponse>;

/// A watcher on a thread of its own. Dropping it leaves.
pub struct Follower {
    shared: Arc<Shared>,
    leave: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    paths: Paths,
    session: String,
    view: Mutex<View>,
    changed: Condvar,
    left: watch::Receiver<bool>,
}

impl Follower {
    /// Watches the session of this id from its beginning.
    #[must_use]
    pub fn of(home: &Home, session: &str) -> Self {
        let (leave, left) = watch::channel(false);
        let shared = Arc::new(Shared {
            paths: home.paths(),
            session: session.to_owned(),
            view: Mutex::default(),
            changed: Condvar::new(),
            left,
        });
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || own.follow());
        Self {
            shared,
            leave,
            thread: Some(thread),
        }
    }

    /// Waits until `holds`, far longer than one daemon should take.
    ///
    /// # Panics
    ///
    /// When it doesn't come to that, or what came had a gap or a repeat.
    pub fn until(&self, what: &str, holds: impl Fn(&View) -> bool) {
        let waiting = |view: &mut View| !holds(view) && view.faults.is_empty();
        let (view, _) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.view(), PATIENCE * 2, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(view.faults.is_empty(), "a follower saw {:#?}", view.faults);
        let events = &view.events;
        let newest = events.iter().rev().take(8);
        let newest: Vec<_> = newest
            .map(|event| format!("{:.200?}", event.body))
            .collect();
        assert!(
            holds(&view),
            "a follower waited in vain for {what}; the newest first of its {} events: {newest:#?}",
            events.len()
        );
    }

    /// What it has seen so far.
    #[must_use]
    pub fn view(&self) -> View {
        self.shared.view().clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.leave.send_replace(true);
        // It may have panicked; the panic is on the screen already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("the machine has an event queue left");
        while !*self.left.borrow() {
            // A test that hangs ends at its own deadline, so this may look for ever.
            let Some(Some(updates)) = wait::within(PATIENCE, || self.attach(&runtime)) else {
                continue;
            };
            let mut left = self.left.clone();
            runtime.block_on(async {
                tokio::select! {
                    () = self.apply(updates) => {}
                    _ = left.wait_for(|left| *left) => {}
                }
            });
        }
    }

    /// `None` to look again, `Some(None)` to leave.
    fn attach(&self, runtime: &Runtime) -> Option<Option<Updates>> {
        if *self.left.borrow() {
            return Some(None);
        }
        let record = self.paths.record().ok()?;
        processes::is(record.pid, record.start_time)?;
        let opened = runtime.block_on(async {
            let wire = dial(&self.paths, &record).await?;
            self.watch(wire).await.ok()
        });
        opened.map(Some)
    }

    async fn watch(&self, wire: Wire) -> Result<Updates, Status> {
        let after = self.view().cursor();
        let request = SessionServiceWatchRequest {
            session: self.session.clone(),
            after: (after.seq > 0).then_some(after),
            ..SessionServiceWatchRequest::default()
        };
        let updates = SessionServiceClient::new(wire).watch(request).await?;
        Ok(updates.into_inner())
    }

    async fn apply(&self, mut updates: Updates) {
        self.view().synced = false;
        while let Ok(Some(message)) = updates.message().await {
            if let Some(update) = message.update {
                self.view().apply(update);
                self.changed.notify_all();
            }
        }
    }
}

/// The transcript as text: every item in the order it began, each as far as it has come.
#[must_use]
pub fn transcript(view: &View) -> String {
    let mut items: Vec<Item> = Vec::new();
    for event in &view.events {
        let item = match &event.body {
            Some(Body::ItemStarted(started)) => started.item.as_ref(),
            Some(Body::ItemChanged(changed)) => changed.item.as_ref(),
            Some(Body::ItemCompleted(completed)) => completed.item.as_ref(),
            _ => continue,
        };
        let Some(item) = item else { continue };
        match items.iter_mut().find(|known| known.id == item.id) {
            Some(known) => known.clone_from(item),
            None => items.push(item.clone()),
        }
    }
    items.iter().map(|item| told(item, view)).collect()
}

fn told(item: &Item, view: &View) -> String {
    let grown = view.growing.get(&item.id);
    let grown = grown.map_or_else(Default::default, |bytes| String::from_utf8_lossy(bytes));
    let text = match &item.kind {
        Some(Kind::Prompt(prompt)) => format!("> {}", prompt.text),
        Some(Kind::Message(message)) => format!("{}{grown}", message.text),
        Some(Kind::Reasoning(reasoning)) => format!("{}{grown}", reasoning.text),
        Some(Kind::ToolCall(call)) => {
            let outcome = call.outcome.as_ref().map(|outcome| outcome.text.as_str());
            format!("$ {}\n{}", call.title, outcome.unwrap_or(&grown))
        }
        other => format!("{other:?}"),
    };
    let cut = match item.status() {
        ItemStatus::CutOff => " (cut off)",
        _ => "",
    };
    format!("{} {text}{cut}\n", item.id)
}
