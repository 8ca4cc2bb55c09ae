//! The video transformer: against its reference, on any number of threads, with adapters, and its files when they are none.

use std::path::Path;
use std::sync::Arc;

use tersor_data::testing::{Counting, Failure, Folder, Trials, file, within_limits};
use tersor_data::{Elements, npz};
use tersor_generate::semantic::Found;
use tersor_generate::video::train::burn::tensor::{Device, Tensor};
use tersor_generate::video::train::fit::{Data, Fit, Task};
use tersor_generate::video::train::loader::{Position, Settings, Source};
use tersor_generate::video::train::optimizer::Choice;
use tersor_generate::video::{
    Adapters, Attend, Call, Captured, Clip, Config, Cut, Extension, Lora, Method, Projection, Sampler, Sampling,
    VideoTransformer,
};
use tersor_generate::{Budget, CentroidCache, DensePolicy, Error, SemanticAttention};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Result<T = ()> = std::result::Result<T, Failure>;

const MODEL: &str = "generation/vdit.safetensors";
const PAIR: &str = "generation/vdit_reference_io.npz";
const CAPTURED: &str = "generation/vdit_qkv_layer1_head0.npz";
const CLIPS: &str = "generation/vdit_val_clips.npz";

fn main() {
    Trials::new()
        .needs(&[MODEL, PAIR])
        .test("its_velocity_is_that_of_the_reference", velocity)
        .needs(&[MODEL, PAIR, CAPTURED])
        .test("queries_keys_and_values_are_those_of_the_reference", captured)
        .needs(&[MODEL])
        .test("a_clip_has_the_same_bytes_on_1_and_2_threads_and_for_a_seed_only", threads)
        .test("the_first_steps_and_layers_are_dense_and_the_rest_reads_what_the_plan_says", policy)
        .test("adapters_begin_as_nothing_and_merge_into_the_weights", adapters)
        .test("adapters_read_back_and_those_of_another_model_are_refused", adapter_files)
        .test("a_model_reads_back_and_a_broken_one_is_refused_by_name", model_files)
        .test("settings_out_of_range_are_named", settings)
        .test("centroids_of_the_step_before_make_two_iterations_do_for_fifty", warm)
        .test("every_method_samples_alike_and_tells_what_it_read", methods)
        .needs(&[MODEL, CLIPS])
        .test("adapters_learn_through_a_radial_mask_and_go_on_with_the_same_bits", learning)
        .run()
}

fn model() -> Result<VideoTransformer> {
    Ok(VideoTransformer::read(file(MODEL)?)?)
}

fn floats(npz: &npz::Npz, name: &str) -> Result<Vec<f32>> {
    Ok(match npz.read(name)?.into_elements() {
        Elements::F16(values) => values.into_iter().map(f32::from).collect(),
        Elements::F32(values) => values,
        Elements::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        Elements::U8(values) => values.into_iter().map(f32::from).collect(),
        _ => return Err(format!("{name}: no numbers").into()),
    })
}

