//! Strings of bits, least significant bit first: what a message is made of, and what is counted.

/// A string of bits. The last byte is padded with zeros.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Bits {
    bytes: Vec<u8>,
    length: u64,
}

impl Bits {
    /// The first `length` bits of `bytes`, if there are so many and the rest of the last byte is zeros.
    pub fn from_bytes(bytes: Vec<u8>, length: u64) -> Option<Self> {
        let fits = bytes.len() as u64 == length.div_ceil(8);
        let padding = (8 - length % 8) % 8;
        let clean = bytes.last().is_none_or(|&last| padding == 0 || last >> (8 - padding) == 0);
        (fits && clean).then_some(Self { bytes, length })
    }

    /// How many bits there are.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bits, eight to a byte, the first the least significant.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends the `width` low bits of `value`, at most 64, the least significant first.
    pub fn push(&mut self, value: u64, width: u32) {
        debug_assert!(width <= 64 && (width == 64 || value >> width == 0), "{value} has more than {width} bits");
        let (mut value, mut left) = (value, width);
        while left > 0 {
            let used = (self.length % 8) as u32;
            if used == 0 {
                self.bytes.push(0);
            }
            let taken = left.min(8 - used);
            let low = (value & ((1 << taken) - 1)) as u8;
            *self.bytes.last_mut().expect("a byte was just pushed") |= low << used;
            value = value.checked_shr(taken).unwrap_or(0);
            left -= taken;
            self.length += u64::from(taken);
        }
    }

    /// Appends another string.
    pub fn append(&mut self, other: &Self) {
        let mut reader = other.read();
        while reader.left() > 0 {
            let width = reader.left().min(64) as u32;
            self.push(reader.take(width).expect("so many are left"), width);
        }
    }

    /// Reads the string from its beginning.
    pub fn read(&self) -> Reader<'_> {
        Reader { bits: self, position: 0 }
    }

    /// Two hexadecimal digits a byte.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        self.bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

/// Where one reads in a string of bits.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bits: &'a Bits,
    position: u64,
}

impl Reader<'_> {
    /// The next `width` bits, at most 64, or nothing if there are fewer.
    pub fn take(&mut self, width: u32) -> Option<u64> {
        if self.left() < u64::from(width) {
            return None;
        }
        let (mut value, mut got) = (0, 0);
        while got < width {
            let used = (self.position % 8) as u32;
            let taken = (width - got).min(8 - used);
            let byte = u64::from(self.bits.bytes[(self.position / 8) as usize]);
            value |= (byte >> used & ((1 << taken) - 1)) << got;
            got += taken;
            self.position += u64::from(taken);
        }
        Some(value)
    }

    /// How many bits were read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bits are left.
    pub fn left(&self) -> u64 {
        self.bits.length - self.position
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_bit_is_the_least_significant() {
        let mut bits = Bits::default();
        bits.push(0b01, 2);
        bits.push(0b101, 3);
        bits.push(0b1_1000, 5);
        assert_eq!((bits.len(), bits.hex().as_str()), (10, "1503"));
    }

    #[test]
    fn padding_is_zeros_and_lengths_are_true() {
        assert_eq!(Bits::from_bytes(vec![1], 9), None);
        assert_eq!(Bits::from_bytes(vec![1, 0], 8), None);
        assert_eq!(Bits::from_bytes(vec![2], 1), None);
        assert_eq!(Bits::from_bytes(vec![1], 1).map(|bits| bits.len()), Some(1));
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_read(values in proptest::collection::vec((any::<u64>(), 0u32..=64), 0..40)) {
            let low = |value: u64, width: u32| if width == 0 { 0 } else { value & (u64::MAX >> (64 - width)) };
            let (mut bits, mut twice) = (Bits::default(), Bits::default());
            bits.push(5, 3);
            for &(value, width) in &values {
                bits.push(low(value, width), width);
            }
            twice.append(&bits);
            prop_assert_eq!(&twice, &bits);
            let mut reader = twice.read();
            prop_assert_eq!(reader.take(3), Some(5));
            for (value, width) in values {
                prop_assert_eq!(reader.take(width), Some(low(value, width)));
            }
            prop_assert_eq!((reader.left(), reader.take(1)), (0, None));
            prop_assert_eq!(Bits::from_bytes(bits.bytes().to_vec(), bits.len()), Some(bits.clone()));
        }
    }
}
