//! Attention by clusters: against published maps and iterations, against the formula, and against plainer plans on a real head.

use tersor_data::testing::{Counting, Failure, Folder, Trials, within_limits};
use tersor_data::{Array, Elements, npz, shared};
use tersor_generate::attend::{Plan, Tensors, attend, run, verify};
use tersor_generate::baseline::{frame_window, random_blocks};
use tersor_generate::decay::{QueriesKeys, Settings as Analysis, analyze};
use tersor_generate::means::WithMeans;
use tersor_generate::quality::{Curve, Judge, Quality};
use tersor_generate::semantic::{Centroids, Site, Text, map};
use tersor_generate::svg1::Kind;
use tersor_generate::{
    Block, Budget, CentroidCache, ClusterFile, ClusterMask, Error, Family, Grid, Groups, HeadMask, Radial,
    SemanticAttention, Svg1,
};
use tersor_kernels::kmeans::{Settings, lloyd, reference};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Result<T = ()> = std::result::Result<T, Failure>;

const CAPTURED: &str = "generation/vdit_qkv_layer1_head0.npz";
const MAPS: &str = "generation/svg2_map_reference.npz";
const KMEANS: &str = "generation/kmeans_reference.npz";

fn main() {
    Trials::new()
        .test("a_plan_that_reads_all_is_dense_attention", all)
        .test("any_map_is_attention_over_its_pairs", any_map)
        .test("grouped_queries_share_the_clusters_of_their_keys", grouped)
        .test("text_is_read_by_the_video_and_padding_by_itself_alone", text)
        .test("means_stand_for_what_is_left_out", means)
        .test("means_of_equal_keys_leave_nothing_out", equal_keys)
        .test("text_and_padding_have_no_means", text_means)
        .test("the_same_seed_gives_the_same_bytes_on_any_number_of_threads", seeds)
        .test("a_warm_step_begins_where_the_one_before_ended", warm)
        .test("empty_clusters_and_single_tokens_are_attended", small)
        .test("a_least_and_a_full_share_are_what_they_say", budgets)
        .test("what_cannot_be_clustered_is_named", refusals)
        .test("plans_of_too_many_groups_are_refused_before_they_are_made", too_many)
        .test("plans_and_caches_come_back_from_their_files", files)
        .test("damaged_plans_are_refused_naming_the_array", damaged)
        .test("recall_is_the_weight_that_a_mask_keeps", recall)
        .test("a_head_is_spatial_or_temporal_as_its_weights_are", kinds)
        .test("curves_are_read_between_their_points", curves)
        .needs(&[MAPS])
        .test("maps_are_the_published_ones", maps)
        .needs(&[KMEANS])
        .test("iterations_are_the_published_ones", iterations)
        .needs(&[CAPTURED])
        .test("on_a_real_head_clusters_lose_less_than_positions_radial_and_svg1", real)
        .test("on_a_real_head_means_take_away_half_of_the_error", real_means)
        .test("on_a_real_head_warm_iterations_reach_cold_ones", real_warm)
        .run()
}

/// Sums of four uniform numbers, about N(0, 1).
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| (0..4).map(|_| next()).sum::<f32>() * 0.866).collect()
}

fn numbers(file: &npz::Npz, name: &str) -> Result<Vec<f32>> {
    Ok(match file.read(name)?.into_elements() {
        Elements::F16(x) => x.into_iter().map(f32::from).collect(),
        Elements::F32(x) => x,
        other => return Err(format!("{name} holds {:?}", other.element_type()).into()),
    })
}

fn whole(file: &npz::Npz, name: &str) -> Result<Vec<usize>> {
    Ok(match file.read(name)?.into_elements() {
        Elements::I64(x) => x.into_iter().map(|x| x as usize).collect(),
        Elements::I32(x) => x.into_iter().map(|x| x as usize).collect(),
        other => return Err(format!("{name} holds {:?}", other.element_type()).into()),
    })
}

fn too_many() -> Result {
    let refused = |what: &str, plan: &dyn Fn() -> std::result::Result<(), Error>| {
        let error = within_limits(|| what.into(), plan).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{what}: {error}");
    };
    refused("pairs of blocks", &|| Svg1::new(20_000, 128).head(Kind::Temporal).map(|_| ()));
    refused("blocks", &|| Svg1::new(4_000_000, 1_000).head(Kind::Spatial).map(|_| ()));
    refused("pairs of frames", &|| frame_window(20_000, 1, 1).map(|_| ()));
    Ok(())
}

/// Queries, keys and values that own their numbers.
struct Owned {
    qkv: [Vec<f32>; 3],
    q: [usize; 3],
    k: [usize; 3],
}

impl Owned {
    fn noise(heads: usize, tokens: usize, width: usize) -> Self {
        let qkv = [1, 2, 3].map(|seed| noise(heads * tokens * width, seed));
        Self { qkv, q: [heads, tokens, width], k: [heads, tokens, width] }
    }

    fn captured() -> Result<Self> {
        let file = npz::open(shared::file(CAPTURED).ok_or("no file")?)?;
        let qkv = [numbers(&file, "q")?, numbers(&file, "k")?, numbers(&file, "v")?];
        Ok(Self { qkv, q: [1, 4096, 64], k: [1, 4096, 64] })
    }

