//! Samples over threads: a pool per process, fixed chunks, results in a fixed order, and a way to stop.
//!
//! How samples are cut into chunks depends on their number alone, and partial results are folded strictly in the
//! order of the chunks. So sums are rounded alike, and the bits are the same, for any number of threads.
//!
//! The pool is our own and belongs to one process: threads do not survive a fork, so a forked child starts its own.
//! (rayon's global pool would wait for ever for threads that exist in the parent only.)
use crate::error::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

/// A batch is cut into at most this many chunks.
const MAX_CHUNKS: usize = 64;

/// A switch that stops work under way, shared between threads.
///
/// Work that was stopped ends with [`Error::Cancelled`].
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag not yet raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag, for good.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was raised.
    #[inline]
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// [`Error::Cancelled`] once it was raised: call it now and then in long work.
    ///
    /// # Errors
    /// See above.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// How many threads the user asked for; 0: one per core.
static WANTED: AtomicUsize = AtomicUsize::new(0);

/// Sets the number of threads of calls that start from now on; 0 means one per core that this process may use.
pub fn set_num_threads(threads: usize) {
    WANTED.store(threads, Ordering::Relaxed);
}

/// Number of threads the next call will use.
#[must_use]
pub fn num_threads() -> usize {
    match WANTED.load(Ordering::Relaxed) {
        0 => cores(),
        threads => threads,
    }
}

/// Cores this process may use; asked for once, since the answer takes reading files.
fn cores() -> usize {
    static CORES: AtomicUsize = AtomicUsize::new(0);
    if CORES.load(Ordering::Relaxed) == 0 {
        CORES.store(std::thread::available_parallelism().map_or(1, usize::from), Ordering::Relaxed);
    }
    CORES.load(Ordering::Relaxed)
}

/// The pool of one process. The slots of a process and of the forked ancestors it inherited memory from form a list,
/// its own the last one: a lock or a pool of an ancestor, which no thread is left to serve, is never touched again.
struct Slot {
    process: u32,
    pool: Mutex<Option<(usize, Arc<ThreadPool>)>>,
    /// One thread that runs calls while their callers wait for something else.
    runner: Mutex<Option<ThreadPool>>,
    child: OnceLock<Box<Slot>>,
}

impl Slot {
    fn new(process: u32) -> Self {
        Self { process, pool: Mutex::new(None), runner: Mutex::new(None), child: OnceLock::new() }
    }

    /// The slot of this process.
    fn own() -> &'static Self {
        static FIRST: OnceLock<Slot> = OnceLock::new();
        let process = std::process::id();
        let mut slot = FIRST.get_or_init(|| Self::new(process));
        while let Some(child) = slot.child.get() {
            slot = child;
        }
        if slot.process == process { slot } else { slot.child.get_or_init(|| Box::new(Self::new(process))) }
    }

    /// The pool with that many threads, started if need be.
    fn pool(&self, threads: usize) -> Result<Arc<ThreadPool>> {
        let mut pool = lock(&self.pool);
        match &*pool {
            Some((n, pool)) if *n == threads => Ok(Arc::clone(pool)),
            _ => {
                let built = ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|k| format!("evprop-{k}"))
                    .build()
                    .map_err(|why| {
                        Error::Argument(format!(
                            "cannot start {threads} threads ({why}); ask for fewer with set_num_threads"
                        ))
                    })?;
                let built = Arc::new(built);
                // A call that still runs on the old pool keeps it alive until it is done.
                *pool = Some((threads, Arc::clone(&built)));
                Ok(built)
            }
        }
    }
}

