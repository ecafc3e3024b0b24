//! Where the arrivals of spikes under way fall: one byte for each, so that those of one neuron in one window are found
//! by comparing, without asking for delays.
//!
//! A byte holds the last bits of the place of a window in the ring. Where the ring has more than 256 of them it stands for
//! several: who looks asks again.
use crate::math::turned;
use crate::record::inlets::{BLOCK, TOGETHER};
use crate::vectorised;
use std::ops::Range;

/// Spikes whose notes of one lane lie together.
const MANY: usize = 32;

/// Notes of [`MANY`] spikes in a block of lanes, lane by lane.
type Sheet = [[u8; MANY]; BLOCK];

/// The notes of the spikes of one inlet, a block of lanes after the other.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    blocks: usize,
    /// Sheets of each block.
    room: usize,
    /// Number of the first sheet there.
    first: usize,
    sheets: Vec<Sheet>,
}

impl Notes {
    /// None, in so many blocks.
    pub fn reset(&mut self, blocks: usize) {
        if blocks != self.blocks {
            (self.blocks, self.room) = (blocks, 0);
            self.sheets.clear();
        }
        self.first = 0;
    }

    /// Makes room for spikes up to number `end`; those before `first` are forgotten.
    pub fn make_room(&mut self, first: usize, end: usize) {
        let (first, end) = (first / MANY, end.div_ceil(MANY));
        if end - self.first <= self.room {
            return;
        }
        let (old, gone) = (self.room, first - self.first);
        // Room for twice as many, so that what is moved is little beside what is noted.
        let room = (2 * (end - first)).max(old);
        if room > old {
            self.sheets.resize(room * self.blocks, [[0; MANY]; BLOCK]);
        }
        for block in (0..self.blocks).rev() {
            self.sheets.copy_within(block * old + gone..(block + 1) * old, block * room);
        }
        (self.room, self.first) = (room, first);
    }

    /// Notes where the arrivals of a spike fall in a block: numbers of cells.
    #[inline(always)]
    pub fn leave(&mut self, block: usize, spike: usize, at: &[u32; BLOCK]) {
        let sheet = &mut self.sheets[block * self.room + spike / MANY - self.first];
        for (lane, &at) in sheet.iter_mut().zip(at) {
            lane[spike % MANY] = (at / BLOCK as u32) as u8;
        }
    }

    /// The same for spikes from number `first` on, of which none comes after the last one of [`TOGETHER`]. Of spikes that
    /// follow it, which have not set out, notes are overwritten.
    #[inline(always)]
    pub fn leave_many(&mut self, block: usize, first: usize, at: &[[u32; BLOCK]; TOGETHER]) {
        let sheet = &mut self.sheets[block * self.room + first / MANY - self.first];
        let mut windows = [[0; BLOCK]; TOGETHER];
        for (windows, at) in windows.iter_mut().zip(at) {
            for l in 0..BLOCK {
                windows[l] = (at[l] / BLOCK as u32) as u8;
            }
        }
        let fresh = turned(&windows);
        let (own, before) = (first % MANY / TOGETHER, 8 * (first % TOGETHER));
        let earlier = (1 << before) - 1;
        for (lane, fresh) in sheet.iter_mut().zip(fresh) {
            let word = &mut lane.as_chunks_mut::<TOGETHER>().0[own];
            *word = (u64::from_le_bytes(*word) & earlier | fresh << before).to_le_bytes();
        }
    }

    /// The sheets of some spikes in a block.
    #[inline(always)]
    fn sheets(&self, block: usize, spikes: &Range<usize>) -> &[Sheet] {
        let own = &self.sheets[block * self.room..(block + 1) * self.room];
        &own[spikes.start / MANY - self.first..spikes.end.div_ceil(MANY) - self.first]
    }
}