    fn tensors(&self) -> std::result::Result<Tensors<'_>, Error> {
        let [q, k, v] = &self.qkv;
        Tensors::new((q, self.q), (k, self.k), (v, self.k))
    }
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn few(cq: usize, ck: usize) -> SemanticAttention {
    SemanticAttention { cq: Some(cq), ck: Some(ck), iters_init: 6, ..SemanticAttention::default() }
}

fn all() -> Result {
    let owned = Owned::noise(2, 700, 40);
    let tensors = owned.tensors()?;
    let everything = SemanticAttention { budget: Budget { top_p: 1.0, min_ratio: 0.0 }, ..few(9, 21) };
    let (attended, stats) = everything.step(0, &tensors, &mut CentroidCache::new())?;
    let dense = attend(&tensors, Plan::Dense)?;
    assert_eq!((stats.density, attended.pairs), (vec![1.0, 1.0], dense.pairs));
    let apart = furthest(&attended.output, &dense.output);
    assert!(apart <= 1e-5, "{apart}");
    Ok(())
}

fn any_map() -> Result {
    let owned = Owned::noise(3, 333, 24);
    let tensors = owned.tensors()?;
    for (top_p, min_ratio) in [(0.0, 0.0), (0.3, 0.0), (0.5, 0.2), (0.9, 0.1)] {
        let (clustered, _) = few(7, 17).cluster(3, &tensors, &mut CentroidCache::new())?;
        let mask = clustered.mask(Budget { top_p, min_ratio })?;
        let attended = run(&tensors, Plan::Clusters(&mask))?;
        let apart = verify(&tensors, Plan::Clusters(&mask), &attended, 333);
        assert!(apart <= 2e-5, "{top_p}: {apart}");
        assert!((attended.density() - mask.density()).abs() < 1e-12 && attended.empty == 0);
    }
    Ok(())
}

fn grouped() -> Result {
    let (q, k, v) = (noise(4 * 90 * 16, 1), noise(2 * 120 * 16, 2), noise(2 * 120 * 24, 3));
    let tensors = Tensors::new((&q, [4, 90, 16]), (&k, [2, 120, 16]), (&v, [2, 120, 24]))?;
    let (clustered, found) = few(4, 11).cluster(0, &tensors, &mut CentroidCache::new())?;
    let mask = clustered.mask(Budget { top_p: 0.5, min_ratio: 0.0 })?;
    assert_eq!((mask.heads().len(), found.clusters), (4, [4, 11]));
    assert!(mask.head(0).keys() == mask.head(1).keys() && mask.head(1).keys() != mask.head(2).keys());
    let attended = run(&tensors, Plan::Clusters(&mask))?;
    let apart = verify(&tensors, Plan::Clusters(&mask), &attended, 90);
    assert!(apart <= 2e-5 && attended.output.len() == 4 * 90 * 24, "{apart}");
    Ok(())
}

fn text() -> Result {
    let (video, prompt, padding) = (200, 9, 14);
    let owned = Owned::noise(1, video + prompt + padding, 16);
    let tensors = owned.tensors()?;
    let semantic = SemanticAttention { text: Text { prompt, padding }, ..few(5, 12) };
    let budget = Budget { top_p: 0.0, min_ratio: 0.0 };
    let (clustered, _) = semantic.cluster(0, &tensors, &mut CentroidCache::new())?;
    let mask = clustered.mask(budget)?;
    let read = |query: usize| -> Vec<usize> {
        let mut runs = Vec::new();
        mask.head(0).runs(query, &mut runs);
        runs.into_iter().flatten().collect()
    };
    for query in 0..video {
        let keys = read(query);
        assert!((video..video + prompt).all(|key| keys.contains(&key)), "{query}");
        assert!(keys.iter().all(|&key| key < video + prompt) && keys.len() > prompt, "{query}");
    }
    for query in video..video + prompt {
        assert_eq!(read(query), (0..video + prompt).collect::<Vec<_>>());
    }
    for query in video + prompt..video + prompt + padding {
        assert_eq!(read(query), (video + prompt..video + prompt + padding).collect::<Vec<_>>());
    }
    let attended = run(&tensors, Plan::Clusters(&mask))?;
    assert!(verify(&tensors, Plan::Clusters(&mask), &attended, 223) <= 2e-5);
    let alone = SemanticAttention { text: Text { prompt: 223, padding: 0 }, ..semantic };
    let error = alone.cluster(0, &tensors, &mut CentroidCache::new()).unwrap_err();
    assert!(matches!(error, Error::Parameter { field: "text", .. }), "{error}");
    Ok(())
}

