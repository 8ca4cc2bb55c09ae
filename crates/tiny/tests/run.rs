//! Running batches, pictures and streams, as a user does.

use std::path::Path;

use tersor_data::testing::{self, Failure, Trials};
use tersor_data::{Array, Elements, Picture, npy, npz};
use tersor_network::reference::Options;
use tersor_network::{Network, tflite};
use tersor_tiny::input::{self, Normalization};
use tersor_tiny::run::{Results, Settings, dump, run, run_plan, write_outputs};
use tersor_tiny::{Error, network, plan};

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() {
    let mut trials = Trials::new();
    for name in ["okay_nabu", "hey_jarvis", "hey_mycroft", "alexa"] {
        trials = trials.test(&format!("{name}_hears_64_frames_as_the_wheel_does"), move || wake_word(name));
    }
    trials
        .needs(&["tiny/mobilenetv1_vww96_int8.tflite", "tiny/golden_vww.npz"])
        .test("a_picture_gives_the_golden_output_of_an_int8_network", || {
            picture("mobilenetv1_vww96_int8", "img96_u8", "vww96_out_i8")
        })
        .needs(&["tiny/mcunet_vww1_int8.tflite", "tiny/golden_vww.npz"])
        .test("a_picture_gives_the_golden_output_of_a_float_network", || {
            picture("mcunet_vww1_int8", "img80_u8", "vww1_logits_f32")
        })
        .test("int8_pixels_become_the_output_of_the_first_quantize", quantised_by_hand)
        .test("the_sample_order_and_threads_do_not_matter", order_and_threads)
        .needs(&["tiny/resnet8_cifar10_int8.tflite"])
        .test("real_numbers_are_quantised_and_nan_is_refused", real_numbers)
        .test("other_types_and_sizes_are_refused_with_what_to_do", refusals)
        .needs(&["tiny/mcunet_persondet_int8.tflite", "tiny/person_det.jpg"])
        .test("several_outputs_go_to_an_npz", several_outputs)
        .run()
}

fn tiny(file: &str) -> Result<std::path::PathBuf> {
    testing::file(&format!("tiny/{file}"))
}

fn on(network: &Network, array: Array) -> Result<Results> {
    let batch = input::from_arrays(network, Path::new("test.npy"), vec![array])?;
    Ok(run(network, &batch, Settings::default(), &|_| ())?)
}

/// The wake-word model `name`, downloaded if need be.
fn wake_word_model(name: &str) -> Result<Network> {
    Ok(network::read(testing::fetched(&name.replace('_', "-"))?)?)
}

/// Goldens by `bench/peers/tiny_goldens.py`: 64 successive frames through one tflite-micro interpreter.
fn wake_word(name: &str) -> Result {
    let network = wake_word_model(name)?;
    let golden = npz::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wake_words.npz"))?;
    let frames = golden.read(&format!("{name}_in"))?;
    let expected = golden.read(&format!("{name}_out"))?;
    let batch = input::from_arrays(&network, Path::new("frames.npy"), vec![frames])?;
    assert_eq!(batch.samples.len(), 64);
    let stream = run(&network, &batch, Settings::default(), &|_| ())?;
    assert_eq!(stream.outputs[0].1.elements(), expected.elements());

    // The first 8 frames again: from the state that the stream left, and after a reset.
    let first = input::from_arrays(&network, Path::new("frames.npy"), vec![golden.read(&format!("{name}_in"))?])?;
    let mut again = batch.clone();
    again.samples.extend_from_slice(&first.samples[..8]);
    let again = run(&network, &again, Settings::default(), &|_| ())?;
    let going_on = golden.read(&format!("{name}_going_on"))?;
    assert_eq!(again.outputs[0].1.elements().slice(64, 72), *going_on.elements());
    let after_reset = golden.read(&format!("{name}_after_reset"))?;
    assert_eq!(stream.outputs[0].1.elements().slice(0, 8), *after_reset.elements());

    // The same through a plan: the state lies in the arena, and what the plan does not keep is trapped.
    let plan = plan::layers(&network, 1)?;
    let planned = run_plan(&network, plan, &batch, Settings::default(), &|_| ())?;
    assert_eq!(planned.outputs, stream.outputs);

    // A fresh state for every frame is another computation, but not for the first frame.
    let alone = run(&network, &batch, Settings { reset: true, ..Settings::default() }, &|_| ())?;
    assert_eq!(alone.outputs[0].1.elements().slice(0, 1), expected.elements().slice(0, 1));
    assert_ne!(alone.outputs[0].1.elements(), expected.elements());
    Ok(())
}

