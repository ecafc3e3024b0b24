use super::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// The number of threads is one setting for all: these tests take turns.
fn with_threads<R>(threads: usize, test: impl FnOnce() -> R) -> R {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = lock(&ONE_AT_A_TIME);
    set_num_threads(threads);
    let result = test();
    set_num_threads(0);
    result
}

/// Uneven work, so that threads overtake each other.
fn dawdle(k: usize) {
    std::thread::sleep(Duration::from_micros((k * 7919 % 13) as u64 * 30));
}

fn harmonic(threads: usize, n: usize) -> f64 {
    with_threads(threads, || {
        let mut total = 0.0;
        let work = |own: &mut f64, samples: Range<usize>| {
            dawdle(samples.start);
            *own = samples.map(|i| 1.0 / (1.0 + i as f64)).sum();
            Ok(())
        };
        let fold = |total: &mut f64, own: &mut f64| *total += std::mem::take(own);
        fold_chunks(n, &CancelFlag::new(), || 0.0, work, &mut total, fold).expect("nothing fails");
        total
    })
}

#[test]
fn chunks_cover_all_samples_once() {
    for n in [0, 1, 2, 63, 64, 65, 127, 129, 150, 1000, 4097] {
        for threads in [1, 3] {
            let ranges = with_threads(threads, || {
                map_chunks(n, &CancelFlag::new(), || (), |(), samples| Ok(samples)).expect("nothing fails")
            });
            assert!(ranges.len() <= MAX_CHUNKS);
            let samples: Vec<usize> = ranges.into_iter().flatten().collect();
            assert_eq!(samples, (0..n).collect::<Vec<_>>(), "{n} samples, {threads} threads");
        }
    }
}

#[test]
fn a_thread_alone_takes_all_that_is_joined_at_once() {
    for n in [0, 1, 150, 1000] {
        for threads in [1, 3] {
            let ranges = with_threads(threads, || {
                map_joined(n, &CancelFlag::new(), || (), |(), samples| Ok(samples)).expect("nothing fails")
            });
            assert!(ranges.len() <= if threads == 1 { 1 } else { MAX_CHUNKS });
            let samples: Vec<usize> = ranges.into_iter().flatten().collect();
            assert_eq!(samples, (0..n).collect::<Vec<_>>(), "{n} samples, {threads} threads");
        }
    }
}

#[test]
fn same_bits_for_any_number_of_threads() {
    for n in [1, 150, 1001] {
        let alone = harmonic(1, n);
        for threads in [2, 3, 8, 100] {
            assert_eq!(harmonic(threads, n).to_bits(), alone.to_bits(), "{n} samples, {threads} threads");
        }
    }
}

#[test]
fn no_more_workspaces_than_threads() {
    let made = AtomicUsize::new(0);
    with_threads(3, || {
        let workspace = || made.fetch_add(1, Ordering::Relaxed);
        let work = |_: &mut usize, samples: Range<usize>| {
            dawdle(samples.start);
            Ok(())
        };
        fold_chunks(500, &CancelFlag::new(), workspace, work, &mut (), |(), _| ()).expect("nothing fails");
    });
    assert!((1..=3).contains(&made.into_inner()));
}

#[test]
fn one_thread_is_the_callers_own() {
    let here = std::thread::current().id();
    let ids = with_threads(1, || map_chunks(100, &CancelFlag::new(), || (), |(), _| Ok(std::thread::current().id())));
    assert!(ids.expect("nothing fails").into_iter().all(|id| id == here));
}