fn means() -> Result {
    let (q, k, v) = (noise(4 * 90 * 16, 1), noise(2 * 120 * 16, 2), noise(2 * 120 * 24, 3));
    let tensors = Tensors::new((&q, [4, 90, 16]), (&k, [2, 120, 16]), (&v, [2, 120, 24]))?;
    let (clustered, _) = few(4, 11).cluster(0, &tensors, &mut CentroidCache::new())?;
    for top_p in [0.0, 0.4, 0.8, 1.0] {
        let mask = clustered.mask(Budget { top_p, min_ratio: 0.0 })?;
        let (plan, plain) = (Plan::WithMeans(WithMeans::new(&mask)), run(&tensors, Plan::Clusters(&mask))?);
        let attended = run(&tensors, plan)?;
        let apart = verify(&tensors, plan, &attended, 90);
        assert!(apart <= 2e-5, "{top_p}: {apart}");
        // Each query reads a mean for each cluster that its own leaves out.
        let left = |head: &HeadMask| -> usize {
            let sizes = head.queries().sizes();
            (0..4).map(|group| sizes[group] * (11 - head.row(group).len())).sum()
        };
        let left: usize = mask.heads().iter().map(left).sum();
        assert_eq!(attended.pairs, plain.pairs + left as u64);
        let density = (0..4).map(|head| WithMeans::new(&mask).density(head)).sum::<f64>() / 4.0;
        assert!((attended.density() - density).abs() < 1e-12);
        assert!((attended.output == plain.output) == (left == 0), "{top_p}: {left} means");
        assert!(verify(&tensors, Plan::Clusters(&mask), &attended, 90) > 1e-3 || left == 0, "the means show");
    }
    // Groups that read nothing, and groups of nothing.
    let groups = |labels: &[u32], count| Groups::new("labels", labels.to_vec(), count);
    let map = [false, false, false, false, true, false, false, true];
    let head = HeadMask::new(groups(&[0, 1, 0, 1], 2)?, groups(&[1, 1, 3, 0], 4)?, &map)?;
    let (four, mask) = (Owned::noise(1, 4, 8), ClusterMask::new(vec![head])?);
    let plan = Plan::WithMeans(WithMeans::new(&mask));
    let attended = run(&four.tensors()?, plan)?;
    assert!(verify(&four.tensors()?, plan, &attended, 4) <= 2e-5);
    assert_eq!((attended.empty, attended.pairs), (0, 2 * 3 + 2 * 3), "the second group reads 2 keys and a mean");
    assert_eq!(run(&four.tensors()?, Plan::Clusters(&mask))?.empty, 2);
    Ok(())
}

/// Where the keys of a group are equal its mean says all, whatever is read: the output is that of dense attention.
fn equal_keys() -> Result {
    let (tokens, groups, width) = (240, 6, 16);
    let mut owned = Owned::noise(2, tokens, width);
    for (token, key) in owned.qkv[1].chunks_exact_mut(width).enumerate() {
        let like = noise(width, (token * groups / tokens) as u32 + 50);
        key.copy_from_slice(&like);
    }
    let tensors = owned.tensors()?;
    let labels = |count: usize| (0..tokens).map(|token| (token * count / tokens) as u32).collect::<Vec<_>>();
    let dense = attend(&tensors, Plan::Dense)?;
    for least in 0..groups {
        let reads: Vec<bool> = (0..5 * groups).map(|at| (at * 7 + at / groups) % groups < least).collect();
        let head = HeadMask::new(Groups::new("q", labels(5), 5)?, Groups::new("k", labels(groups), groups)?, &reads)?;
        let mask = ClusterMask::new(vec![head])?;
        let attended = run(&tensors, Plan::WithMeans(WithMeans::new(&mask)))?;
        assert!(furthest(&attended.output, &dense.output) <= 1e-5, "{least}");
        assert!(furthest(&attended.logarithms, &dense.logarithms) <= 1e-5, "{least}");
        assert!(attended.pairs < dense.pairs);
    }
    Ok(())
}

fn text_means() -> Result {
    let (video, prompt, padding) = (200, 9, 14);
    let mut owned = Owned::noise(1, video + prompt + padding, 16);
    let budget = Budget { top_p: 0.0, min_ratio: 0.0 };
    let semantic = SemanticAttention { text: Text { prompt, padding }, budget, means: true, ..few(5, 12) };
    let step = |owned: &Owned| -> Result<_> {
        let (attended, stats) = semantic.step(0, &owned.tensors()?, &mut CentroidCache::new())?;
        assert!((stats.density[0] - attended.density()).abs() < 1e-12);
        Ok(attended)
    };
    let before = step(&owned)?;
    let mask = semantic.cluster(0, &owned.tensors()?, &mut CentroidCache::new())?.0.mask(budget)?;
    let plan = Plan::WithMeans(semantic.text.with_means(&mask));
    assert!(verify(&owned.tensors()?, plan, &before, 223) <= 2e-5);
    // Other values of padding change what padding reads, and nothing else.
    owned.qkv[2][(video + prompt) * 16..].fill(1e3);
    let after = step(&owned)?;
    let seen = (video + prompt) * 16;
    assert!(before.output[..seen] == after.output[..seen] && before.output[seen..] != after.output[seen..]);
    Ok(())
}

