//! The readers of examples against the real files that they are for.

use std::path::Path;

use tersor_data::csv::{self, Label, Layout};
use tersor_data::testing::{Failure, Folder, Trials, fetched, file};
use tersor_data::{Array, Examples, Picture, cifar, folder, idx, text};

const MNIST: [&str; 2] = ["tiny/mnist_10k_images_idx3.gz", "tiny/mnist_10k_labels_idx1.gz"];
const CIFAR: &str = "tiny/cifar10_imagefolder_2k_1k.zip";
const SMALL_CIFAR: &str = "vision/common/cifar10_jpg_1000.zip";

fn main() {
    Trials::new()
        .needs(&MNIST)
        .test("mnist_reads_and_looks_like_digits", || {
            let digits = idx::examples(file(MNIST[0])?, file(MNIST[1])?)?;
            assert_eq!((digits.len(), digits.shape()), (10_000, [1, 28, 28]));
            assert_eq!(digits.labels()[..8], [7, 2, 1, 0, 4, 1, 4, 9]);
            assert_eq!(digits.counts(), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
            // Ones have the least ink.
            let ink = |class| mean(&digits, class);
            assert!((0..10).filter(|&class| class != 1).all(|class| ink(1) < ink(class)));
            Ok(())
        })
        .needs(&[CIFAR])
        .test("cifar_in_an_archive_reads_and_by_its_folder_as_well", || {
            let read = |part: &str| {
                folder::read(file(CIFAR)?, &folder::Options { part: Some(part.into()), ..Default::default() })
                    .map_err(Failure::from)
            };
            let (train, test) = (read("train")?, read("test")?);
            assert_eq!((train.len(), test.len(), train.shape()), (2000, 1000, [3, 32, 32]));
            assert_eq!(train.classes(), cifar::TEN);
            assert_eq!((train.counts(), test.counts()), (vec![200; 10], vec![100; 10]));
            // The sky is blue and frogs are not.
            let blue = |class| {
                let (mut blue, mut red) = (0u64, 0u64);
                for index in (0..train.len()).filter(|&index| train.labels()[index] == class) {
                    red += sum(&train.picture(index)[..1024]);
                    blue += sum(&train.picture(index)[2048..]);
                }
                blue as f64 / red as f64
            };
            assert!(blue(0) > 1.0 && blue(6) < 1.0, "{} {}", blue(0), blue(6));
            Ok(())
        })
        .test("real_pictures_in_cifars_binary_form_are_the_same_examples", || {
            let options = folder::Options { part: Some("test".into()), ..Default::default() };
            let pictures = folder::read(file(CIFAR)?, &options)?;
            let folder = Folder::new()?;
            let batches = [0..400, 400..1000].map(|range| {
                let record = |index: usize| [&[pictures.labels()[index] as u8][..], pictures.picture(index)].concat();
                range.flat_map(record).collect::<Vec<u8>>()
            });
            let files = [folder.at("a.bin"), folder.at("b.bin")];
            std::fs::write(&files[0], &batches[0])?;
            std::fs::write(&files[1], &batches[1])?;
            assert_eq!(cifar::read(&files, cifar::Set::Ten)?, pictures);
            Ok(())
        })
        .needs(&[SMALL_CIFAR])
        .test("a_folder_on_disk_reads_as_the_archive_that_holds_it", || {
            let archive = file(SMALL_CIFAR)?;
            let packed = folder::read(&archive, &folder::Options::default())?;
            let folder = Folder::new()?;
            let mut zip = zip::ZipArchive::new(std::fs::File::open(&archive)?)?;
            zip.extract(folder.at("x"))?;
            assert_eq!(folder::read(folder.at("x"), &folder::Options::default())?, packed);
            Ok(())
        })
        .needs(&["vision/common/imagenet"])
        .test("photographs_are_stretched_to_the_size_that_is_asked", || {
            let folder = Folder::new()?;
            std::fs::create_dir_all(folder.at("photo"))?;
            let mut photographs: Vec<_> =
                std::fs::read_dir(file("vision/common/imagenet")?)?.collect::<Result<_, _>>()?;
            photographs.sort_by_key(std::fs::DirEntry::file_name);
            for photograph in photographs.iter().take(5) {
                std::fs::copy(photograph.path(), folder.at("photo").join(photograph.file_name()))?;
            }
            let options = folder::Options { size: Some((64, 48)), grey: true, ..Default::default() };
            let examples = folder::read(folder.at(""), &options)?;
            assert_eq!((examples.len(), examples.shape()), (5, [1, 64, 48]));
            assert_eq!(examples.picture(0), Picture::read(photographs[0].path())?.resized(48, 64).grey());
            Ok(())
        })
        .needs(&["vision/common/tinyshakespeare.txt.gz"])
        .test("shakespeare_has_65_characters_and_reads_back", || {
            let shakespeare = text::read(file("vision/common/tinyshakespeare.txt.gz")?)?;
            assert_eq!((shakespeare.ids.len(), shakespeare.vocabulary.len()), (1_115_394, 65));
            let begins = shakespeare.vocabulary.decode(&shakespeare.ids[..14]);
            assert_eq!(begins.as_deref(), Some("First Citizen:"));
            Ok(())
        })
        .needs(&[])
        .test("fetched_digits_read_as_pictures", || {
            let digits = csv::read(fetched("mnist-5k")?, &Layout::default())?.into_pictures([1, 28, 28])?;
            assert_eq!((digits.counts(), &digits.classes()[9][..]), (vec![500; 10], "9"));
            let small = csv::read(fetched("digits")?, &Layout::default())?.into_pictures([1, 8, 8])?;
            assert_eq!((small.len(), small.pixels().iter().max()), (1797, Some(&16)));
            assert_eq!(small.labels()[..5], [0, 1, 2, 3, 4]);
            Ok(())
        })
        .test("fetched_tables_read", || {
            let table = |name: &str, layout: &Layout| csv::read(fetched(name)?, layout).map_err(Failure::from);
            let iris = table("iris", &Layout::default())?;
            assert_eq!((iris.rows(), iris.columns.len(), iris.classes.len()), (150, 4, 3));
            assert_eq!(table("wine", &Layout::default())?.classes.len(), 3);
            let unlabelled = Layout { label: Label::Absent, ..Layout::default() };
            assert_eq!(table("boston-housing", &unlabelled)?.values.len(), 506 * 14);
            let cars = table("autompg", &unlabelled).unwrap_err().to_string();
            assert!(cars.contains("column 7 is `chevrolet chevelle malibu`"), "{cars}");
            assert_eq!(table("autompg", &Layout { skip: vec![7], ..unlabelled })?.rows(), 392);
            Ok(())
        })
        .test("fetched_fashion_reads_whole", || {
            let part = |part: &str| -> Result<Examples, Failure> {
                let [pictures, labels] =
                    ["images", "labels"].map(|what| fetched(&format!("fashion-mnist-{part}-{what}")));
                Ok(idx::examples(pictures?, labels?)?.named(&idx::FASHION_MNIST).ok_or("ten classes")?)
            };
            let (train, test) = (part("train")?, part("test")?);
            assert_eq!((train.counts(), test.counts()), (vec![6000; 10], vec![1000; 10]));
            assert_eq!(train.classes()[train.labels()[0] as usize], "Ankle boot");
            Ok(())
        })
        .test("fetched_words_read", || {
            let words = text::read(fetched("webster-words")?)?;
            assert_eq!(words.vocabulary.decode(&words.ids[..4]).as_deref(), Some("A\na\n"));
            Ok(())
        })
        .test("a_missing_file_is_named", || {
            let absent = Path::new("/no/such/file");
            let errors = [
                idx::read(absent).map(|_: Array| ()).unwrap_err(),
                cifar::read(&[absent], cifar::Set::Ten).map(drop).unwrap_err(),
                folder::read(absent, &Default::default()).map(drop).unwrap_err(),
                csv::read(absent, &Layout::default()).map(drop).unwrap_err(),
                text::read(absent).map(drop).unwrap_err(),
            ];
            assert!(errors.iter().all(|error| error.to_string().starts_with("/no/such/file: cannot be read")));
            Ok(())
        })
        .run()
}

fn sum(pixels: &[u8]) -> u64 {
    pixels.iter().map(|&pixel| u64::from(pixel)).sum()
}

fn mean(examples: &Examples, class: u32) -> f64 {
    let of: Vec<usize> = (0..examples.len()).filter(|&index| examples.labels()[index] == class).collect();
    of.iter().map(|&index| sum(examples.picture(index))).sum::<u64>() as f64 / of.len() as f64
}