/// The clip of the reference with its noise, and its time.
fn noised(npz: &npz::Npz) -> Result<(Clip, Clip, Vec<f32>, f32)> {
    let bytes: Vec<u8> = floats(npz, "clip")?.into_iter().map(|byte| byte as u8).collect();
    let clip = Clip::from_bytes([16, 3, 64, 64], &bytes)?;
    let (noise, sigma) = (floats(npz, "noise")?, floats(npz, "sigma")?[0]);
    Ok((clip.noised(&noise, sigma), clip, noise, sigma))
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn velocity() -> Result {
    let pair = npz::open(file(PAIR)?)?;
    let (x, clip, noise, sigma) = noised(&pair)?;
    let model = model()?;
    let mut dense = Captured::new(model.config().heads);
    let velocity = model.velocity(&x, f64::from(sigma), None, &mut dense)?;
    let most = apart(velocity.values(), &floats(&pair, "velocity")?);
    assert!(most <= 5e-3, "{most} from the reference");
    let square = |((v, noise), x): ((&f32, &f32), &f32)| f64::from(v - (noise - x)).powi(2);
    let squares = velocity.values().iter().zip(&noise).zip(clip.values()).map(square);
    let mean = squares.sum::<f64>() / noise.len() as f64;
    let told = f64::from(floats(&pair, "mse_to_target")?[0]);
    assert!((mean - told).abs() < 1e-3 * told, "{mean}, {told} in the reference");
    Ok(())
}

fn captured() -> Result {
    let (x, ..) = noised(&npz::open(file(PAIR)?)?)?;
    let reference = npz::open(file(CAPTURED)?)?;
    let sigma = floats(&reference, "sigma")?[0];
    let model = model()?;
    let mut captured = Captured::new(model.config().heads);
    model.velocity(&x, f64::from(sigma), None, &mut captured)?;
    let layer = captured.layer(1).ok_or("six layers")?;
    for (found, name) in layer.iter().zip(["q", "k", "v"]) {
        let expected = floats(&reference, name)?;
        let most = apart(&found[..expected.len()], &expected);
        assert!(most <= 2e-2, "{name}: {most} from the reference");
    }
    Ok(())
}

/// A short run.
fn sampler(model: &VideoTransformer) -> Sampler {
    Sampler { frames: 4, steps: 3, seed: 5, ..Sampler::new(model.config()) }
}

fn threads() -> Result {
    let model = model()?;
    let run = |threads: usize, seed| -> Result<Clip> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let sampler = Sampler { seed, ..sampler(&model) };
        let mut attention = Sampling::new(Method::radial(), DensePolicy::default());
        Ok(pool.install(|| sampler.sample(&model, None, &mut attention, &mut |_| ()))?)
    };
    let (one, two) = (run(1, 5)?, run(2, 5)?);
    assert!(one == two, "on 1 thread and on 2");
    assert!(one != run(2, 6)?, "of another seed");
    assert!(one.values().iter().all(|value| value.is_finite()));
    Ok(())
}

fn policy() -> Result {
    let model = model()?;
    let sampler = Sampler { frames: 8, ..sampler(&model) };
    let mut attention = Sampling::new(Method::radial(), DensePolicy { layers: 2, timesteps: 1 });
    let mut steps = Vec::new();
    let sparse = sampler.sample(&model, None, &mut attention, &mut |step| steps.push(step))?;
    assert_eq!((steps, sparse.shape()), (vec![1, 2, 3], [8, 3, 64, 64]));
    let planned = attention.plan().ok_or("a plan")?.token_density();
    for call in attention.calls() {
        let expected = if call.step < 1 || call.layer < 2 { 1.0 } else { planned };
        assert!((call.avg_density - expected).abs() < 1e-12, "{call:?}");
    }
    assert_eq!(attention.calls().len(), 3 * 6);
    assert!((attention.density() - DensePolicy { layers: 2, timesteps: 1 }.run_density(planned, 3, 6)?).abs() < 1e-12);
    // All steps dense is dense.
    let run = |method, timesteps| {
        let mut attention = Sampling::new(method, DensePolicy { layers: 0, timesteps });
        sampler.sample(&model, None, &mut attention, &mut |_| ())
    };
    let dense = run(Method::Dense, 0)?;
    assert!(run(Method::radial(), 3)? == dense, "all steps are dense");
    assert!(sparse != dense, "no step is sparse");
    Ok(())
}

/// Attends densely, and clusters each layer three times: from the centroids of the step before, from random tokens, and
/// from others.
struct Clustered {
    semantic: SemanticAttention,
    cache: CentroidCache,
    dense: Captured,
    step: usize,
    /// Of each call from the fourth step on, what two warm iterations reach of what fifty cold ones do.
    reached: Vec<f64>,
    /// What fifty from other tokens reach of it.
    others: Vec<f64>,
}

impl Attend for Clustered {
    fn attend(&mut self, layer: usize, qkv: [Tensor<3>; 3]) -> std::result::Result<Tensor<3>, Error> {
        let output = self.dense.attend(layer, qkv)?;
        let tensors = self.dense.layers().last().expect("it has just attended").tensors()?;
        let (_, warm) = self.semantic.cluster(layer, &tensors, &mut self.cache)?;
        if self.step >= 3 {
            let (_, cold) = self.semantic.cluster(layer, &tensors, &mut CentroidCache::new())?;
            let other = SemanticAttention { seed: self.semantic.seed + 1, ..self.semantic };
            let (_, other) = other.cluster(layer, &tensors, &mut CentroidCache::new())?;
            assert!(warm.warm && warm.iterations <= 2 && !cold.warm && !other.warm, "{warm:?}");
            for inertia in [|found: &Found| found.q_inertia, |found: &Found| found.k_inertia] {
                let ([first, last], of) = (inertia(&cold), |found: &Found| inertia(found)[1]);
                self.reached.push((first - of(&warm)) / (first - last));
                self.others.push((first - of(&other)) / (first - last));
            }
        }
        Ok(output)
    }
}