fn seeds() -> Result {
    let owned = Owned::noise(2, 900, 32);
    let tensors = owned.tensors()?;
    let on = |threads: usize, seed: u64| -> Result<_> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let mut cache = CentroidCache::new();
        let semantic = SemanticAttention { seed, means: seed == 5, ..few(8, 20) };
        let output = pool.install(|| -> Result<_> {
            let first = semantic.step(1, &tensors, &mut cache)?.0.output;
            Ok([first, semantic.step(1, &tensors, &mut cache)?.0.output])
        })?;
        Ok((output.map(|output| output.into_iter().map(f32::to_bits).collect::<Vec<_>>()), cache))
    };
    let one = on(1, 5)?;
    assert!(one == on(2, 5)? && one == on(5, 5)?, "threads change bytes");
    assert!(one.0 != on(2, 6)?.0, "the seed changes nothing");
    Ok(())
}

fn warm() -> Result {
    let owned = Owned::noise(2, 600, 16);
    let tensors = owned.tensors()?;
    let (semantic, mut cache) = (few(5, 12), CentroidCache::new());
    let site = Site { layer: 2, branch: 1 };
    let (_, cold) = semantic.cluster(site, &tensors, &mut cache)?;
    let kept = cache.get(site).ok_or("nothing is kept")?.clone();
    let (_, warm) = semantic.cluster(site, &tensors, &mut cache)?;
    assert!(!cold.warm && warm.warm && cold.iterations > warm.iterations && warm.iterations <= 2);
    assert!(warm.q_inertia[0] <= cold.q_inertia[1] && warm.k_inertia[0] <= cold.k_inertia[1]);
    // Another layer and the other branch are cold.
    assert!(!semantic.cluster(2, &tensors, &mut cache)?.1.warm && cache.len() == 2);
    assert_ne!(cache.get(site), Some(&kept));
    let other = SemanticAttention { ck: Some(13), ..semantic };
    let error = other.cluster(site, &tensors, &mut cache).unwrap_err();
    assert!(matches!(error, Error::Unlike { what: "cached clusters of keys", here: 13, there: 12 }), "{error}");
    cache.reset();
    assert!(cache.is_empty() && !other.cluster(site, &tensors, &mut cache)?.1.warm);
    Ok(())
}

fn small() -> Result {
    let one = Owned::noise(2, 1, 8);
    let (attended, stats) = SemanticAttention::default().step(0, &one.tensors()?, &mut CentroidCache::new())?;
    assert!(furthest(&attended.output, &one.qkv[2]) <= 1e-6 && stats.density == [1.0, 1.0]);
    // Tokens of which all are alike: one cluster takes them, the others are empty.
    let same = Owned { qkv: [vec![0.5; 64 * 8], vec![0.25; 64 * 8], noise(64 * 8, 3)], q: [1, 64, 8], k: [1, 64, 8] };
    let tensors = same.tensors()?;
    let (attended, stats) = few(3, 5).step(0, &tensors, &mut CentroidCache::new())?;
    assert_eq!((stats.density, attended.empty), (vec![1.0], 0));
    let dense = attend(&tensors, Plan::Dense)?;
    assert!(furthest(&attended.output, &dense.output) <= 1e-5);
    // A cluster of keys in which there is none, and one of queries.
    let groups = |labels: &[u32], count| Groups::new("labels", labels.to_vec(), count);
    let head = HeadMask::new(groups(&[2, 0, 0], 3)?, groups(&[1, 1, 3], 4)?, &[true; 12])?;
    assert_eq!((head.pairs(), head.density(), head.queries().sizes()), (9, 1.0, vec![2, 0, 1]));
    let three = Owned::noise(1, 3, 8);
    let mask = ClusterMask::new(vec![head])?;
    let attended = run(&three.tensors()?, Plan::Clusters(&mask))?;
    assert!(verify(&three.tensors()?, Plan::Clusters(&mask), &attended, 3) <= 2e-5);
    Ok(())
}

fn budgets() -> Result {
    let (q, k) = (noise(6 * 16, 1), noise(10 * 16, 2));
    let sizes = [4, 1, 0, 9, 30, 2, 2, 0, 7, 5];
    let reads = |top_p, min_ratio| -> Result<Vec<usize>> {
        let map = map::top_p((&q, &k, 16), &sizes, 0.25, Budget { top_p, min_ratio })?;
        Ok(map.chunks_exact(10).map(|row| row.iter().filter(|reads| **reads).count()).collect())
    };
    assert_eq!(reads(0.0, 0.0)?, [1; 6]);
    assert_eq!(reads(0.0, 0.35)?, [3; 6]);
    assert_eq!(reads(1.0, 0.0)?, [8; 6], "all that are not empty");
    let ladder: Vec<_> = [0.1, 0.5, 0.9].into_iter().map(|top_p| reads(top_p, 0.0)).collect::<Result<_>>()?;
    assert!((0..6).all(|row| ladder[0][row] <= ladder[1][row] && ladder[1][row] <= ladder[2][row]));
    for (top_p, min_ratio, field) in
        [(-0.1, 0.0, "top_p"), (1.1, 0.0, "top_p"), (f64::NAN, 0.0, "top_p"), (0.5, 2.0, "min_ratio")]
    {
        let error = map::top_p((&q, &k, 16), &sizes, 0.25, Budget { top_p, min_ratio }).unwrap_err();
        assert!(error.to_string().starts_with(field), "{error}");
    }
    assert!(map::top_p((&q, &k, 16), &sizes[1..], 0.25, Budget { top_p: 0.5, min_ratio: 0.0 }).is_err());
    Ok(())
}