/// Each golden picture, as a PNG of the input's size.
fn picture(model: &str, pictures: &str, output: &str) -> Result {
    let network = tflite::read(tiny(&format!("{model}.tflite"))?)?;
    let golden = npz::open(tiny("golden_vww.npz")?)?;
    let pictures = golden.read(pictures)?;
    let &[count, height, width, 3] = pictures.shape() else { return Err("no pictures".into()) };
    let pixels = pictures.elements().as_u8().ok_or("no bytes")?;
    let expected = golden.read(output)?;
    let folder = tempfile::tempdir()?;
    for i in 0..count {
        let png = folder.path().join(format!("{i}.png"));
        let rgb = pixels[i * height * width * 3..][..height * width * 3].to_vec();
        Picture::new(width, height, rgb).ok_or("no picture")?.write_png(&png)?;
        let batch = input::read(&network, &png, Normalization::default())?;
        let results = run(&network, &batch, Settings::default(), &|_| ())?;
        assert_eq!(*results.outputs[0].1.elements(), expected.elements().slice(i * 2, (i + 1) * 2), "picture {i}");
    }
    Ok(())
}

fn quantised_by_hand() -> Result {
    let network = tflite::read(tiny("mcunet_vww1_int8.tflite")?)?;
    let golden = npz::open(tiny("golden_vww.npz")?)?;
    let pixels = golden.read("img80_u8")?;
    let pixels = pixels.elements().as_u8().ok_or("no bytes")?;
    let real: Vec<f32> = pixels.iter().map(|&p| f32::from(p) / 127.5 - 1.0).collect();
    let by_float = on(&network, Array::new([9, 80, 80, 3], real.into()).ok_or("no array")?)?;

    let quantize = &network.main().nodes[0];
    let q = &network.main().tensors[quantize.outputs[0]].quantization;
    let q = q.as_ref().and_then(|q| q.affine()).ok_or("no scale")?;
    let int8: Vec<i8> = pixels
        .iter()
        .map(|&p| ((f32::from(p) / 127.5 - 1.0) / q.scale as f32).round() as i32 + q.zero_point)
        .map(|q| q.clamp(-128, 127) as i8)
        .collect();
    let by_int8 = on(&network, Array::new([9, 80, 80, 3], int8.into()).ok_or("no array")?)?;
    assert_eq!(by_int8.outputs, by_float.outputs);
    Ok(())
}

fn order_and_threads() -> Result {
    let network = tflite::read(tiny("mobilenetv1_vww96_int8.tflite")?)?;
    let golden = npz::open(tiny("golden_vww.npz")?)?;
    let pixels = golden.read("img96_u8")?;
    let batch = input::from_pixels(&network, Path::new("golden_vww.npz"), &pixels)?;
    let all = run(&network, &batch, Settings::default(), &|_| ())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let single = pool.install(|| run(&network, &batch, Settings::default(), &|_| ()))?;
    assert_eq!(all.outputs, single.outputs);
    assert_eq!(all.outputs[0].1.shape(), [9, 2]);
    let mut reversed = batch.clone();
    reversed.samples.reverse();
    let reversed = run(&network, &reversed, Settings::default(), &|_| ())?;
    assert_eq!(reversed.outputs[0].1.elements().slice(0, 2), all.outputs[0].1.elements().slice(16, 18));
    Ok(())
}

