//! Videos, through ffmpeg where it is installed: decoding H.264 is a craft of its own.
//!
//! A video is read at the size that is asked for, so that what is held is known before; `ffprobe` tells the size that it has.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::{Error, Picture, atomic};

/// The most bytes that a video may hold once it is decoded.
pub const MOST_BYTES: u64 = 1 << 30;

/// Pictures of one size, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Video {
    /// Pictures of `width · height · 3` bytes each; `None` if there is none, or the last is not whole.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Option<Self> {
        let bytes = width.checked_mul(height)?.checked_mul(3)?;
        let whole = bytes > 0 && !rgb.is_empty() && rgb.len().is_multiple_of(bytes);
        whole.then_some(Self { width, height, rgb })
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// How many pictures there are.
    pub fn frames(&self) -> usize {
        self.rgb.len() / (self.width * self.height * 3)
    }

    /// `[frames, height, width, 3]`.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// One picture, `[height, width, 3]`.
    pub fn frame(&self, index: usize) -> &[u8] {
        let bytes = self.width * self.height * 3;
        &self.rgb[index * bytes..][..bytes]
    }

    /// All pictures side by side, `columns` in a row, from the left and the top; what is left of the last row is black.
    pub fn strip(&self, columns: usize) -> Picture {
        let columns = columns.clamp(1, self.frames());
        let (row, stride) = (self.width * 3, columns * self.width * 3);
        let height = self.frames().div_ceil(columns) * self.height;
        let mut rgb = vec![0; height * stride];
        for index in 0..self.frames() {
            let at = index / columns * self.height * stride + index % columns * row;
            for (y, line) in self.frame(index).chunks_exact(row).enumerate() {
                rgb[at + y * stride..][..row].copy_from_slice(line);
            }
        }
        Picture::new(columns * self.width, height, rgb).expect("rows of whole pictures")
    }
}

/// Columns and rows of the pictures in the file `path`.
///
/// # Errors
/// [`Error::NoTool`] without ffprobe, [`Error::Read`], [`Error::Format`] if it finds no video.
pub fn size(path: impl AsRef<Path>) -> Result<[usize; 2], Error> {
    #[derive(Deserialize)]
    struct Probed {
        streams: Vec<Stream>,
    }
    #[derive(Deserialize)]
    struct Stream {
        width: usize,
        height: usize,
    }
    let path = path.as_ref();
    std::fs::File::open(path).map_err(Error::read(path))?;
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "json"]);
    command.arg(input(path)).stdin(Stdio::null());
    let done = command.output().map_err(|error| absent(path, "ffprobe", error))?;
    let fault = |found: String| Error::Format { place: path.display().to_string(), format: "video", found };
    if !done.status.success() {
        return Err(fault(last_line(&done.stderr)));
    }
    let probed: Probed = serde_json::from_slice(&done.stdout).map_err(|error| fault(error.to_string()))?;
    match probed.streams.first() {
        Some(&Stream { width, height }) if width > 0 && height > 0 => Ok([width, height]),
        _ => Err(fault("it has no pictures".into())),
    }
}

/// The pictures in the file `path`, scaled to `[width, height]` by the mean of what falls into a pixel.
///
/// # Errors
/// As [`size`], and [`Error::Bomb`] above [`MOST_BYTES`].
///
/// # Panics
/// If a side is 0.
pub fn read(path: impl AsRef<Path>, [width, height]: [usize; 2]) -> Result<Video, Error> {
    assert!(width > 0 && height > 0, "a video of {width} x {height} pixels");
    let path = path.as_ref();
    let packed = std::fs::metadata(path).map_err(Error::read(path))?.len();
    let place = || path.display().to_string();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-noautorotate", "-i"]).arg(input(path));
    command.args(["-map", "0:v:0", "-vf", &format!("scale={width}:{height}:flags=area"), "-vsync", "passthrough"]);
    command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| absent(path, "ffmpeg", error))?;
    let mut words = child.stderr.take().expect("it is piped");
    let listener = std::thread::spawn(move || {
        let mut said = Vec::new();
        // What does not fit is dropped; the pipe is emptied all the same, so that the child does not wait.
        let _ = (&mut words).take(1 << 16).read_to_end(&mut said);
        let _ = std::io::copy(&mut words, &mut std::io::sink());
        said
    });
    let mut rgb = Vec::new();
    let read = child.stdout.take().expect("it is piped").take(MOST_BYTES + 1).read_to_end(&mut rgb);
    if rgb.len() as u64 > MOST_BYTES {
        let _ = child.kill();
    }
    let status = child.wait().map_err(Error::read(path))?;
    let said = listener.join().unwrap_or_default();
    read.map_err(Error::read(path))?;
    if rgb.len() as u64 > MOST_BYTES {
        return Err(Error::Bomb { place: place(), packed, limit: MOST_BYTES });
    }
    if !status.success() {
        return Err(Error::Format { place: place(), format: "video", found: last_line(&said) });
    }
    Video::new(width, height, rgb).ok_or_else(|| Error::Format {
        place: place(),
        format: "video",
        found: "it holds no whole picture".into(),
    })
}

/// Writes `video` at so many pictures a second, as the end of the name says (`.mp4`).
///
/// # Errors
/// [`Error::NoTool`] without ffmpeg, [`Error::Write`] if it cannot be written; nothing is left then.
pub fn write(path: impl AsRef<Path>, video: &Video, per_second: u32) -> Result<(), Error> {
    let path = path.as_ref();
    let failed = |found: String| Error::Write { path: path.into(), source: std::io::Error::other(found) };
    let folder = tempfile::tempdir().map_err(Error::write(path))?;
    let whole = folder.path().join("video").with_extension(path.extension().unwrap_or_default());
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]);
    command.args(["-s", &format!("{}x{}", video.width, video.height), "-r", &per_second.to_string(), "-i", "-"]);
    command.args(["-pix_fmt", "yuv420p", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]).arg(&whole);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| absent(path, "ffmpeg", error))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let sent = stdin.write_all(&video.rgb);
    drop(stdin);
    let done = child.wait_with_output().map_err(Error::write(path))?;
    if !done.status.success() {
        return Err(failed(last_line(&done.stderr)));
    }
    sent.map_err(Error::write(path))?;
    let bytes = std::fs::read(&whole).map_err(Error::read(&whole))?;
    atomic::write(path, |out| out.write_all(&bytes))
}

/// The file as ffmpeg takes it: never a protocol or a flag.
fn input(path: &Path) -> std::ffi::OsString {
    let mut name = std::ffi::OsString::from("file:");
    name.push(path);
    name
}

fn absent(path: &Path, tool: &str, error: std::io::Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return Error::Read { path: path.into(), source: error };
    }
    Error::NoTool {
        name: path.display().to_string(),
        tool: tool.into(),
        install: "install ffmpeg (apt install ffmpeg, brew install ffmpeg)",
        command: format!("{tool} -i {}", path.display()),
    }
}

fn last_line(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason was given").trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_lie_side_by_side() {
        let video = Video::new(2, 1, (0..3 * 6).collect()).unwrap();
        assert_eq!((video.frames(), video.frame(1)), (3, &[6, 7, 8, 9, 10, 11][..]));
        let strip = video.strip(2);
        assert_eq!((strip.width(), strip.height()), (4, 2));
        let last = [12, 13, 14, 15, 16, 17].into_iter().chain([0; 6]);
        assert_eq!(strip.rgb(), (0..12).chain(last).collect::<Vec<u8>>());
        assert!(Video::new(2, 1, vec![0; 7]).is_none() && Video::new(0, 1, vec![]).is_none());
    }
}