fn refusals() -> Result {
    let owned = Owned::noise(2, 50, 8);
    let tensors = owned.tensors()?;
    let told = |semantic: SemanticAttention| {
        semantic.step(0, &tensors, &mut CentroidCache::new()).map(drop).unwrap_err().to_string()
    };
    let plain = few(3, 5);
    let budget = |top_p, min_ratio| SemanticAttention { budget: Budget { top_p, min_ratio }, ..plain };
    for (semantic, start) in [
        (SemanticAttention { cq: Some(51), ..plain }, "cq is 51"),
        (SemanticAttention { ck: Some(51), ..plain }, "ck is 51"),
        (SemanticAttention { cq: Some(0), ..plain }, "cq is 0"),
        (SemanticAttention { iters_init: 0, ..plain }, "iters_init is 0"),
        (SemanticAttention { iters_step: 0, ..plain }, "iters_step is 0"),
        (budget(1.5, 0.1), "top_p is 1.5"),
        (budget(0.9, -0.1), "min_ratio is -0.1"),
    ] {
        let told = told(semantic);
        assert!(told.starts_with(start), "{told}");
    }
    for (tensor, what) in [(0, "q"), (1, "k"), (2, "v")] {
        let mut odd = Owned::noise(2, 50, 8);
        odd.qkv[tensor][50 * 8 + 7 * 8 + 3] = f32::NAN;
        let mut cache = CentroidCache::new();
        let error = plain.step(0, &odd.tensors()?, &mut cache).map(drop).unwrap_err().to_string();
        assert!(error.starts_with(what) && error.contains("head 1") && error.contains('7'), "{error}");
    }
    let causal = plain.cluster(0, &tensors.causal(true), &mut CentroidCache::new()).unwrap_err();
    assert!(causal.to_string().starts_with("causal"), "{causal}");
    assert!(ClusterMask::new(Vec::new()).is_err());
    let three = ClusterMask::new(vec![frame_window(5, 10, 1)?.head(0).clone(); 3])?;
    assert!(matches!(run(&tensors, Plan::Clusters(&three)), Err(Error::Unlike { what: "heads", .. })));
    let few = frame_window(4, 10, 1)?;
    assert!(matches!(run(&tensors, Plan::Clusters(&few)), Err(Error::Unlike { what: "queries", .. })));
    Ok(())
}

fn files() -> Result {
    let folder = Folder::new()?;
    let (path, kept) = (folder.at("plan.npz"), folder.at("cache.npz"));
    let owned = Owned::noise(2, 80, 8);
    let tensors = owned.tensors()?;
    let mut cache = CentroidCache::new();
    let (clustered, _) = few(4, 9).cluster(Site { layer: 7, branch: 1 }, &tensors, &mut cache)?;
    let file = clustered.file(Budget { top_p: 0.6, min_ratio: 0.0 })?;
    file.write(&path)?;
    let again = ClusterFile::read(&path)?;
    assert_eq!(again, file);
    let shapes = again.centroids.as_ref().ok_or("no centroids")?.each_ref().map(|array| array.shape().to_vec());
    assert_eq!(shapes, [vec![2, 4, 8], vec![2, 9, 8]]);
    let outputs = [&file, &again].map(|file| run(&tensors, Plan::Clusters(&file.mask)).map(|run| run.output));
    let [Ok(here), Ok(there)] = outputs else { return Err("a plan is not run".into()) };
    assert_eq!(here, there);
    cache.write(&kept)?;
    assert_eq!(CentroidCache::read(&kept)?, cache);
    Ok(())
}

