//! Sorting by time: thousands of items, in a few runs that are sorted already, or spread about evenly.

/// As many sorted runs are merged; more of them, and buckets are quicker.
const RUNS: usize = 4;

/// Reusable storage.
#[derive(Debug, Clone)]
pub struct Buckets<E> {
    next: Vec<u32>,
    spare: Vec<E>,
}

impl<E> Default for Buckets<E> {
    fn default() -> Self {
        Self { next: Vec::new(), spare: Vec::new() }
    }
}

impl<E: Copy> Buckets<E> {
    /// Sorts by time, which is not NaN; items of one instant keep their order.
    pub fn sort(&mut self, items: &mut [E], time: impl Fn(&E) -> f64) {
        let breaks = items.windows(2).filter(|pair| time(&pair[0]) > time(&pair[1])).take(RUNS).count();
        if breaks == 0 {
            return;
        }
        if breaks < RUNS {
            // Finds the runs, and keeps the order of equal times.
            items.sort_by(|a, b| time(a).total_cmp(&time(b)));
            return;
        }
        let (low, high) = items.iter().map(&time).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), t| {
            (if t < low { t } else { low }, if t > high { t } else { high })
        });
        let buckets = items.len();
        let scale = (buckets - 1) as f64 / (high - low);
        // A later time is never in an earlier bucket.
        let bucket = |item: &E| ((time(item) - low) * scale) as usize;
        self.next.clear();
        self.next.resize(buckets + 1, 0);
        for item in &*items {
            self.next[bucket(item) + 1] += 1;
        }
        for k in 0..buckets {
            self.next[k + 1] += self.next[k];
        }
        self.spare.clear();
        self.spare.extend_from_slice(items);
        for item in &self.spare {
            let at = &mut self.next[bucket(item)];
            items[*at as usize] = *item;
            *at += 1;
        }
        // What is left to do lies within the buckets; where they are full, that is what a merge sort is for.
        let few = |first: usize, k: usize| k - first < 16;
        for k in 1..items.len() {
            let (item, mut at) = (items[k], k);
            while at > 0 && time(&items[at - 1]) > time(&item) && few(at, k) {
                items[at] = items[at - 1];
                at -= 1;
            }
            items[at] = item;
        }
        if !items.is_sorted_by(|a, b| time(a) <= time(b)) {
            items.sort_by(|a, b| time(a).total_cmp(&time(b)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Buckets;
    use crate::test_problems::Draw;

    #[test]
    fn like_a_stable_sort() {
        let mut draw = Draw(1);
        let mut buckets = Buckets::default();
        for case in 0..40 {
            let time = |draw: &mut Draw| match case % 4 {
                0 => draw.uniform(0.0, 1000.0),
                1 => draw.below(30) as f64,
                // Nearly all in one bucket.
                2 => {
                    if draw.below(50) == 0 {
                        draw.uniform(0.0, 1e9)
                    } else {
                        draw.uniform(3.0, 3.001)
                    }
                }
                _ => 7.0,
            };
            let mut items: Vec<(f64, usize)> = (0..case * 25).map(|k| (time(&mut draw), k)).collect();
            if case % 3 == 0 {
                // In runs, of which some are too many to be merged.
                let run = (items.len() / (1 + case % 7)).max(1);
                items.chunks_mut(run).for_each(|run| run.sort_by(|a, b| a.0.total_cmp(&b.0)));
                items.iter_mut().enumerate().for_each(|(k, item)| item.1 = k);
            }
            let (mut expected, mut found) = (items.clone(), items);
            expected.sort_by(|a, b| a.0.total_cmp(&b.0));
            buckets.sort(&mut found, |item| item.0);
            assert_eq!(found, expected, "case {case}");
        }
    }
}
