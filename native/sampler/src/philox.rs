//! Philox4x32-10, a counter-based random function: the same counter and key always give the same four words.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011; the known answers in
//! the tests are those of the authors' Random123 (`kat_vectors`).

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The random function itself: 128 bits of counter and 64 bits of key to 128 random bits.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key[0] = key[0].wrapping_add(WEYL[0]);
            key[1] = key[1].wrapping_add(WEYL[1]);
        }
        let left = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let right = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (right >> 32) as u32 ^ counter[1] ^ key[0],
            right as u32,
            (left >> 32) as u32 ^ counter[3] ^ key[1],
            left as u32,
        ];
    }
    counter
}

/// 64 uniform bits for the token at `position` of choice `choice` under `seed`.
///
/// The key is the seed; the counter is (position, choice, 0, 0). The two zero words are free for later kinds of draws.
pub fn uniform_bits(seed: u64, choice: u32, position: u32) -> u64 {
    let words = philox4x32([position, choice, 0, 0], [seed as u32, (seed >> 32) as u32]);
    u64::from(words[0]) | (u64::from(words[1]) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_known_answers_of_random123() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn seed_choice_and_position_each_change_the_draw() {
        let base = uniform_bits(1, 2, 3);
        assert_eq!(base, uniform_bits(1, 2, 3));
        for other in [
            uniform_bits(2, 2, 3),
            uniform_bits(1 << 40, 2, 3),
            uniform_bits(1, 3, 3),
            uniform_bits(1, 2, 4),
        ] {
            assert_ne!(base, other);
        }
    }
}