fn damaged() -> Result {
    let array = |shape: &[usize], elements: Elements| Array::new(shape, elements).ok_or("the shape fits");
    let labels = |labels: [i64; 4]| array(&[1, 4], Elements::I64(labels.to_vec()));
    let map = || array(&[1, 2, 3], Elements::Bool(vec![true; 6]));
    let folder = Folder::new()?;
    let path = folder.at("p.npz");
    let told = |q: Array, k: Array, map: Array| -> Result<String> {
        npz::write(&path, &[("q_labels", &q), ("k_labels", &k), ("map", &map)])?;
        Ok(ClusterFile::read(&path).map(drop).map_err(|error| error.to_string()).err().unwrap_or_default())
    };
    assert_eq!(told(labels([0, 1, 0, 1])?, labels([2, 1, 0, 1])?, map()?)?, "");
    let good = || labels([0, 1, 0, 1]);
    for (found, named) in [
        (told(labels([0, 2, 0, 1])?, good()?, map()?)?, "q_labels: token 1 is in group 2"),
        (told(good()?, labels([0, 3, 0, 1])?, map()?)?, "k_labels: token 1 is in group 3"),
        (told(labels([0, -1, 0, 1])?, good()?, map()?)?, "q_labels: element 1 is -1"),
        (told(labels([0, 1 << 40, 0, 1])?, good()?, map()?)?, "q_labels: element 1"),
        (told(array(&[2, 2], Elements::I64(vec![0; 4]))?, good()?, map()?)?, "q_labels has the shape [2, 2]"),
        (told(array(&[1, 4], Elements::F32(vec![0.0; 4]))?, good()?, map()?)?, "q_labels: float32"),
        (told(array(&[1, 0], Elements::I64(vec![]))?, good()?, map()?)?, "q_labels has the shape [1, 0]"),
        (told(good()?, good()?, array(&[1, 2, 0], Elements::Bool(vec![]))?)?, "map has the shape [1, 2, 0]"),
        (told(good()?, good()?, array(&[6], Elements::Bool(vec![true; 6]))?)?, "map has the shape [6]"),
        (told(good()?, good()?, array(&[1, 2, 3], Elements::U8(vec![1; 6]))?)?, "map: uint8"),
    ] {
        assert!(found.starts_with(named), "{found}, not {named}");
    }
    // Any byte of a sound file, and any end: an error or a plan, never a panic.
    npz::write(&path, &[("q_labels", &good()?), ("k_labels", &labels([2, 1, 0, 1])?), ("map", &map()?)])?;
    let sound = std::fs::read(&path)?;
    let look = |bytes: Vec<u8>| {
        if let Ok(file) = npz::from_bytes("damaged", bytes) {
            let _ = ClusterFile::of(&file);
            let _ = CentroidCache::of(&file);
        }
    };
    for at in 0..sound.len() {
        for byte in [0, 1, 0x7f, 0xff, b'9'] {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            look(bytes);
        }
        look(sound[..at].to_vec());
    }
    for (name, array) in [
        ("1_q", array(&[1, 1, 2], Elements::F32(vec![0.0; 2]))?),
        ("1_0_q", array(&[1, 1, 2], Elements::F32(vec![0.0, f32::NAN]))?),
        ("1_0_q", array(&[1, 2], Elements::F32(vec![0.0; 2]))?),
    ] {
        npz::write(&path, &[(name, &array)])?;
        let error = CentroidCache::read(&path).unwrap_err();
        assert!(matches!(error, Error::Malformed { field: "cache", .. }), "{error}");
    }
    let mut cache = CentroidCache::new();
    cache.put(Site::from(0), Centroids { q: vec![vec![0.0; 4], vec![0.0; 2]], k: vec![vec![0.0; 4]], width: 2 });
    assert!(cache.write(&path).is_err(), "ragged heads are no array");
    Ok(())
}

fn recall() -> Result {
    let owned = Owned::noise(2, 6 * 64, 16);
    let (tensors, grid) = (owned.tensors()?, Grid { frames: 6, height: 8, width: 8 });
    let mask = Radial { block: Block::square(32), decay: 0.1, ..Radial::new(6, 64) }.plan()?;
    let input = QueriesKeys::new((&owned.qkv[0], owned.q), (&owned.qkv[1], owned.k))?;
    let expected = analyze(&input, &grid, Some(&mask), &Analysis::default())?;
    let judge = Judge::new(tensors)?;
    let attended = run(&tensors, Plan::Blocks(&mask))?;
    let quality = judge.of(&attended);
    assert!((quality.recall - expected.all.recall.ok_or("none")?).abs() < 1e-5, "{quality:?}");
    for (quality, expected) in judge.per_head(&attended).iter().zip(&expected.heads) {
        assert!((quality.recall - expected.recall.ok_or("none")?).abs() < 1e-5, "{quality:?}");
    }
    assert_eq!(judge.quality(Plan::Dense)?, Quality { density: 1.0, recall: 1.0, error: 0.0 });
    Ok(())
}

fn kinds() -> Result {
    // One head's tokens know their frame, the other's their place.
    let (frames, s, width) = (8, 32, 40);
    let one_hot = |at: fn(usize, usize) -> usize| -> Vec<f32> {
        (0..frames * s * width).map(|i| if i % width == at(i / width, 32) { 8.0 } else { 0.0 }).collect()
    };
    let q = [one_hot(|token, s| token / s), one_hot(|token, s| token % s)].concat();
    let v = noise(2 * frames * s * width, 4);
    let shape = [2, frames * s, width];
    let tensors = Tensors::new((&q, shape), (&q, shape), (&v, shape))?;
    let svg1 = Svg1 { block: 8, band: 32, ..Svg1::new(frames, s) };
    let (mask, kinds) = svg1.plan(&tensors)?;
    assert_eq!(kinds, [Kind::Spatial, Kind::Temporal]);
    let attended = run(&tensors, Plan::Clusters(&mask))?;
    assert!(verify(&tensors, Plan::Clusters(&mask), &attended, 256) <= 2e-5);
    // The published rule, pair by pair.
    for kind in [Kind::Spatial, Kind::Temporal] {
        let head = svg1.head(kind)?;
        let place = |token: usize| if kind == Kind::Spatial { token } else { token % s * frames + token / s };
        let mut runs = Vec::new();
        for query in 0..frames * s {
            head.runs(query, &mut runs);
            for key in 0..frames * s {
                let (a, b) = (place(query) / 8, place(key) / 8);
                let reads = a.abs_diff(b) < 4 || place(key) < s;
                assert_eq!(runs.iter().any(|run| run.contains(&key)), reads, "{kind:?} {query} {key}");
            }
        }
    }
    for density in [0.3, 0.5, 0.9] {
        let found = svg1.with_density(density)?.head(Kind::Temporal)?.density();
        assert!(found <= density && found > density - 0.1, "{density}: {found}");
    }
    let error = Svg1 { band: 0, ..svg1 }.plan(&tensors).unwrap_err();
    assert!(error.to_string().starts_with("band is 0"), "{error}");
    assert!(matches!(Svg1::new(7, s).plan(&tensors), Err(Error::Unlike { what: "queries", .. })));
    Ok(())
}