vectorised! {
    /// Adds those of some spikes that arrive at lane `lane` of a block in window `window` to `hits`, counted from the first.
    pub fn find<T>(notes: &Notes, spikes: Range<usize>, block: usize, lane: usize, window: u8, hits: &mut Vec<u32>) {
        const LOW: u64 = u64::MAX / 255 * 127;
        let (before, window) = (spikes.start % MANY, u64::from(window) * (u64::MAX / 255));
        for (n, sheet) in notes.sheets(block, &spikes).iter().enumerate() {
            let words = sheet[lane].as_chunks::<TOGETHER>().0;
            // The highest bits of the bytes that are equal.
            let mut equal = [0; MANY / TOGETHER];
            for (equal, &word) in equal.iter_mut().zip(words) {
                let other = u64::from_le_bytes(word) ^ window;
                *equal = !(((other & LOW) + LOW) | other | LOW);
            }
            if equal.iter().fold(0, |any, equal| any | equal) == 0 {
                continue;
            }
            for (k, mut equal) in equal.into_iter().enumerate() {
                while equal != 0 {
                    let spike = n * MANY + k * TOGETHER + equal.trailing_zeros() as usize / 8;
                    if spike >= before && spike - before < spikes.len() {
                        hits.push((spike - before) as u32);
                    }
                    equal &= equal - 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Notes, find};
    use crate::math::Simd;
    use crate::record::inlets::{BLOCK, Groups, TOGETHER};

    /// Cells in which the arrivals of a spike fall: any, but the same each time.
    fn cells(spike: usize, block: usize) -> [u32; BLOCK] {
        std::array::from_fn(|lane| {
            let mixed = (spike * 31 + block * 7 + lane * 131 + 1).wrapping_mul(0x9e37_79b9) as u32;
            (mixed >> 16) % 200 * BLOCK as u32 + lane as u32
        })
    }

    #[test]
    fn arrivals_are_found_by_the_notes_of_spikes_alone_and_in_groups() {
        let blocks = 3;
        for simd in Simd::available() {
            let mut notes = Notes::default();
            for trial in 0..2 {
                notes.reset(blocks);
                let (mut first, mut len) = (0, 0);
                for step in 0..60 {
                    // Some at once, then one alone, and some are forgotten.
                    let some = (step * 5 + trial) % 23;
                    notes.make_room(first, len + some + 1);
                    let units = vec![0; some];
                    for group in Groups::new(&units, len, blocks * BLOCK) {
                        let from = len + group.first;
                        let at: [_; TOGETHER] = std::array::from_fn(|b| cells(from + b, group.block));
                        notes.leave_many(group.block, from, &at);
                    }
                    len += some + 1;
                    (0..blocks).for_each(|block| notes.leave(block, len - 1, &cells(len - 1, block)));
                    first = len.saturating_sub(step % 40 * 3).max(first);
                    for block in 0..blocks {
                        for (lane, window) in [(0, 3), (7, 100), (BLOCK - 1, 199)] {
                            let mut hits = Vec::new();
                            find::<f32>(simd, &notes, first..len, block, lane, window, &mut hits);
                            let here = |&k: &usize| cells(k, block)[lane] / BLOCK as u32 == u32::from(window);
                            let wanted: Vec<_> = (first..len).filter(here).map(|k| (k - first) as u32).collect();
                            assert_eq!(hits, wanted, "block {block}, lane {lane}, spikes {first}..{len}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn groups_are_those_of_all_spikes() {
        let units: Vec<u32> = (0..21).collect();
        for number in [0, 5, 8, 15] {
            let mut seen = Vec::new();
            for group in Groups::new(&units, number, 2 * BLOCK) {
                let (from, to) = (number + group.first, number + group.first + group.units.len() - 1);
                assert_eq!(from / TOGETHER, to / TOGETHER, "none goes over a border");
                seen.extend(group.units.iter().map(|&unit| (group.block, unit)));
            }
            let all = (0..2).flat_map(|block| units.iter().map(move |&unit| (block, unit)));
            assert!(seen.into_iter().eq(all), "each spike once a block, from number {number}");
        }
    }
}
