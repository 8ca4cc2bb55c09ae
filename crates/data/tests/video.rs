//! Videos through ffmpeg, on a real one and on what is none.

use std::process::Command;

use tersor_data::testing::{Failure, Folder, Skip, Trials, file};
use tersor_data::video;
use tersor_data::{Error, similarity};

const CARPHONE: &str = "generation/carphone_pristine.mp4";

fn main() {
    Trials::new()
        .needs(&[CARPHONE, "generation/carphone_first8.npz"])
        .test("a_video_is_read_as_another_reader_reads_it", reads)
        .needs(&[CARPHONE])
        .test("what_is_written_reads_back_alike", round_trip)
        .needs(&[CARPHONE])
        .test("what_is_no_video_is_refused", refuses)
        .run()
}

/// Counted as skipped without ffmpeg.
fn installed() -> Result<(), Failure> {
    for tool in ["ffmpeg", "ffprobe"] {
        Command::new(tool).arg("-version").output().map_err(|_| Skip(format!("{tool} is not installed")))?;
    }
    Ok(())
}

fn reads() -> Result<(), Failure> {
    installed()?;
    let path = file(CARPHONE)?;
    assert_eq!(video::size(&path)?, [176, 144]);
    let video = video::read(&path, [176, 144])?;
    assert_eq!(video.frames(), 120);
    // The first 8 pictures, decoded elsewhere; decoders may round colours apart.
    let first = tersor_data::npz::open(file("generation/carphone_first8.npz")?)?.read("frames")?;
    let first = first.elements().as_u8().ok_or("bytes")?;
    for (index, expected) in first.chunks_exact(176 * 144 * 3).enumerate() {
        let psnr = similarity::psnr(video.frame(index), expected);
        assert!(psnr > 40.0, "frame {index}: {psnr} dB");
    }
    let small = video::read(&path, [88, 72])?;
    assert_eq!((small.width(), small.height(), small.frames()), (88, 72, 120));
    let mean = |rgb: &[u8]| rgb.iter().map(|&x| f64::from(x)).sum::<f64>() / rgb.len() as f64;
    assert!((mean(small.rgb()) - mean(video.rgb())).abs() < 2.0);
    Ok(())
}

fn round_trip() -> Result<(), Failure> {
    installed()?;
    let folder = Folder::new()?;
    let video = video::read(file(CARPHONE)?, [64, 52])?;
    let path = folder.at("copy.mp4");
    video::write(&path, &video, 25)?;
    let read = video::read(&path, [64, 52])?;
    assert_eq!(read.frames(), video.frames());
    let psnr = similarity::psnr(read.rgb(), video.rgb());
    assert!(psnr > 28.0, "{psnr} dB");
    assert_eq!(folder.names()?, ["copy.mp4"]);
    let odd = folder.at("odd.unknown");
    assert!(matches!(video::write(&odd, &video, 25), Err(Error::Write { .. })));
    assert_eq!(folder.names()?, ["copy.mp4"], "nothing is left");
    Ok(())
}

fn refuses() -> Result<(), Failure> {
    installed()?;
    let folder = Folder::new()?;
    assert!(matches!(video::size(folder.at("absent.mp4")), Err(Error::Read { .. })));
    let text = folder.with("text.mp4", "no video at all")?;
    for error in [video::size(&text).unwrap_err(), video::read(&text, [8, 8]).unwrap_err()] {
        assert!(matches!(error, Error::Format { .. }) && error.to_string().contains("text.mp4"), "{error}");
    }
    let whole = std::fs::read(file(CARPHONE)?)?;
    let cut = folder.at("cut.mp4");
    std::fs::write(&cut, &whole[..whole.len() / 2])?;
    assert!(video::read(&cut, [8, 8]).is_err(), "a cut file");
    // Small, and more than is allowed when it is decoded.
    assert!(matches!(video::read(file(CARPHONE)?, [2_048, 2_048]), Err(Error::Bomb { .. })));
    Ok(())
}
