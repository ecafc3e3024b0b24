//! A forked child starts threads of its own. (A pool inherited from the parent would wait for ever: threads do not
//! survive a fork.)
#![cfg(unix)]
use evprop::parallel::{CancelFlag, fold_chunks, set_num_threads};
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    fn kill(process: i32, signal: i32) -> i32;
    fn _exit(status: i32) -> !;
}

const WNOHANG: i32 = 1;
const SIGKILL: i32 = 9;

fn sum() -> usize {
    let mut total = 0;
    let work = |own: &mut usize, samples: std::ops::Range<usize>| {
        *own = samples.sum();
        Ok(())
    };
    let fold = |total: &mut usize, own: &mut usize| *total += std::mem::take(own);
    fold_chunks(1000, &CancelFlag::new(), || 0, work, &mut total, fold).expect("nothing fails");
    total
}

/// Runs `child` in a forked process and returns its exit status, or None if it hangs.
fn in_child(child: impl FnOnce() -> i32) -> Option<i32> {
    // SAFETY: the child only computes, starts threads, forks in turn, and leaves by _exit, without returning into
    // the test harness.
    let process = unsafe { fork() };
    assert!(process >= 0, "fork failed");
    if process == 0 {
        let status = child();
        // SAFETY: ends the process at once.
        unsafe { _exit(status) }
    }
    let started = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: `process` is our child, `status` a valid place.
        if unsafe { waitpid(process, &raw mut status, WNOHANG) } == process {
            return Some(status);
        }
        if started.elapsed() > Duration::from_secs(20) {
            // SAFETY: `process` is our child, not yet waited for.
            unsafe { kill(process, SIGKILL) };
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn children_and_grandchildren_compute() {
    set_num_threads(3);
    let expected = 999 * 1000 / 2;
    assert_eq!(sum(), expected);
    for _ in 0..5 {
        let status = in_child(|| {
            let before = in_child(|| i32::from(sum() != expected));
            let own = sum();
            let after = in_child(|| i32::from(sum() != expected));
            i32::from(before != Some(0) || own != expected || after != Some(0))
        });
        assert_eq!(status, Some(0));
        assert_eq!(sum(), expected);
    }
}
