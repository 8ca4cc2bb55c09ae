//! Labelled pictures, all of one size: what a classifier is trained on, whatever file they came from.
//!
//! Pixels stay bytes: 60,000 pictures of 32×32 are 184 MB so, and 737 MB as `f32`. Who trains turns a batch at a time
//! into numbers.

/// Pictures of one size, each with the class that it shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Examples {
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u32>,
    classes: Vec<String>,
}

impl Examples {
    /// Examples of `shape` (channels, height, width) from their `pixels`, `[examples, channels, height, width]`.
    ///
    /// `None` if there are not as many pixels as the labels ask for, if a label is not below the number of classes, or
    /// if the shape has no pixel.
    pub fn new(shape: [usize; 3], pixels: Vec<u8>, labels: Vec<u32>, classes: Vec<String>) -> Option<Self> {
        let size = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        let fits = size > 0 && size.checked_mul(labels.len())? == pixels.len();
        let known = labels.iter().all(|&label| (label as usize) < classes.len());
        (fits && known).then_some(Self { shape, pixels, labels, classes })
    }

    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width of every picture.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// All pixels, `[examples, channels, height, width]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels of one picture, `[channels, height, width]`.
    ///
    /// # Panics
    /// If there is no example `index`.
    pub fn picture(&self, index: usize) -> &[u8] {
        let size = self.shape.iter().product::<usize>();
        &self.pixels[index * size..][..size]
    }

    /// The class of every example, an index into [`classes`](Self::classes).
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The names of the classes, in the order of their labels.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The same examples with other names for the classes; `None` if there are fewer names than classes.
    pub fn named(mut self, classes: &[impl AsRef<str>]) -> Option<Self> {
        if classes.len() < self.classes.len() {
            return None;
        }
        self.classes = classes.iter().map(|name| name.as_ref().to_owned()).collect();
        Some(self)
    }

    /// The examples at `indices`, in that order.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn selected(&self, indices: &[u32]) -> Self {
        Self {
            shape: self.shape,
            pixels: indices.iter().flat_map(|&index| self.picture(index as usize)).copied().collect(),
            labels: indices.iter().map(|&index| self.labels[index as usize]).collect(),
            classes: self.classes.clone(),
        }
    }

    /// How many examples each class has.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }
}

impl std::fmt::Debug for Examples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [channels, height, width] = self.shape;
        write!(f, "Examples({} of {channels}×{height}×{width}, classes {:?})", self.len(), self.classes)
    }
}

/// The names of classes that have none: `0`, `1`, ….
pub(crate) fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Examples {
        Examples::new([1, 1, 2], vec![0, 1, 10, 11, 20, 21], vec![1, 0, 1], numbered(2)).unwrap()
    }

    #[test]
    fn pixels_labels_and_classes_must_agree() {
        assert!(Examples::new([1, 1, 2], vec![0; 5], vec![0, 0, 0], numbered(1)).is_none());
        assert!(Examples::new([1, 1, 1], vec![0], vec![1], numbered(1)).is_none());
        assert!(Examples::new([1, 0, 1], vec![], vec![0, 0], numbered(1)).is_none());
        assert!(Examples::new([usize::MAX, 2, 1], vec![], vec![], numbered(1)).is_none());
        assert!(Examples::new([1, 1, 1], vec![], vec![], vec![]).is_some_and(|none| none.is_empty()));
    }

    #[test]
    fn a_selection_keeps_picture_and_label_together() {
        let selected = three().selected(&[2, 1, 2]);
        assert_eq!(selected.pixels(), [20, 21, 10, 11, 20, 21]);
        assert_eq!(selected.labels(), [1, 0, 1]);
        assert_eq!(three().counts(), [1, 2]);
    }

    #[test]
    fn names_may_be_given_but_not_too_few() {
        assert_eq!(three().named(&["no", "yes"]).unwrap().classes(), ["no", "yes"]);
        assert!(three().named(&["no"]).is_none());
    }
}
