//! Numbers that begin on a cache line: a block of sixteen then never lies across one line more than it needs.
use std::ops::{Deref, DerefMut};

/// Bytes.
const LINE: usize = 64;

/// A slice of fixed length on its own cache lines. (A clone may lie elsewhere.)
#[derive(Debug, Clone)]
pub struct Lines<T> {
    /// With room to spare before and after.
    room: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy> Lines<T> {
    /// `len` times the same.
    pub fn new(value: T, len: usize) -> Self {
        let spare = if len == 0 { 0 } else { LINE / size_of::<T>().max(1) };
        let room = vec![value; len + spare];
        // Where no such place can be found, any will do.
        let start = room.as_ptr().align_offset(LINE).min(spare);
        Self { room, start, len }
    }

    /// Its numbers, from a place that need not begin a line.
    pub fn into_vec(mut self) -> Vec<T> {
        self.room.copy_within(self.start..self.start + self.len, 0);
        self.room.truncate(self.len);
        self.room
    }
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { room: Vec::new(), start: 0, len: 0 }
    }
}

impl<T: PartialEq> PartialEq for Lines<T> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<T> Deref for Lines<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.room[self.start..self.start + self.len]
    }
}

impl<T> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.room[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn they_begin_a_line_and_keep_their_numbers() {
        for len in [0, 1, 15, 16, 1000] {
            let mut lines = Lines::new(0.5f32, len);
            assert!(len == 0 || (lines.as_ptr() as usize).is_multiple_of(super::LINE));
            for (k, x) in lines.iter_mut().enumerate() {
                *x = k as f32;
            }
            assert_eq!(lines.clone()[..], lines[..]);
            assert_eq!(lines.into_vec(), (0..len).map(|k| k as f32).collect::<Vec<_>>());
        }
    }
}
