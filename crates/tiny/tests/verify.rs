//! Verification: every shared golden agrees, a single wrong value is found, and nonsense is refused.

use std::path::PathBuf;

use tersor_data::testing::{self, Failure, Trials};
use tersor_data::{Array, Elements, npz};
use tersor_network::{Network, tflite};
use tersor_tiny::run::{Settings, dump, run};
use tersor_tiny::verify::{Golden, Verdict, verify};
use tersor_tiny::{Error, input};

type Result<T = ()> = std::result::Result<T, Failure>;

/// Model, goldens, samples.
const GOLDENS: [(&str, &str, usize); 6] = [
    ("resnet8_cifar10_int8", "golden_resnet8", 150),
    ("dscnn_kws_int8", "kws_500", 500),
    ("mobilenetv1_vww96_int8", "golden_vww", 9),
    ("mcunet_vww1_int8", "golden_vww", 9),
    ("autoencoder_ad_int8", "golden_ad", 20),
    ("mcunet_persondet_int8", "golden_persondet", 1),
];

fn main() {
    let mut trials = Trials::new();
    for (model, golden, samples) in GOLDENS {
        let files = [format!("tiny/{model}.tflite"), format!("tiny/{golden}.npz")];
        trials = trials.needs(&[&files[0], &files[1]]).test(&format!("{model}_agrees_with_{golden}"), move || {
            let verdict = against(&network(model)?, &tiny(&format!("{golden}.npz"))?)?;
            assert_eq!((verdict.samples, verdict.first_difference.as_ref()), (samples, None));
            assert_eq!(verdict.compared.len(), if model.contains("persondet") { 3 } else { 1 });
            Ok(())
        });
    }
    trials
        .needs(&["tiny/resnet8_cifar10_int8.tflite", "tiny/intermediates_resnet8.npz", "tiny/golden_resnet8.npz"])
        .test("intermediates_agree_given_the_input", intermediates)
        .test("one_wrong_value_is_found_at_its_place", one_wrong_value)
        .test("a_dump_of_ones_own_agrees_with_itself", own_dump)
        .test("goldens_without_an_input_or_output_are_refused", refusals)
        .run()
}

fn tiny(file: &str) -> Result<PathBuf> {
    testing::file(&format!("tiny/{file}"))
}

fn network(name: &str) -> Result<Network> {
    Ok(tflite::read(tiny(&format!("{name}.tflite"))?)?)
}

fn against(network: &Network, golden: &std::path::Path) -> Result<Verdict> {
    let golden = Golden::open(golden)?;
    Ok(verify(network, golden.input(network)?, &golden, Settings::default(), 0.0, &|_| ())?)
}

fn intermediates() -> Result {
    let network = network("resnet8_cifar10_int8")?;
    let input = Golden::open(&tiny("golden_resnet8.npz")?)?.input(&network)?;
    let golden = Golden::open(&tiny("intermediates_resnet8.npz")?)?;
    let verdict = verify(&network, input, &golden, Settings::default(), 0.0, &|_| ())?;
    assert!(verdict.agrees());
    assert_eq!((verdict.samples, verdict.compared.len()), (1, 16));
    Ok(())
}

fn one_wrong_value() -> Result {
    let network = network("resnet8_cifar10_int8")?;
    let source = npz::open(tiny("golden_resnet8.npz")?)?;
    let (images, outputs) = (source.read("images_u8")?, source.read("out_i8")?);
    let mut wrong = outputs.elements().as_i8().ok_or("no int8")?.to_vec();
    let right = wrong[37];
    wrong[37] = right.wrapping_add(1);
    let wrong = Array::new([150, 10], wrong.into()).ok_or("no array")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("wrong.npz");
    npz::write(&file, &[("images", &images), ("out0", &wrong)])?;
    let verdict = against(&network, &file)?;
    let difference = verdict.first_difference.ok_or("no difference was found")?;
    assert_eq!(difference.index, [3, 7]);
    assert_eq!((difference.expected, difference.got), (f64::from(right.wrapping_add(1)), f64::from(right)));
    assert_eq!(verdict.compared[0].differing, 1);
    Ok(())
}

fn own_dump() -> Result {
    let network = network("mcunet_vww1_int8").or_else(|_| network("resnet8_cifar10_int8"))?;
    let shape = network.main().tensors[network.main().inputs[0]].shape.clone();
    let count: usize = shape.iter().product();
    let noise: Vec<i8> = (0..count).map(|i| (i * 7919 % 251) as i8).collect();
    let noise = Array::new(shape, Elements::from(noise)).ok_or("no array")?;
    let batch = input::from_arrays(&network, std::path::Path::new("noise.npy"), vec![noise])?;
    let results = run(&network, &batch, Settings { keep_all: true, ..Settings::default() }, &|_| ())?;
    let folder = tempfile::tempdir()?;
    dump(&results, folder.path())?;
    let verdict = against(&network, folder.path())?;
    assert!(verdict.agrees());
    assert_eq!(verdict.compared.len(), results.tensors.len());
    Ok(())
}

fn refusals() -> Result {
    let network = network("resnet8_cifar10_int8")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("x.npz");
    let numbers = Array::new([3], vec![1i32, 2, 3].into()).ok_or("no array")?;
    npz::write(&file, &[("numbers", &numbers)])?;
    let golden = Golden::open(&file)?;
    assert!(matches!(golden.input(&network), Err(Error::Golden { .. })));
    let pixels = Array::new([32, 32, 3], vec![0i8; 3072].into()).ok_or("no array")?;
    let batch = input::from_arrays(&network, &file, vec![pixels])?;
    let error = verify(&network, batch, &golden, Settings::default(), 0.0, &|_| ()).expect_err("nothing to compare");
    assert!(error.to_string().contains("numbers"), "{error}");
    Ok(())
}
