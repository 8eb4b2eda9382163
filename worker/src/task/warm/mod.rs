//! Warm interpreters: Python processes that run many scripts one after the other, each with the imports of
//! those before it already done. Used by PYTHON tasks that ask for it.
//!
//! One interpreter runs one script at a time, and only those of one kind. The pool grows on demand, up to
//! the worker's slots, and lets go of what nobody has needed for a while. What happens inside an
//! interpreter is the business of `driver.py`.

mod interpreter;

use std::mem;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use self::interpreter::{Interpreter, Verdict};
use super::{End, Job, Place, place, process};

/// How long an interpreter waits for its next script.
const IDLE: Duration = Duration::from_mins(5);
/// After so many scripts an interpreter is replaced: what they leave behind in its memory adds up.
const MOST: u32 = 1000;

/// What interpreters have in common that may run each other's scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) interpreter: String,
    /// The environment block that ran before it.
    pub(super) environment: String,
}

#[derive(Debug)]
pub(super) struct Pool {
    slots: usize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    idle: Mutex<Idle>,
    /// Idle or busy.
    living: AtomicUsize,
    /// Numbers the interpreters.
    born: AtomicU32,
}

#[derive(Debug, Default)]
struct Idle {
    closed: bool,
    /// The one used last is the last.
    interpreters: Vec<Interpreter>,
}

impl Pool {
    pub(super) fn new(slots: u32) -> Self {
        Pool {
            slots: slots as usize,
            shared: Arc::default(),
        }
    }

    /// Runs a script in an interpreter of this kind.
    pub(super) async fn run(&self, job: &mut Job, kind: Kind) -> Result<End, End> {
        job.not_killed()?;
        let place = job.on_disk(|order| {
            let place = place::prepare(order)?;
            place.file("script.py", &order.dispatch.body)?;
            Ok(place)
        });
        let place = place.await?;
        let mut interpreter = match self.take(&kind).await {
            Some(interpreter) => interpreter,
            None => self.grow(job, &place, kind).await?,
        };
        if let Err(end) = job.started(interpreter.pid()).await {
            self.give_back(interpreter);
            return Err(end);
        }
        let (mut end, verdict) = interpreter.run(job, &place).await;
        match verdict {
            Verdict::Reusable => self.give_back(interpreter),
            Verdict::Gone => {
                self.shared.living.fetch_sub(1, Ordering::Relaxed);
            }
        }
        process::collect(&mut end, &job.order).await;
        Ok(end)
    }

    /// The one of this kind that was used last; the others may then become old.
    async fn take(&self, kind: &Kind) -> Option<Interpreter> {
        loop {
            let mut interpreter = {
                let mut idle = self.shared.idle();
                let place = idle.interpreters.iter().rposition(|it| it.is(kind))?;
                idle.interpreters.remove(place)
            };
            if interpreter.lives() {
                return Some(interpreter);
            }
            // Somebody has killed it.
            interpreter.end().await;
            self.shared.living.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn grow(&self, job: &mut Job, place: &Place, kind: Kind) -> Result<Interpreter, End> {
        // Each busy one has a slot, and so have we: whoever is too many is idle.
        while self.shared.living.load(Ordering::Relaxed) >= self.slots {
            let Some(oldest) = self.shared.pop_oldest() else {
                break;
            };
            self.shared.retire(oldest).await;
        }
        let number = self.shared.born.fetch_add(1, Ordering::Relaxed) + 1;
        let log = place.share_log().map_err(End::failure)?;
        let born = job.on_disk(move |order| Interpreter::start(order, kind, number, log));
        let born = born.await?;
        self.shared.living.fetch_add(1, Ordering::Relaxed);
        Ok(born)
    }

    fn give_back(&self, interpreter: Interpreter) {
        let number = interpreter.rest();
        let shared = self.shared.clone();
        if interpreter.scripts() >= MOST || shared.idle().closed {
            tokio::spawn(async move { shared.retire(interpreter).await });
            return;
        }
        // A worker that is gone leaves nobody to hold them: without its hand they end by themselves.
        let weak = Arc::downgrade(&shared);
        shared.idle().interpreters.push(interpreter);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            if let Some(shared) = weak.upgrade()
                && let Some(interpreter) = shared.pop(number)
            {
                shared.retire(interpreter).await;
            }
        });
    }

    /// Ends all that are idle; from now on none becomes so.
    pub(super) async fn close(&self) {
        let idle = {
            let mut idle = self.shared.idle();
            idle.closed = true;
            mem::take(&mut idle.interpreters)
        };
        join_all(idle.into_iter().map(|it| self.shared.retire(it))).await;
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Nothing that holds it can leave it half done.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop_oldest(&self) -> Option<Interpreter> {
        let mut idle = self.idle();
        (!idle.interpreters.is_empty()).then(|| idle.interpreters.remove(0))
    }

    /// The one that has been idle since then, if it still is.
    fn pop(&self, rest: (u32, u32)) -> Option<Interpreter> {
        let mut idle = self.idle();
        let place = idle.interpreters.iter().position(|it| it.rest() == rest)?;
        Some(idle.interpreters.remove(place))
    }

    async fn retire(&self, interpreter: Interpreter) {
        interpreter.end().await;
        self.living.fetch_sub(1, Ordering::Relaxed);
    }
}
