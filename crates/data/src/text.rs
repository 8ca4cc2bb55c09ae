//! Text as numbers: every character by its place in the vocabulary of the characters that occur.
//!
//! For networks that learn to write letter by letter. Files are UTF-8, packed with gzip or not, and nothing is changed
//! in them: line ends, a byte-order mark, rare characters stay what they are.
//!
//! What this file does not do: words and word pieces.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, unpack};

/// A text as the numbers of its characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// For every character its place in the vocabulary.
    pub ids: Vec<u16>,
    /// The characters that the numbers stand for.
    pub vocabulary: Vocabulary,
}

/// The characters that a network knows, ascending by code point: a network's output `i` is `characters()[i]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Vocabulary(Vec<char>);

/// The most characters of a vocabulary.
pub const MOST_CHARACTERS: usize = 1 << 16;

/// Reads the text in the file `path`, with the vocabulary of all characters in it.
///
/// # Errors
/// [`Error::Read`], [`Error::Bomb`], or [`Error::Format`] naming the first byte that is not UTF-8.
pub fn read(path: impl AsRef<Path>) -> Result<Text, Error> {
    let path = path.as_ref();
    parse(&path.display().to_string(), &unpack::content(path)?, None)
}

/// Reads the text in the file `path` as numbers of a vocabulary that is there already.
///
/// # Errors
/// As [`read`], and [`Error::Format`] naming the first character that the vocabulary lacks.
pub fn read_with(path: impl AsRef<Path>, vocabulary: &Vocabulary) -> Result<Text, Error> {
    let path = path.as_ref();
    parse(&path.display().to_string(), &unpack::content(path)?, Some(vocabulary))
}

/// Reads the text in `bytes`, packed or not; `name` says in errors where they came from.
///
/// # Errors
/// As [`read`], without the reading.
pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Text, Error> {
    parse(name, &unpack::unpacked(name, bytes)?, None)
}

fn parse(name: &str, bytes: &[u8], vocabulary: Option<&Vocabulary>) -> Result<Text, Error> {
    let bad = |found: String| Error::Format { place: name.into(), format: "UTF-8 text", found };
    let text = str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
        match error.error_len() {
            Some(_) => bad(format!("byte {at} (line {line}), {:#04x}, does not begin a character", bytes[at])),
            None => bad(format!("it ends in the middle of the character at byte {at} (line {line})")),
        }
    })?;
    let vocabulary = match vocabulary {
        Some(known) => known.clone(),
        None => Vocabulary::of(text).ok_or_else(|| bad(format!("more than {MOST_CHARACTERS} different characters")))?,
    };
    let ids = vocabulary
        .encode(text)
        .map_err(|(at, character)| bad(format!("the character {character:?} at byte {at} is not in the vocabulary")))?;
    Ok(Text { ids, vocabulary })
}

impl Vocabulary {
    /// The characters that occur in `text`; `None` if they are more than [`MOST_CHARACTERS`].
    pub fn of(text: &str) -> Option<Self> {
        let mut seen = vec![false; char::MAX as usize + 1];
        text.chars().for_each(|character| seen[character as usize] = true);
        let characters: Vec<char> = ('\0'..=char::MAX).filter(|&character| seen[character as usize]).collect();
        (characters.len() <= MOST_CHARACTERS).then_some(Self(characters))
    }

    /// How many characters there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The characters, ascending.
    pub fn characters(&self) -> &[char] {
        &self.0
    }

    /// The numbers of the characters of `text`.
    ///
    /// # Errors
    /// The first character that is not in the vocabulary, and at which byte it begins.
    pub fn encode(&self, text: &str) -> Result<Vec<u16>, (usize, char)> {
        let place = |(at, character): (usize, char)| match self.0.binary_search(&character) {
            Ok(place) => Ok(place as u16),
            Err(_) => Err((at, character)),
        };
        text.char_indices().map(place).collect()
    }

    /// The text of the numbers `ids`; `None` if one of them is not below [`len`](Self::len).
    pub fn decode(&self, ids: &[u16]) -> Option<String> {
        ids.iter().map(|&id| self.0.get(id as usize)).collect()
    }
}

/// As one string, which is how a vocabulary is written in a file.
impl From<Vocabulary> for String {
    fn from(vocabulary: Vocabulary) -> Self {
        vocabulary.0.into_iter().collect()
    }
}

impl TryFrom<String> for Vocabulary {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let characters: Vec<char> = text.chars().collect();
        if characters.len() > MOST_CHARACTERS {
            return Err("a vocabulary of more than 65536 characters");
        }
        if !characters.is_sorted_by(|a, b| a < b) {
            return Err("a vocabulary's characters must ascend");
        }
        Ok(Self(characters))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(bytes: &[u8]) -> String {
        from_bytes("x.txt", bytes.to_vec()).unwrap_err().to_string()
    }

    #[test]
    fn characters_are_numbered_in_ascending_order() {
        let text = from_bytes("x.txt", "naïve\n".into()).unwrap();
        assert_eq!(text.vocabulary.characters(), ['\n', 'a', 'e', 'n', 'v', 'ï']);
        assert_eq!(text.ids, [3, 1, 5, 4, 2, 0]);
        assert_eq!(from_bytes("x.txt.gz", unpack::packed("naïve\n".as_bytes())).unwrap(), text);
        assert!(from_bytes("empty.txt", vec![]).unwrap().vocabulary.is_empty());
    }

    #[test]
    fn what_is_not_utf_8_names_its_byte_and_line() {
        assert!(refused(b"ab\nc\xffd").contains("byte 4 (line 2), 0xff"));
        assert!(refused("abé".as_bytes().split_last().unwrap().1).contains("character at byte 2 (line 1)"));
    }

    #[test]
    fn a_character_that_the_vocabulary_lacks_names_its_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.txt");
        std::fs::write(&path, "éab").unwrap();
        let known = Vocabulary::of("éa").unwrap();
        let error = read_with(&path, &known).unwrap_err().to_string();
        assert!(error.contains("x.txt") && error.contains("'b' at byte 3"), "{error}");
        assert_eq!(read_with(&path, &Vocabulary::of("abcé").unwrap()).unwrap().ids, [3, 0, 1]);
    }

    #[test]
    fn more_characters_than_numbers_are_refused() {
        let many: String = ('\u{10000}'..).take(MOST_CHARACTERS + 1).collect();
        assert!(refused(many.as_bytes()).contains("more than 65536 different characters"));
        let just: String = ('\u{10000}'..).take(MOST_CHARACTERS).collect();
        assert_eq!(from_bytes("x", just.into()).unwrap().ids.last(), Some(&u16::MAX));
    }

    #[test]
    fn a_vocabulary_is_saved_as_its_characters_and_a_disordered_one_refused() {
        let vocabulary = Vocabulary::of("hello").unwrap();
        let json = serde_json::to_string(&vocabulary).unwrap();
        assert_eq!(json, r#""ehlo""#);
        assert_eq!(serde_json::from_str::<Vocabulary>(&json).unwrap(), vocabulary);
        assert!(serde_json::from_str::<Vocabulary>(r#""hello""#).is_err());
    }

    proptest! {
        #[test]
        fn any_text_decodes_to_itself(text in any::<String>()) {
            let read = from_bytes("x", text.clone().into()).unwrap();
            prop_assert_eq!(read.vocabulary.decode(&read.ids), Some(text));
        }

        #[test]
        fn any_bytes_are_a_text_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(from_bytes("x", bytes.clone()).is_ok(), str::from_utf8(&bytes).is_ok());
        }
    }
}
