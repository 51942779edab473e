//! The content of a file, in the cache and on the disk, and what a power cut leaves of it.

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) cached: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Edit>,
    pub(super) allocated: u64,
}

/// A change of a file's content that is not durable yet.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// A small pseudo-random number generator (splitmix64). The same seed gives the same disk.
pub(super) struct Dice(pub(super) u64);

impl Content {
    pub(super) fn size(&self) -> u64 {
        (self.cached.len() as u64).max(self.allocated)
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        edit.apply(&mut self.cached);
        self.pending.push(edit);
    }

    pub(super) fn sync(&mut self) {
        for edit in self.pending.drain(..) {
            edit.apply(&mut self.durable);
        }
    }

    pub(super) fn after_power_cut(&self, seed: u64, dice: &mut Dice) -> Self {
        let mut bytes = self.durable.clone();
        let mut kept: Vec<Edit> = self.pending.iter().filter(|_| seed != 0).filter_map(|e| e.torn(dice)).collect();
        if dice.roll(4) == 0 {
            kept.reverse();
        }
        for edit in kept {
            edit.apply(&mut bytes);
        }
        Self { cached: bytes.clone(), durable: bytes, pending: Vec::new(), allocated: self.allocated }
    }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(len) => bytes.resize(*len, 0),
            Self::Write(at, new) => {
                let end = at + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(new);
            }
        }
    }

    /// Returns what a power cut leaves of the change: nothing, a part, or all of it.
    fn torn(&self, dice: &mut Dice) -> Option<Self> {
        match (dice.roll(4), self) {
            (0, _) => None,
            (1, Self::Write(at, bytes)) => Some(Self::Write(*at, bytes[..dice.roll(bytes.len() + 1)].to_vec())),
            (2, Self::Write(at, bytes)) => {
                let cut = dice.roll(bytes.len() + 1);
                Some(Self::Write(at + cut, bytes[cut..].to_vec()))
            }
            _ => Some(self.clone()),
        }
    }
}

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap_or(0)
    }
}
