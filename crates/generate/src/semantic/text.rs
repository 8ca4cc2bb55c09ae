//! Tokens of text behind those of the video, in models whose attention joins both: they are not clustered.
//!
//! Two further groups: the prompt, which reads all but padding and is read by all but padding; and padding, which reads and is
//! read by itself alone, so that it stays out of the softmax of all others.

use super::Side;
use crate::Error;
use crate::clusters::ClusterMask;
use crate::means::WithMeans;

/// How many tokens of text there are, the prompt first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text {
    /// Of the prompt.
    pub prompt: usize,
    /// Behind it.
    pub padding: usize,
}

impl Text {
    fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Queries and keys of the video.
    pub(super) fn video(self, [queries, keys]: [usize; 2]) -> Result<[usize; 2], Error> {
        let text = self.prompt.saturating_add(self.padding);
        match [queries, keys].map(|tokens| tokens.checked_sub(text).filter(|video| *video > 0)) {
            [Some(video_queries), Some(video_keys)] => Ok([video_queries, video_keys]),
            _ => {
                let value = format!("{text} for {queries} queries and {keys} keys");
                Err(Error::parameter("text", value, "fewer than there are tokens"))
            }
        }
    }

    /// The group of each token, and how many groups there are.
    pub(super) fn labels(self, video: &Side) -> (Vec<u32>, usize) {
        let (mut labels, clusters) = (video.labels.clone(), video.sizes.len());
        if self.is_empty() {
            return (labels, clusters);
        }
        labels.extend(std::iter::repeat_n(clusters as u32, self.prompt));
        labels.extend(std::iter::repeat_n(clusters as u32 + 1, self.padding));
        (labels, clusters + 2)
    }

    /// A plan of such groups, whose video reads the means of the video that it leaves out; the text has no means.
    pub fn with_means(self, mask: &ClusterMask) -> WithMeans<'_> {
        WithMeans { mask, text: if self.is_empty() { 0 } else { 2 } }
    }

    /// The map of the video with the groups of text.
    pub(super) fn map(self, video: Vec<bool>, [cq, ck]: [usize; 2]) -> Vec<bool> {
        if self.is_empty() {
            return video;
        }
        let row = |clusters: &[bool]| [clusters, &[true, false]].concat();
        let mut map: Vec<bool> = video.chunks_exact(ck).flat_map(row).collect();
        debug_assert_eq!(map.len(), cq * (ck + 2), "rows of clusters");
        map.extend(row(&vec![true; ck]));
        map.extend(vec![false; ck + 1]);
        map.push(true);
        map
    }
}
