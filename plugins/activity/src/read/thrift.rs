//! Walks through data in Thrift's compact protocol, such as Parquet's footers and page headers, before the library
//! allocates memory for the sizes that they claim.

/// Nothing in Parquet is nested deeper.
const DEPTH_MAX: usize = 32;

/// Called during a walk for each number, and for each begin of a list's element (`None`), with the path of fields to
/// it.
type See<'a> = &'a mut dyn FnMut(&[i16], Option<i64>);

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    path: Vec<i16>,
    see: See<'a>,
}

/// Walks over the structure at the start of `bytes`, and returns its length; `None` if it is incomplete or invalid.
pub(super) fn walk(bytes: &[u8], see: See) -> Option<usize> {
    let mut walk = Walk { bytes, at: 0, depth: 0, path: Vec::new(), see };
    walk.structure()?;
    Some(walk.at)
}

// === impl Walk ===

impl Walk<'_> {
    fn structure(&mut self) -> Option<()> {
        self.path.push(0);
        let mut field = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                break;
            }
            field = match head >> 4 {
                0 => i16::try_from(self.number()?).ok()?,
                step => field.checked_add(step.into())?,
            };
            *self.path.last_mut()? = field;
            // A boolean is in the head itself.
            if !matches!(head & 15, 1 | 2) {
                self.value(head & 15)?;
            }
        }
        self.path.pop();
        Some(())
    }

    fn value(&mut self, kind: u8) -> Option<()> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => {
                let number = self.number()?;
                (self.see)(&self.path, Some(number));
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 | 12 => {
                self.depth += 1;
                let nested = if kind == 12 { Self::structure } else { Self::list };
                (self.depth <= DEPTH_MAX).then(|| nested(self))??;
                self.depth -= 1;
                Some(())
            }
            13 => self.skip(16),
            _ => None,
        }
    }

    fn list(&mut self) -> Option<()> {
        let head = self.byte()?;
        let size = match head >> 4 {
            15 => self.varint()?,
            size => size.into(),
        };
        for _ in 0..size {
            (self.see)(&self.path, None);
            self.value(head & 15)?;
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.at += 1;
        self.bytes.get(self.at - 1).copied()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn number(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn skip(&mut self, length: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(length).ok()?).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = Vec<(Vec<i16>, Option<i64>)>;

    fn seen(bytes: &[u8]) -> Option<(usize, Seen)> {
        let mut seen = Vec::new();
        let length = walk(bytes, &mut |path, number| seen.push((path.to_vec(), number)))?;
        Some((length, seen))
    }

    #[test]
    fn numbers_are_seen_with_the_fields_that_lead_to_them() {
        // 1: i32 -3, 2: text "ab", 5: [{4: i64 150}], 6: true; and a byte of something else.
        let bytes = [0x15, 5, 0x18, 2, b'a', b'b', 0x39, 0x1c, 0x46, 0xac, 2, 0, 0x11, 0, 9];
        let expected = vec![(vec![1], Some(-3)), (vec![5], None), (vec![5, 4], Some(150))];
        assert_eq!(seen(&bytes), Some((14, expected)));
        for end in 0..14 {
            assert_eq!(seen(&bytes[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn a_list_of_more_than_there_is_and_endless_nesting_are_refused() {
        assert_eq!(seen(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0]), None);
        assert_eq!(seen(&[0x1c; 1000]), None);
        assert_eq!(seen(&[&[0x19][..], &[0x19; 1000]].concat()), None);
    }
}
