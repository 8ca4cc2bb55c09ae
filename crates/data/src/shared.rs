//! Real files for development: where tests and benches find what is too large or too foreign to commit.
//!
//! Only tests and benches may use this; what a user's command needs comes through [`fetch`](crate::fetch).

use std::path::{Path, PathBuf};

/// The folder of development data: the environment variable `TERSOR_DATA`, else `shared/data` beside the repository.
pub fn root() -> PathBuf {
    match std::env::var_os("TERSOR_DATA") {
        Some(root) if !root.is_empty() => root.into(),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    }
}

/// The development file `relative` (`tiny/golden_ad.npz`), or `None` if it is not on this machine.
///
/// A test that gets `None` says so in a counted line (`tersor_data::testing`, feature `testing`); it never passes
/// silently.
pub fn file(relative: &str) -> Option<PathBuf> {
    let path = root().join(relative);
    path.exists().then_some(path)
}

/// The trained int8 networks under `tiny/`, each a file `NAME.tflite`.
pub const TINY_NETWORKS: [&str; 6] = [
    "resnet8_cifar10_int8",
    "dscnn_kws_int8",
    "mobilenetv1_vww96_int8",
    "autoencoder_ad_int8",
    "mcunet_vww1_int8",
    "mcunet_persondet_int8",
];