fn curves() -> Result {
    let point = |density: f64, error: f64| Quality { density, recall: 1.0 - error, error };
    let curve = Curve::new("a", vec![point(0.4, 0.1), point(0.2, 0.3)]);
    let between = curve.at(0.3).ok_or("it lies between")?;
    assert!((between.error - 0.2).abs() < 1e-12 && (between.recall - 0.8).abs() < 1e-12);
    assert!(curve.at(0.1).is_none() && curve.at(0.5).is_none() && curve.at(0.2) == Some(point(0.2, 0.3)));
    Ok(())
}

fn maps() -> Result {
    let file = npz::open(shared::file(MAPS).ok_or("no file")?)?;
    let (q, k) = (numbers(&file, "q_centroids")?, numbers(&file, "k_centroids")?);
    let (q_sizes, k_sizes) = (whole(&file, "q_sizes")?, whole(&file, "k_sizes")?);
    let (cq, ck, d) = (12, 20, 16);
    for (top_p, min_ratio) in [(0.9, 0.0), (0.9, 0.1), (0.5, 0.25), (0.3, 0.0)] {
        let Elements::Bool(expected) = file.read(&format!("map_p{top_p}_r{min_ratio}"))?.into_elements() else {
            return Err("the map is boolean".into());
        };
        let density = numbers(&file, &format!("density_p{top_p}_r{min_ratio}"))?;
        for head in 0..2 {
            let sizes = &k_sizes[head * ck..][..ck];
            let centroids = (&q[head * cq * d..][..cq * d], &k[head * ck * d..][..ck * d], d);
            let map = map::top_p(centroids, sizes, 1.0 / (d as f32).sqrt(), Budget { top_p, min_ratio })?;
            assert_eq!(map, expected[head * cq * ck..][..cq * ck], "{top_p}, {min_ratio}, head {head}");
            let labels = |sizes: &[usize]| (0..).zip(sizes).flat_map(|(i, &n)| std::iter::repeat_n(i, n)).collect();
            let groups = |sizes: &[usize]| Groups::new("labels", labels(sizes), sizes.len());
            let mask = HeadMask::new(groups(&q_sizes[head * cq..][..cq])?, groups(sizes)?, &map)?;
            assert!((mask.density() - f64::from(density[head])).abs() < 1e-6);
        }
    }
    Ok(())
}

fn iterations() -> Result {
    let file = npz::open(shared::file(KMEANS).ok_or("no file")?)?;
    let (x, init) = (numbers(&file, "x")?, whole(&file, "init_index")?);
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let settings = Settings { iterations: whole(&file, "iterations")?[0], tolerance: 1e-4 };
    let first: Vec<f64> = init.iter().flat_map(|row| &wide[row * 8..][..8]).copied().collect();
    let found = reference::lloyd(&wide, 8, &first, &settings)?;
    let labels: Vec<usize> = found.labels.iter().map(|&label| label as usize).collect();
    assert_eq!((labels, &found.sizes), (whole(&file, "labels")?, &whole(&file, "sizes")?));
    let expected = |name: &str| -> Result<Vec<f64>> {
        Ok(file.read(name)?.elements().as_f64().ok_or("float64 was expected")?.to_vec())
    };
    let close = |ours: &[f64], theirs: &[f64], tolerance: f64| {
        ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= tolerance * b.abs().max(1.0))
    };
    assert!(close(&found.centroids, &expected("centroids")?, 1e-12));
    assert!(close(&found.inertia, &expected("inertia_before_each_update")?, 1e-12));
    assert!(close(&[found.shift], &expected("last_shift")?, 1e-12));
    let narrow: Vec<f32> = first.iter().map(|&x| x as f32).collect();
    let fast = lloyd(&x, 8, &narrow, &settings)?;
    assert_eq!((&fast.labels, &fast.sizes), (&found.labels, &found.sizes));
    assert!(close(&fast.inertia, &found.inertia, 1e-5));
    Ok(())
}

