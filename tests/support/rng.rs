//! Numbers and bytes that look random and are the same in every run.

/// SplitMix64: small, quick, and good enough that zlib finds nothing to compress in its bytes.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator; the same seed gives the same numbers for ever.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for each `(seed, index)`, so that the nth of many things can be made without the others.
    pub fn nth(seed: u64, index: u64) -> Self {
        Self(Self(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95)).next_u64())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which must not be 0. The slight bias of the remainder does not matter to tests.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }

    /// Appends `len` incompressible bytes.
    pub fn fill(&mut self, out: &mut Vec<u8>, len: usize) {
        let end = out.len() + len;
        out.reserve(len + 8);
        while out.len() < end {
            out.extend_from_slice(&self.next_u64().to_le_bytes());
        }
        out.truncate(end);
    }

    /// `len` incompressible bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.fill(&mut out, len);
        out
    }

    /// Appends one line of words, such as source code or prose has: it compresses to about a third.
    pub fn line(&mut self, out: &mut Vec<u8>) {
        const WORDS: [&str; 32] = [
            "struct", "static", "return", "packet", "offset", "length", "buffer", "stream", "object", "commit",
            "branch", "remote", "delta", "chunk", "index", "table", "flow", "port", "bridge", "match", "action",
            "mask", "if", "else", "for", "while", "int", "const", "void", "char", "size_t", "uint32_t",
        ];
        for _ in 0..3 + self.below(7) {
            out.extend_from_slice(WORDS[self.below(32) as usize].as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(format!("{:x};\n", self.below(1 << 20)).as_bytes());
    }
}
