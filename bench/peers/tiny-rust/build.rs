//! microflow turns a model into Rust at compile time: this writes one module for each model in `TERSOR_PEERS_MODELS`
//! (paths, separated as in `PATH`), and their table.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-env-changed=TERSOR_PEERS_MODELS");
    let mut modules = String::new();
    let mut table = String::new();
    let listed = env::var_os("TERSOR_PEERS_MODELS").unwrap_or_default();
    for (index, path) in env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).enumerate() {
        let path = path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("cargo::rerun-if-changed={}", path.display());
        modules += &format!("mod model_{index} {{\n    #[microflow::model({path:?})]\n    pub struct Network;\n}}\n");
        table += &format!(
            "    Compiled {{\n        file: include_bytes!({path:?}),\n        \
             load: |file, input| load(file, input, model_{index}::Network::predict_quantized),\n    }},\n"
        );
    }
    let source = format!("{modules}\nstatic MODELS: &[Compiled] = &[\n{table}];\n");
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("models.rs"), source).expect("cargo made the folder");
}