/// At equal densities, on all 4,096 queries.
fn real() -> Result {
    let owned = Owned::captured()?;
    let tensors = owned.tensors()?;
    let judge = Judge::new(tensors)?;
    let default = SemanticAttention::default().cluster(0, &tensors, &mut CentroidCache::new())?;
    assert_eq!(default.1.clusters, [16, 54]);
    // Twice as many: with the default ones the error at a tenth is that of SVG1.
    let semantic = SemanticAttention { cq: Some(32), ck: Some(108), ..SemanticAttention::default() };
    let (clusters, _) = semantic.cluster(0, &tensors, &mut CentroidCache::new())?;
    let positions = semantic.by_position(&tensors)?;
    for density in [0.1, 0.2, 0.3] {
        let (budget, mask) = clusters.mask_of_density(density)?;
        let ours = judge.quality(Plan::Clusters(&mask))?;
        let by_position = judge.quality(Plan::Clusters(&positions.mask_of_density(density)?.1))?;
        let svg1 = Svg1 { block: 8, ..Svg1::new(16, 256) }.with_density(density)?;
        let svg1 = judge.quality(Plan::Clusters(&svg1.plan(&tensors)?.0))?;
        let random = judge.quality(Plan::Blocks(&random_blocks(4096, 32, density, 1)?))?;
        println!("{density} (p {:.3}): {ours:?}", budget.top_p);
        println!("  positions {by_position:?}\n  svg1 {svg1:?}\n  random {random:?}");
        assert!(ours.density <= density && ours.density > density - 0.01, "{ours:?}");
        for (name, other) in [("positions", by_position), ("svg1", svg1), ("random", random)] {
            assert!(ours.recall > other.recall && ours.error < other.error, "{density} {name}: {ours:?} {other:?}");
        }
    }
    for reach in [0, 1, 2] {
        let theirs = judge.quality(Plan::Clusters(&frame_window(16, 256, reach)?))?;
        let ours = judge.quality(Plan::Clusters(&clusters.mask_of_density(theirs.density)?.1))?;
        println!("frames {reach} away: {theirs:?}\n  {ours:?}");
        assert!(ours.density <= theirs.density && ours.recall > theirs.recall && ours.error < theirs.error);
    }
    // Of 16 frames a radial mask reads the near ones whole, a third of all pairs at the least: compared where it can be.
    for (family, decay, block) in
        [(Family::Hunyuan, 1e-6, 32), (Family::Wan, 1e-6, 32), (Family::Hunyuan, 1.0, 64), (Family::Wan, 1.0, 64)]
    {
        let radial = Radial { decay, family, block: Block::square(block), ..Radial::new(16, 256) }.plan()?;
        let theirs = judge.quality(Plan::Blocks(&radial))?;
        let ours = judge.quality(Plan::Clusters(&clusters.mask_of_density(theirs.density)?.1))?;
        println!("{family:?}, decay {decay}: {theirs:?}\n  {ours:?}");
        assert!(ours.density <= theirs.density && ours.recall > theirs.recall && ours.error < theirs.error);
    }
    Ok(())
}

/// With no more pairs, the means counted: less than half of the error without them and of SVG1's, at the default clusters.
fn real_means() -> Result {
    let owned = Owned::captured()?;
    let tensors = owned.tensors()?;
    let judge = Judge::new(tensors)?;
    let (clusters, _) = SemanticAttention::default().cluster(0, &tensors, &mut CentroidCache::new())?;
    for density in [0.1, 0.2, 0.3] {
        let plain = judge.quality(Plan::Clusters(&clusters.mask_of_density(density)?.1))?;
        let mask = clusters.mask_of_density(density - 54.0 / 4096.0)?.1;
        let ours = judge.quality(Plan::WithMeans(WithMeans::new(&mask)))?;
        let svg1 = Svg1 { block: 8, ..Svg1::new(16, 256) }.with_density(density)?;
        let svg1 = judge.quality(Plan::Clusters(&svg1.plan(&tensors)?.0))?;
        println!("{density}: {:.3}, without means {:.3}, SVG1 {:.3}", ours.error, plain.error, svg1.error);
        assert!(ours.density <= density, "{ours:?}");
        assert!(ours.error < 0.5 * plain.error && ours.error < 0.5 * svg1.error, "{ours:?} {plain:?} {svg1:?}");
    }
    Ok(())
}

fn real_warm() -> Result {
    let owned = Owned::captured()?;
    let tensors = owned.tensors()?;
    let semantic = SemanticAttention::default();
    let mut cache = CentroidCache::new();
    let (_, cold) = semantic.cluster(0, &tensors, &mut cache)?;
    // The next step of a sampler: tokens that have moved a little.
    let mut moved = Owned::captured()?;
    for (tensor, seed) in [(0, 5), (1, 6)] {
        let drift = noise(moved.qkv[tensor].len(), seed);
        moved.qkv[tensor].iter_mut().zip(drift).for_each(|(x, drift)| *x += 0.05 * drift);
    }
    let (_, warm) = semantic.cluster(0, &moved.tensors()?, &mut cache)?;
    let (_, again) = semantic.cluster(0, &moved.tensors()?, &mut CentroidCache::new())?;
    let share = |from: [f64; 2], to: f64| (from[0] - to) / (from[0] - from[1]);
    for (again, warm) in [(again.q_inertia, warm.q_inertia[1]), (again.k_inertia, warm.k_inertia[1])] {
        assert!(share(again, warm) >= 0.98, "{again:?} and {warm}");
    }
    assert!(cold.iterations > 2 && warm.iterations <= 2);
    Ok(())
}