/// Runs `work` on another thread and `meanwhile` on this one, and returns when both are done.
///
/// The thread is kept for the next call (to start one costs as much as a small batch); while it is busy with another
/// caller's work, a new one is started.
///
/// # Errors
/// [`Error::Argument`] if the thread can't be started.
pub fn aside<R: Send>(work: impl FnOnce() -> R + Send, meanwhile: impl FnOnce()) -> Result<R> {
    let free = match Slot::own().runner.try_lock() {
        Ok(free) => Some(free),
        // A panic in an earlier call went to its caller; the thread is sound.
        Err(TryLockError::Poisoned(free)) => Some(free.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    let Some(mut free) = free else {
        return Ok(std::thread::scope(|scope| {
            let worker = scope.spawn(work);
            meanwhile();
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        }));
    };
    if free.is_none() {
        let runner = ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "evprop-runner".into()).build();
        *free = Some(runner.map_err(|why| Error::Argument(format!("cannot start a thread ({why})")))?);
    }
    let mut result = None;
    if let Some(runner) = &*free {
        runner.in_place_scope(|scope| {
            scope.spawn(|_| result = Some(work()));
            meanwhile();
        });
    }
    result.ok_or_else(|| Error::Argument("the thread ended without a result".into()))
}

/// Locks, whether or not a thread panicked before: that panic is on its way to the caller by itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Number of samples in a chunk (the last one may be smaller): depends on the number of samples only.
#[must_use]
pub fn chunk_size(n_samples: usize) -> usize {
    n_samples.div_ceil(MAX_CHUNKS).max(1)
}

/// Hands out chunks in ascending order and keeps the error of the lowest chunk that failed.
struct Chunks<'a> {
    n_samples: usize,
    /// Samples in a chunk; the last one may be smaller.
    size: usize,
    next: AtomicUsize,
    cancel: &'a CancelFlag,
    failed: AtomicBool,
    error: Mutex<Option<(usize, Error)>>,
}

impl<'a> Chunks<'a> {
    fn new(n_samples: usize, size: usize, cancel: &'a CancelFlag) -> Self {
        Self {
            n_samples,
            size,
            next: AtomicUsize::new(0),
            cancel,
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
        }
    }

    fn len(&self) -> usize {
        self.n_samples.div_ceil(self.size)
    }

    /// The next chunk and its samples. None after the last one or a failure: all chunks below a failed one were
    /// handed out before it and still run to their end, so which error is the lowest does not depend on timing.
    fn take(&self) -> Option<(usize, Range<usize>)> {
        if self.failed.load(Ordering::Acquire) {
            return None;
        }
        let k = self.next.fetch_add(1, Ordering::Relaxed);
        let start = k * self.size;
        let end = (start + self.size).min(self.n_samples);
        (start < end).then_some((k, start..end))
    }

    /// Runs `work` on chunk `k`; a failure is kept, and `None` returned.
    fn attempt<R>(&self, k: usize, work: impl FnOnce() -> Result<R>) -> Option<R> {
        match self.cancel.check().and_then(|()| work()) {
            Ok(result) => Some(result),
            Err(error) => {
                let mut lowest = lock(&self.error);
                if lowest.as_ref().is_none_or(|(other, _)| k < *other) {
                    *lowest = Some((k, error));
                }
                self.failed.store(true, Ordering::Release);
                None
            }
        }
    }

