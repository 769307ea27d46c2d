//! Deterministic draws: the same seed and place give the same values in every process.

/// SplitMix64: small, fast, and good enough for made-up people.
#[derive(Clone)]
pub struct Draw(u64);

impl Draw {
    /// Draws of one place, such as (stream, id, version).
    pub fn new(seed: u64, place: [u64; 3]) -> Self {
        let mut draw = Self(seed);
        for part in place {
            draw.0 ^= part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            draw.bits();
        }
        draw
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Below `end`, which is above 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// One of `choices`, which are not empty.
    pub fn one<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