fn real_numbers() -> Result {
    let network = tflite::read(tiny("resnet8_cifar10_int8.tflite")?)?;
    let pixels: Vec<i8> = (0..32 * 32 * 3).map(|i| (i % 256 - 128) as i8).collect();
    let q = &network.main().tensors[network.main().inputs[0]].quantization;
    let q = q.as_ref().and_then(|q| q.affine()).ok_or("no scale")?;
    let real: Vec<f32> = pixels.iter().map(|&p| q.real(i32::from(p))).collect();
    let by_int8 = on(&network, Array::new([32, 32, 3], pixels.into()).ok_or("no array")?)?;
    let by_real = on(&network, Array::new([32, 32, 3], real.clone().into()).ok_or("no array")?)?;
    assert_eq!(by_int8.outputs, by_real.outputs);
    assert_eq!(by_int8.outputs[0].1.shape(), [1, 10]);

    let mut broken = real;
    broken[7] = f32::NAN;
    let broken = Array::new([32, 32, 3], broken.into()).ok_or("no array")?;
    let error = input::from_arrays(&network, Path::new("x.npy"), vec![broken]).expect_err("NaN has no int8 value");
    assert!(error.to_string().contains("element 7"), "{error}");
    Ok(())
}

fn refusals() -> Result {
    let network = tflite::read(tiny("resnet8_cifar10_int8.tflite")?)?;
    let refused = |elements: Elements| -> Result<String> {
        let count = elements.len();
        let array = Array::new([count], elements).ok_or("no array")?;
        match input::from_arrays(&network, Path::new("x.npy"), vec![array]) {
            Err(e @ Error::Input { .. }) => Ok(e.to_string()),
            other => Err(format!("{other:?}").into()),
        }
    };
    assert!(refused(vec![0u8; 3072].into())?.contains("uint8"));
    assert!(refused(vec![0f64; 3072].into())?.contains("float32"));
    assert!(refused(vec![0i8; 3071].into())?.contains("3071"));
    assert!(refused(vec![0i8; 0].into())?.contains("0 elements"));
    assert!(refused(vec![0i32; 3072].into())?.contains("int32"));

    let batch = input::from_arrays(
        &network,
        Path::new("x.npy"),
        vec![Array::new([3072], vec![0i8; 3072].into()).ok_or("no array")?],
    )?;
    let options = Options { memory: 1000, ..Options::default() };
    let error = run(&network, &batch, Settings { options, ..Settings::default() }, &|_| ()).expect_err("too little");
    assert!(error.to_string().contains("49152"), "{error}");
    Ok(())
}

fn several_outputs() -> Result {
    let network = tflite::read(tiny("mcunet_persondet_int8.tflite")?)?;
    let batch = input::read(&network, &tiny("person_det.jpg")?, Normalization::default())?;
    let results = run(&network, &batch, Settings { keep_all: true, ..Settings::default() }, &|_| ())?;
    let folder = tempfile::tempdir()?;
    let npz_file = folder.path().join("o.npz");
    write_outputs(&network, &results, &npz_file)?;
    let written = npz::open(&npz_file)?;
    assert_eq!(written.names(), ["out0", "out1", "out2"]);
    assert_eq!(written.read("out1")?.shape(), [1, 8, 10, 18]);
    assert!(matches!(write_outputs(&network, &results, &folder.path().join("o.npy")), Err(Error::Output { .. })));

    dump(&results, &folder.path().join("dump"))?;
    let dumped = std::fs::read_dir(folder.path().join("dump"))?.count();
    // Every operator gives one tensor here, and the input is fed.
    assert_eq!(dumped, network.main().nodes.len() + 1);
    let first = network.main().nodes[0].outputs[0];
    assert_eq!(npy::read(folder.path().join(format!("dump/t{first}.npy")))?.shape(), [1, 128, 160, 3]);
    Ok(())
}