/// Sparse VideoGen2's cache, over a trajectory of twenty steps: 98 % of the inertia that fifty iterations take off.
fn warm() -> Result {
    let model = model()?;
    let sampler = Sampler { frames: 8, steps: 20, ..sampler(&model) };
    let mut attention = Clustered {
        semantic: SemanticAttention::default(),
        cache: CentroidCache::new(),
        dense: Captured::new(model.config().heads),
        step: 0,
        reached: Vec::new(),
        others: Vec::new(),
    };
    // From noise, by Euler's steps.
    let shape = [8, 3, 64, 64];
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let noise = (0..shape.iter().product()).map(|_| (0..12).map(|_| next()).sum::<f32>() - 6.0).collect();
    let mut x = Clip::new(shape, noise)?;
    for (step, pair) in sampler.sigmas().windows(2).enumerate() {
        attention.step = step;
        let velocity = model.velocity(&x, pair[0], None, &mut attention)?;
        let ahead = (pair[1] - pair[0]) as f32;
        x = Clip::new(shape, x.values().iter().zip(velocity.values()).map(|(x, v)| x + ahead * v).collect())?;
    }
    let told = |reached: &[f64]| {
        (reached.iter().copied().fold(1.0, f64::min), reached.iter().sum::<f64>() / reached.len() as f64)
    };
    let reached = &attention.reached;
    let ((least, mean), (other_least, other_mean)) = (told(reached), told(&attention.others));
    println!("{} calls: two warm iterations reach {mean:.4} of fifty cold ones, {least:.4} at least", reached.len());
    println!("fifty from other random tokens reach {other_mean:.4} of them, {other_least:.4} at least");
    assert_eq!(reached.len(), 17 * 6 * 2);
    assert!(mean >= 0.98 && least >= 0.95, "{mean}, {least}");
    Ok(())
}

fn methods() -> Result {
    let model = model()?;
    let sampler = Sampler { frames: 8, ..sampler(&model) };
    let run = |method: &Method, threads: usize| -> Result<(Clip, Vec<Call>)> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let mut attention = Sampling::new(method.clone(), DensePolicy { layers: 1, timesteps: 1 });
        let clip = pool.install(|| sampler.sample(&model, None, &mut attention, &mut |_| ()))?;
        Ok((clip, attention.calls().to_vec()))
    };
    let (dense, _) = run(&Method::Dense, 2)?;
    let all = Budget { top_p: 1.0, min_ratio: 0.0 };
    let svg2 = |budget| {
        let semantic = SemanticAttention { budget, ..SemanticAttention::default() };
        Method::Svg2 { semantic, warm: false }
    };
    let everything = run(&svg2(all), 2)?;
    assert!(apart(everything.0.values(), dense.values()) < 1e-3, "all clusters are read");
    for method in [Method::radial(), Method::Svg1 { band: 2.0, block: 64 }, svg2(Budget { top_p: 0.5, min_ratio: 0.1 })]
    {
        let ((one, calls), (two, _)) = (run(&method, 1)?, run(&method, 2)?);
        assert!(one == two, "{method:?} on 1 thread and on 2");
        assert!(one != dense, "{method:?} read everything");
        for call in &calls {
            let mean = call.density.iter().sum::<f64>() / 2.0;
            assert!(call.density.len() == 2 && (mean - call.avg_density).abs() < 1e-12, "{call:?}");
            assert_eq!(call.avg_density == 1.0, call.step < 1 || call.layer < 1, "{call:?}");
            assert_eq!(call.clustering_seconds > 0.0, call.avg_density < 1.0 && matches!(method, Method::Svg2 { .. }));
        }
        if let Some(density) = method.density(model.config().grid(8))? {
            let last = calls.last().ok_or("calls")?;
            assert!((last.avg_density - density).abs() < 0.05, "{method:?}: {density} predicted, {last:?}");
        }
    }
    // With a warm cache the dense step clusters, too; what is sampled is another clip, since centroids are.
    let semantic = SemanticAttention { budget: Budget { top_p: 0.5, min_ratio: 0.1 }, ..SemanticAttention::default() };
    let warm = run(&Method::Svg2 { semantic, warm: true }, 2)?;
    let clusters = |call: &Call| call.clustering_seconds > 0.0;
    assert!(warm.1.iter().all(|call| clusters(call) == (call.layer > 0)), "every layer but the first");
    for method in [Method::Svg1 { band: f64::NAN, block: 64 }, Method::Svg1 { band: 99.0, block: 64 }] {
        assert!(run(&method, 1).is_err_and(|error| error.to_string().contains("band")));
    }
    assert!(
        run(&svg2(Budget { top_p: 1.5, min_ratio: 0.1 }), 1).is_err_and(|error| error.to_string().contains("top_p"))
    );
    let learned = Extension::new(model.clone(), &svg2(all), 1, 8).map(|_| ());
    assert!(learned.is_err_and(|error| error.to_string().contains("attention")));
    Ok(())
}

