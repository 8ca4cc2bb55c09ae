//! Pictures as the model takes them.

use std::ops::Range;

use tersor_data::Video;
use tersor_train::burn::tensor::{Device, Tensor, TensorData};

use crate::Error;

/// A clip: `[frames, channels, height, width]`, from -1 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    shape: [usize; 4],
    values: Vec<f32>,
}

impl Clip {
    /// A clip of a shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not as many values, or none.
    pub fn new(shape: [usize; 4], values: Vec<f32>) -> Result<Self, Error> {
        let count = shape.iter().try_fold(1usize, |count, &axis| count.checked_mul(axis));
        if count != Some(values.len()) || values.is_empty() {
            let expected = format!("the shape of {} values, at least one", values.len());
            return Err(Error::Shape { what: "the clip".into(), found: shape.to_vec(), expected });
        }
        Ok(Self { shape, values })
    }

    /// A clip of bytes, 0 as -1 and 255 as 1.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_bytes(shape: [usize; 4], bytes: &[u8]) -> Result<Self, Error> {
        Self::new(shape, bytes.iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect())
    }

    /// The middle of the first frames of a video: so many frames, rows and columns; `name` says in errors whose.
    ///
    /// # Errors
    /// [`Error::Shape`] if the video is smaller.
    pub fn of_video(name: &str, video: &Video, size: [usize; 3]) -> Result<Self, Error> {
        let found = [video.frames(), video.height(), video.width()];
        if found.iter().zip(size).any(|(&found, size)| found < size) {
            let expected = format!("frames, rows and columns of at least {size:?}");
            return Err(Error::Shape { what: name.into(), found: found.to_vec(), expected });
        }
        let [frames, height, width] = size;
        let corner = [(video.height() - height) / 2, (video.width() - width) / 2];
        Ok(Self::cut(video, 0..frames, corner, [height, width]))
    }

    /// Some frames of a video, from the upper left corner `[top, left]` on.
    pub(super) fn cut(
        video: &Video,
        frames: Range<usize>,
        [top, left]: [usize; 2],
        [height, width]: [usize; 2],
    ) -> Self {
        let shape = [frames.len(), 3, height, width];
        let mut bytes = Vec::with_capacity(shape.iter().product());
        for frame in frames {
            let rgb = video.frame(frame);
            for colour in 0..3 {
                for row in top..top + height {
                    let line = &rgb[(row * video.width() + left) * 3..][..3 * width];
                    bytes.extend(line.iter().skip(colour).step_by(3));
                }
            }
        }
        Self::from_bytes(shape, &bytes).expect("as many bytes as pixels")
    }

    /// Frames, channels, height and width.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Its values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// What is sampled at the time σ of a flow on the way to noise: (1 - σ) x + σ ε.
    ///
    /// # Panics
    /// If there is not a number of noise for each value.
    pub fn noised(&self, noise: &[f32], sigma: f32) -> Self {
        assert_eq!(noise.len(), self.values.len(), "noise of another clip");
        let values = self.values.iter().zip(noise).map(|(x, noise)| (1.0 - sigma) * x + sigma * noise).collect();
        Self { shape: self.shape, values }
    }

    /// Its pictures in colours; of one channel, in grey. Values beyond -1 and 1 are cut.
    ///
    /// # Panics
    /// If it has neither 3 channels nor 1.
    pub fn to_video(&self) -> Video {
        let [frames, channels, height, width] = self.shape;
        assert!(channels == 3 || channels == 1, "{channels} channels are no colours");
        let plane = height * width;
        let byte = |value: f32| ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
        let at = |frame, pixel, colour: usize| self.values[(frame * channels + colour % channels) * plane + pixel];
        let pixels = (0..frames).flat_map(|frame| (0..plane).map(move |pixel| (frame, pixel)));
        let rgb = pixels.flat_map(|(frame, pixel)| [0, 1, 2].map(|colour| byte(at(frame, pixel, colour)))).collect();
        Video::new(width, height, rgb).expect("a clip is not empty")
    }

    pub(super) fn to_tensor(&self, device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.values.clone(), self.shape), device)
    }

    pub(super) fn from_tensor(tensor: &Tensor<4>) -> Self {
        let values = tensor.to_data().try_to_vec().expect("a model answers in f32");
        Self { shape: tensor.dims(), values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_channels_become_colours() {
        let bytes: Vec<u8> = (0..2 * 3 * 2 * 2).map(|i| i * 10).collect();
        let clip = Clip::from_bytes([2, 3, 2, 2], &bytes).unwrap();
        let video = clip.to_video();
        assert_eq!((video.frames(), &video.frame(0)[..6]), (2, &[0, 40, 80, 10, 50, 90][..]));
        let beyond = Clip::new([1, 1, 1, 2], vec![-7.0, 7.0]).unwrap().to_video();
        assert_eq!(beyond.rgb(), [0, 0, 0, 255, 255, 255]);
        assert!(Clip::new([1, 2, 3, 4], vec![0.0; 23]).is_err());
    }
}
