//! All tests of the engine through its public face: one program, because each compiles the whole engine anew.
mod common;
#[cfg(feature = "cuda")]
mod cuda;
mod elementary;
mod known_answers;
mod recurrent_paths;
mod two_paths;
mod two_ways_back;
mod until_fired;
mod windows_back;
