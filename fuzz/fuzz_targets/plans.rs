//! Any bytes as an archive of a plan of clusters, of centroids and of a cache, and as the files of a video transformer and of
//! its adapters.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tersor_data::npz;
use tersor_generate::semantic::CentroidFile;
use tersor_generate::video::{Adapters, Config, VideoTransformer};
use tersor_generate::{Budget, CentroidCache, ClusterFile};

/// The sizes of the model that adapters are read for.
fn small() -> Config {
    Config {
        dim: 4,
        heads: 1,
        head_dim: 4,
        layers: 1,
        patch: 2,
        channels: 3,
        frames: 2,
        height: 4,
        width: 4,
        rope_theta: 100.0,
        rope_dims: [2, 2, 0],
        timestep_embed: 4,
        prediction: "velocity".into(),
        timestep_scale: 1000.0,
        flow_shift: 1.0,
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = npz::from_bytes("fuzz.npz", bytes.to_vec()) {
        let _ = ClusterFile::of(&file);
        let _ = CentroidCache::of(&file);
        let _ = CentroidFile::of(&file).and_then(|file| file.maps(None, Budget { top_p: 0.9, min_ratio: 0.1 }));
    }
    let path = Path::new("fuzz.safetensors");
    let _ = VideoTransformer::from_bytes(path, bytes);
    let _ = Adapters::from_bytes(path, bytes, &small());
});