/// Adapters that change something: what a few steps of learning could have left.
fn changed(config: &Config, scratch: &Folder) -> Result<Adapters> {
    let adapters = Adapters::new(config, Lora { rank: 4, alpha: 8.0, ..Lora::default() }, 3)?;
    let path = scratch.at("adapters.safetensors");
    adapters.write(&path)?;
    // B in the place of A's numbers: read, put other bytes, read again.
    let mut bytes = std::fs::read(&path)?;
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into()?) as usize;
    for (i, four) in bytes[start..].as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *four = (((i * 7_919 % 1_009) as f32 / 1_009.0 - 0.5) * 0.1).to_le_bytes();
    }
    Ok(Adapters::from_bytes(&path, &bytes, config)?)
}

fn adapters() -> Result {
    let (model, scratch) = (model()?, Folder::new()?);
    let config = model.config();
    let x = Clip::new([2, 3, 64, 64], (0..2 * 3 * 64 * 64).map(|i| ((i % 97) as f32 / 48.5) - 1.0).collect())?;
    let run = |model: &VideoTransformer, adapters| {
        model.velocity(&x, 0.6, adapters, &mut Captured::new(config.heads)).map(|clip| clip.values().to_vec())
    };
    let plain = run(&model, None)?;
    let fresh = Adapters::new(config, Lora::default(), 1)?;
    assert!(run(&model, Some(&fresh))? == plain, "B is 0");
    let adapters = changed(config, &scratch)?;
    let beside = run(&model, Some(&adapters))?;
    assert!(apart(&beside, &plain) > 1e-2);
    let merged = model.merged(&adapters);
    let most = apart(&run(&merged, None)?, &beside);
    assert!(most < 1e-4, "{most} after merging");
    // Weights come back to 1e-6, told by the files.
    let (before, after) = (scratch.at("before.safetensors"), scratch.at("after.safetensors"));
    model.write(&before)?;
    merged.unmerged(&adapters).write(&after)?;
    let numbers = |path: &Path| -> Result<Vec<f32>> {
        let bytes = std::fs::read(path)?;
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into()?) as usize;
        Ok(bytes[start..].as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect())
    };
    let most = apart(&numbers(&before)?, &numbers(&after)?);
    assert!(most <= 1e-6, "{most} after merging and unmerging");
    // Only what is a target changes.
    let only = Lora { targets: vec![Projection::V], ..Lora::default() };
    let only = Adapters::new(config, only, 1)?;
    assert!(run(&model, Some(&only))? == plain, "B is 0");
    Ok(())
}

fn adapter_files() -> Result {
    let (model, scratch) = (model()?, Folder::new()?);
    let config = model.config();
    let adapters = changed(config, &scratch)?;
    let path = scratch.at("written.safetensors");
    adapters.write(&path)?;
    let read = Adapters::read(&path, config)?;
    assert_eq!(read.lora(), adapters.lora());
    let again = scratch.at("again.safetensors");
    read.write(&again)?;
    let bytes = std::fs::read(&path)?;
    assert!(bytes == std::fs::read(&again)?, "written again");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("base_model.model.blocks.5.attn.o.lora_B.weight"), "peft's names");

    let narrow = Config { layers: 5, ..config.clone() };
    let error = Adapters::read(&path, &narrow).unwrap_err();
    assert!(matches!(error, Error::Model { .. }) && error.to_string().contains("5 layers"), "{error}");
    broken(&bytes, |bytes| Adapters::from_bytes(Path::new("a"), bytes, config).err());
    Ok(())
}