    /// Runs `worker` on as many threads as there are, and as make sense; on this thread where one is enough.
    fn run(&self, worker: impl Fn() + Sync) -> Result<()> {
        let threads = num_threads();
        let workers = threads.min(self.len());
        if workers <= 1 {
            worker();
        } else {
            Slot::own().pool(threads)?.broadcast(|thread| {
                if thread.index() < workers {
                    worker();
                }
            });
        }
        lock(&self.error).take().map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// Applies `work` to consecutive chunks of `0..n_samples` and returns the results in order.
///
/// Each thread makes its own `workspace` once. `work` shall look at `cancel` if it takes longer than a second.
///
/// # Errors
/// That of the lowest chunk that failed, whatever the number of threads; [`Error::Cancelled`] if the flag was raised
/// before the last chunk began; [`Error::Argument`] if the threads can't be started.
pub fn map_chunks<W, R: Send>(
    n_samples: usize,
    cancel: &CancelFlag,
    workspace: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, Range<usize>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    map(&Chunks::new(n_samples, chunk_size(n_samples), cancel), workspace, work)
}

/// [`map_chunks`] for results that are joined end to end, whatever they were cut into: a thread that is alone takes all
/// samples as one chunk. `work` shall look at `cancel` for every sample.
///
/// # Errors
/// As [`map_chunks`].
pub fn map_joined<W, R: Send>(
    n_samples: usize,
    cancel: &CancelFlag,
    workspace: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, Range<usize>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let size = if num_threads() == 1 { n_samples.max(1) } else { chunk_size(n_samples) };
    map(&Chunks::new(n_samples, size, cancel), workspace, work)
}

fn map<W, R: Send>(
    chunks: &Chunks<'_>,
    workspace: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, Range<usize>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let results: Mutex<Vec<Option<R>>> = Mutex::new((0..chunks.len()).map(|_| None).collect());
    chunks.run(|| {
        let mut own = None;
        while let Some((k, samples)) = chunks.take() {
            let own = own.get_or_insert_with(&workspace);
            let Some(result) = chunks.attempt(k, || work(own, samples)) else {
                return;
            };
            lock(&results)[k] = Some(result);
        }
    })?;
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(results.into_iter().flatten().collect())
}

/// Whose turn it is to fold.
struct Turn<'a, T> {
    /// The chunk to be folded next.
    next: usize,
    total: &'a mut T,
    /// A chunk failed: nobody shall wait for it.
    stopped: bool,
}

/// Stops those that wait, however a worker ends early.
struct StopOnDrop<'a, 'b, T> {
    turn: &'a Mutex<Turn<'b, T>>,
    moved_on: &'a Condvar,
    armed: bool,
}

impl<T> Drop for StopOnDrop<'_, '_, T> {
    fn drop(&mut self) {
        if self.armed {
            lock(self.turn).stopped = true;
            self.moved_on.notify_all();
        }
    }
}

/// Applies `work` to consecutive chunks of `0..n_samples` and folds what it leaves in the workspace into `total`,
/// strictly in the order of the chunks.
///
/// Each thread makes its own `workspace` once, and no more of them live at any time than there are threads. `fold`
/// adds a workspace to the total and empties it for the next chunk. `work` shall look at `cancel` if it takes
/// longer than a second. After an error `total` holds the fold of some first chunks.
///
/// # Errors
/// As [`map_chunks`].
pub fn fold_chunks<W, T: Send>(
    n_samples: usize,
    cancel: &CancelFlag,
    workspace: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, Range<usize>) -> Result<()> + Sync,
    total: &mut T,
    fold: impl Fn(&mut T, &mut W) + Sync,
) -> Result<()> {
    let chunks = Chunks::new(n_samples, chunk_size(n_samples), cancel);
    let turn = Mutex::new(Turn { next: 0, total, stopped: false });
    let moved_on = Condvar::new();
    chunks.run(|| {
        let mut own = None;
        // Also by a panic in `work` or `fold`, which goes on to the caller.
        let mut stop = StopOnDrop { turn: &turn, moved_on: &moved_on, armed: true };
        while let Some((k, samples)) = chunks.take() {
            let own = own.get_or_insert_with(&workspace);
            if chunks.attempt(k, || work(own, samples)).is_none() {
                return;
            }
            // Lower chunks were taken before this one, so each is about to be folded by its thread, or fails.
            let waiting = moved_on.wait_while(lock(&turn), |turn| turn.next != k && !turn.stopped);
            let mut turn = waiting.unwrap_or_else(PoisonError::into_inner);
            if turn.stopped {
                return;
            }
            fold(turn.total, own);
            turn.next += 1;
            drop(turn);
            moved_on.notify_all();
        }
        stop.armed = false;
    })
}

#[cfg(test)]
mod tests;
