//! Files made to do harm, to every reader of examples: an answer within a second and bounded memory.

use std::io::{Cursor, Write};

use tersor_data::csv::{self, Label, Layout};
use tersor_data::testing::{Counting, Trials, within_limits};
use tersor_data::{Error, cifar, folder, idx, text};
use zip::write::SimpleFileOptions;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    Trials::new()
        .test("bombs_are_refused", || {
            let zeros = gzip(&mut std::iter::repeat_n(b'0', 1 << 28));
            let bomb = |error: Error| assert!(matches!(error, Error::Bomb { .. }), "{error}");
            bomb(within_limits(|| "idx".into(), || idx::from_bytes("x", zeros.clone())).unwrap_err());
            bomb(within_limits(|| "text".into(), || text::from_bytes("x", zeros.clone())).unwrap_err());
            bomb(
                within_limits(|| "csv".into(), || csv::from_bytes("x", zeros.clone(), &Layout::default())).unwrap_err(),
            );
            let cifar = || cifar::from_bytes("x", zeros.clone(), cifar::Set::Ten);
            bomb(within_limits(|| "cifar".into(), cifar).unwrap_err());
            Ok(())
        })
        .test("just_below_a_bomb_is_read_or_refused_quickly", || {
            const SIZE: usize = 8 << 20;
            type Byte = fn(usize) -> u8; // the byte at a place
            let texts: [(&str, Byte); 5] = [
                ("commas", |_| b','),
                ("lines", |_| b'\n'),
                ("numbers", |at| b"1,2\n"[at % 4]),
                ("long lines", |at| if at % (4 << 20) == 0 { b'\n' } else { b"1,"[at % 2] }),
                ("quotes", |at| b"\"\n\","[at % 4]),
            ];
            for (name, byte) in texts {
                let packed = gzip(&mut (0..SIZE).map(byte));
                for label in [Label::Absent, Label::Last] {
                    let layout = Layout { label, ..Layout::default() };
                    let read = || csv::from_bytes("x", packed.clone(), &layout).is_ok();
                    let ok = within_limits(|| format!("csv of {name}"), read);
                    println!("csv of {name}: {}", if ok { "read" } else { "refused" });
                }
                within_limits(|| format!("text of {name}"), || text::from_bytes("x", packed.clone()))?;
            }
            Ok(())
        })
        .test("a_claimed_size_is_not_allocated", || {
            for axes in 1..=8u8 {
                let mut bytes = vec![0, 0, 0x0e, axes];
                bytes.extend([0x7f, 0xff, 0xff, 0xff].repeat(axes as usize));
                assert!(within_limits(|| format!("{axes} axes"), || idx::from_bytes("x", bytes)).is_err());
            }
            Ok(())
        })
        .test("an_archive_of_one_huge_picture_many_times_is_refused", || {
            let mut png = Cursor::new(Vec::new());
            image::RgbImage::new(2000, 2000).write_to(&mut png, image::ImageFormat::Png)?;
            let png = png.into_inner();
            let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
            for index in 0..100 {
                archive.start_file(format!("a/{index}.png"), SimpleFileOptions::default())?;
                archive.write_all(&png)?;
            }
            let bytes = archive.finish()?.into_inner();
            let read = || folder::from_bytes("x.zip", &bytes, &folder::Options::default());
            let error = within_limits(|| "pictures".into(), read).unwrap_err();
            assert!(matches!(error, Error::Bomb { .. }), "{error}");
            Ok(())
        })
        .test("an_archive_of_very_many_empty_files_is_an_error", || {
            let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
            for index in 0..20_000 {
                archive.start_file(format!("{index}/x.png"), SimpleFileOptions::default())?;
            }
            let bytes = archive.finish()?.into_inner();
            let read = || folder::from_bytes("x.zip", &bytes, &folder::Options::default());
            assert!(within_limits(|| "empty".into(), read).is_err());
            Ok(())
        })
        .run()
}

fn gzip(bytes: &mut dyn Iterator<Item = u8>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    loop {
        let piece: Vec<u8> = bytes.take(1 << 20).collect();
        if piece.is_empty() {
            return encoder.finish().unwrap_or_default();
        }
        encoder.write_all(&piece).unwrap_or_default();
    }
}