/// Cut anywhere, and with any byte of the header changed, a file is refused or read, within bounds.
fn broken(bytes: &[u8], read: impl Fn(&[u8]) -> Option<Error>) {
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for cut in [0, 7, 8, 9, header / 2, header, header + 1, bytes.len() - 1] {
        let error = within_limits(|| format!("cut at {cut}"), || read(&bytes[..cut]));
        assert!(matches!(error, Some(Error::Model { .. })), "cut at {cut}: {error:?}");
    }
    for at in (0..header).step_by(header / 150 + 1) {
        let mut other = bytes.to_vec();
        other[at] ^= 0x15;
        let error = within_limits(|| format!("byte {at}"), || read(&other));
        assert!(matches!(error, None | Some(Error::Model { .. })), "byte {at}: {error:?}");
    }
}

fn model_files() -> Result {
    let bytes = std::fs::read(file(MODEL)?)?;
    let (model, scratch) = (model()?, Folder::new()?);
    let path = scratch.at("model.safetensors");
    model.write(&path)?;
    let read = VideoTransformer::read(&path)?;
    let again = scratch.at("again.safetensors");
    read.write(&again)?;
    assert!(std::fs::read(&path)? == std::fs::read(&again)?, "written again");
    broken(&bytes, |bytes| VideoTransformer::from_bytes(Path::new("m"), bytes).err());
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).ok_or(from)?;
        let mut other = bytes.clone();
        other[at..at + to.len()].copy_from_slice(to.as_bytes());
        match VideoTransformer::from_bytes(Path::new("m.safetensors"), &other) {
            Ok(_) => Err(Failure::from("it was read")),
            Err(error) => Ok(error.to_string()),
        }
    };
    for (from, to, said) in [
        ("\\\"layers\\\": 6", "\\\"layers\\\": 7", "blocks.6.attn.q.weight: it is missing"),
        ("\\\"layers\\\": 6", "\\\"layers\\\": 5", "101 tensors"),
        ("\\\"heads\\\": 2", "\\\"heads\\\": 0", "a size is 0"),
        ("\\\"dim\\\": 128", "\\\"dim\\\": 999", "heads of 64"),
        ("[24, 20, 20]", "[24, 20, 22]", "rope_dims"),
        ("[24, 20, 20]", "[25, 19, 20]", "rope_dims"),
        ("eps-x0", "x0-eps", "it predicts"),
        ("flow velocity", "flow-velocity", "it predicts"),
        ("blocks.3.fc2.bias", "blocks.3.fc2.bios", "blocks.3.fc2.bias: it is missing"),
    ] {
        let error = replaced(from, to)?;
        assert!(error.contains(said) && error.contains("m.safetensors"), "{to}: {error}");
    }
    // A weight that is no number, by name.
    let mut other = bytes.clone();
    let last = other.len() - 1;
    other[last] = 0x7f;
    let error = VideoTransformer::from_bytes(Path::new("m"), &other).unwrap_err().to_string();
    assert!(error.contains("element") && error.contains("NaN"), "{error}");
    Ok(())
}