#[test]
fn several_threads_take_part() {
    let ids = with_threads(2, || {
        map_chunks(
            64,
            &CancelFlag::new(),
            || (),
            |(), _| {
                std::thread::sleep(Duration::from_millis(1));
                Ok(format!("{:?}", std::thread::current().id()))
            },
        )
    });
    assert_eq!(ids.expect("nothing fails").into_iter().collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn the_lowest_error_wins() {
    let fail_at = |bad: [usize; 3]| {
        move |samples: &Range<usize>| {
            dawdle(samples.start);
            match bad.iter().find(|b| samples.contains(b)) {
                // The lowest one comes late in time.
                Some(&b) => {
                    std::thread::sleep(Duration::from_millis(if b == 40 { 20 } else { 0 }));
                    Err(Error::Argument(b.to_string()))
                }
                None => Ok(()),
            }
        }
    };
    for threads in [1, 2, 3, 8] {
        for _ in 0..5 {
            let run = fail_at([40, 44, 300]);
            let (mapped, folded) = with_threads(threads, || {
                let cancel = CancelFlag::new();
                let mapped = map_chunks(400, &cancel, || (), |(), samples| run(&samples));
                let folded = fold_chunks(400, &cancel, || (), |(), samples| run(&samples), &mut (), |(), ()| ());
                (mapped, folded)
            });
            assert_eq!(mapped, Err(Error::Argument("40".into())));
            assert_eq!(folded, Err(Error::Argument("40".into())));
        }
    }
}

#[test]
fn cancelling_ends_the_work() {
    for threads in [1, 3] {
        with_threads(threads, || {
            let (cancel, done) = (CancelFlag::new(), AtomicUsize::new(0));
            let work = |(): &mut (), samples: Range<usize>| {
                if samples.contains(&100) {
                    cancel.cancel();
                }
                dawdle(samples.start);
                done.fetch_add(1, Ordering::Relaxed);
                cancel.check()
            };
            let folded = fold_chunks(640, &cancel, || (), work, &mut (), |(), ()| ());
            assert_eq!(folded, Err(Error::Cancelled));
            assert!(done.load(Ordering::Relaxed) <= 11 + threads);
            assert_eq!(map_chunks(640, &cancel, || (), |(), _| Ok(())), Err(Error::Cancelled));
        });
    }
}

#[test]
fn a_flag_raised_from_outside_is_seen() {
    let cancel = CancelFlag::new();
    let other = cancel.clone();
    let outside = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        other.cancel();
    });
    let result = with_threads(2, || {
        map_chunks(
            64,
            &cancel,
            || (),
            |(), _| {
                loop {
                    cancel.check()?;
                    std::thread::sleep(Duration::from_millis(1));
                }
                #[allow(unreachable_code)]
                Ok(())
            },
        )
    });
    assert_eq!(result, Err(Error::Cancelled));
    outside.join().expect("the other thread ends well");
}

#[test]
fn a_panic_reaches_the_caller_and_nobody_waits_for_ever() {
    for threads in [1, 2, 4] {
        for in_fold in [false, true] {
            let result = with_threads(threads, || {
                std::panic::catch_unwind(|| {
                    let work = |own: &mut usize, samples: Range<usize>| {
                        dawdle(samples.start);
                        *own = samples.start;
                        assert!(in_fold || samples.start != 20, "in work");
                        Ok(())
                    };
                    let fold = |(): &mut (), own: &mut usize| assert!(!in_fold || *own != 20, "in fold");
                    fold_chunks(64, &CancelFlag::new(), || 0, work, &mut (), fold)
                })
            });
            assert!(result.is_err(), "{threads} threads, in fold: {in_fold}");
        }
    }
    // The pool is still good.
    assert_eq!(harmonic(4, 150).to_bits(), harmonic(1, 150).to_bits());
}

#[test]
fn calls_from_several_threads_do_not_block_each_other() {
    let expected = harmonic(1, 300).to_bits();
    with_threads(2, || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let mut total = 0.0;
                        let work = |own: &mut f64, samples: Range<usize>| {
                            *own = samples.map(|i| 1.0 / (1.0 + i as f64)).sum();
                            Ok(())
                        };
                        let fold = |total: &mut f64, own: &mut f64| *total += std::mem::take(own);
                        fold_chunks(300, &CancelFlag::new(), || 0.0, work, &mut total, fold).expect("nothing fails");
                        assert_eq!(total.to_bits(), expected);
                    }
                });
            }
        });
    });
}