fn settings() -> Result {
    let model = model()?;
    let config = model.config();
    let good = sampler(&model);
    let refused = |sampler: Sampler, field: &str| {
        let mut attention = Sampling::new(Method::Dense, DensePolicy::default());
        let error = sampler.sample(&model, None, &mut attention, &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::Parameter { .. } | Error::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains(field), "{error}");
    };
    refused(Sampler { frames: 0, ..good.clone() }, "frames");
    refused(Sampler { frames: usize::MAX / 2, ..good.clone() }, "frames");
    // Refused before noise of gigabytes is drawn.
    within_limits(|| "a long clip".into(), || refused(Sampler { frames: 65_536, ..good.clone() }, "frames"));
    assert!(
        Extension::new(model.clone(), &Method::Dense, 1, 65_536)
            .is_err_and(|error| error.to_string().contains("frames"))
    );
    refused(Sampler { steps: 0, ..good.clone() }, "steps");
    refused(Sampler { shift: f64::NAN, ..good.clone() }, "shift");
    let clip = |frames| Clip::new([frames, 3, 64, 64], vec![0.0; frames * 3 * 64 * 64]);
    for sigma in [0.0, 1.5, f64::NAN] {
        refused(Sampler { from: Some((clip(4)?, sigma)), ..good.clone() }, "strength");
    }
    let other = Sampler { from: Some((clip(5)?, 0.5)), ..good.clone() };
    let mut attention = Sampling::new(Method::Dense, DensePolicy::default());
    let error = other.sample(&model, None, &mut attention, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("begin at"), "{error}");
    for (lora, field) in [
        (Lora { rank: 0, ..Lora::default() }, "rank"),
        (Lora { rank: 129, ..Lora::default() }, "rank"),
        (Lora { alpha: f64::NAN, ..Lora::default() }, "alpha"),
        (Lora { targets: vec![], ..Lora::default() }, "targets"),
        (Lora { targets: vec![Projection::Q, Projection::Q], ..Lora::default() }, "targets"),
    ] {
        let error = Adapters::new(config, lora, 0).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    let small = Clip::new([1, 3, 32, 32], vec![0.0; 3 * 32 * 32])?;
    let error = model.velocity(&small, 0.5, None, &mut Captured::new(2)).unwrap_err();
    assert!(error.to_string().contains("the clip"), "{error}");
    let nan = Clip::new([1, 3, 64, 64], vec![f32::NAN; 3 * 64 * 64])?;
    let error = model.velocity(&nan, 0.5, None, &mut Captured::new(2)).unwrap_err();
    assert!(error.to_string().contains("not finite"), "{error}");
    Ok(())
}

/// Four frames learned from, four held out, of each of three clips.
fn cut(model: &VideoTransformer) -> Result<Cut> {
    let clips = npz::open(file(CLIPS)?)?.read("clips")?;
    let bytes = clips.elements().as_u8().ok_or("bytes")?;
    let video = |bytes: &[u8]| Clip::from_bytes([16, 3, 64, 64], bytes).map(|clip| clip.to_video());
    let videos = bytes.chunks(16 * 3 * 64 * 64).map(|bytes| Ok(("a clip".into(), video(bytes)?)));
    Ok(Cut::new(model.config(), videos.collect::<Result<Vec<_>>>()?, 4)?)
}

fn learning() -> Result {
    let (model, scratch) = (model()?, Folder::new()?);
    let cut = cut(&model)?;
    let adapters = || Adapters::new(model.config(), Lora { rank: 4, alpha: 4.0, ..Lora::default() }, 1);
    let task = Extension::new(model.clone(), &Method::radial(), 1, 4)?;
    let fit = Fit { epochs: 2, rate: 2e-3, optimizer: Choice::adamw(0.0), ..Fit::default() };
    let data = Data { train: Arc::new(cut.lessons(3, 1)), validation: None, threads: 0 };
    let trained = fit.run(&task, adapters()?, &data, None, &mut ())?;
    let again = fit.run(&task, adapters()?, &data, None, &mut ())?;
    let bytes = |adapters: &Adapters| -> Result<Vec<u8>> {
        let path = scratch.at("a.safetensors");
        adapters.write(&path)?;
        Ok(std::fs::read(path)?)
    };
    assert!(bytes(&trained.last)? == bytes(&again.last)?, "the same recipe twice");
    assert!(bytes(&trained.last)? != bytes(&adapters()?)?, "nothing was learned");
    // The same clip, noise and time, before and after a few steps on it alone.
    let device = Device::flex();
    let batch = || cut.lessons(1, 1).batch(Position::default(), &[0]);
    let loss = |adapters: &Adapters| task.measure(adapters, batch(), &device).loss.into_scalar::<f32>();
    let fit = Fit { epochs: 4, ..fit };
    let data = Data { train: Arc::new(Same(cut.lessons(1, 1))), validation: None, threads: 0 };
    let learned = fit.run(&task, adapters()?, &data, None, &mut ())?.last;
    let (before, after) = (loss(&adapters()?), loss(&learned));
    assert!(after < 0.98 * before, "{before} became {after}");
    assert!(task.attention_seconds() > 0.0 && task.density() < 1.0);
    let error = Cut::new(model.config(), vec![("short.mp4".into(), cut_video()?)], 16).unwrap_err().to_string();
    assert!(error.contains("short.mp4") && error.contains("36"), "{error}");
    Ok(())
}

fn cut_video() -> Result<tersor_data::Video> {
    tersor_data::Video::new(64, 64, vec![0; 16 * 64 * 64 * 3]).ok_or_else(|| "a video".into())
}

/// The first clip of the first epoch, again and again.
struct Same<S>(S);

impl<S: Source> Source for Same<S> {
    type Batch = S::Batch;

    fn settings(&self) -> &Settings {
        self.0.settings()
    }

    fn items(&self) -> usize {
        self.0.items()
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        self.0.order(epoch)
    }

    fn batch(&self, _: Position, items: &[u32]) -> S::Batch {
        self.0.batch(Position::default(), items)
    }
}
